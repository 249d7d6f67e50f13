"""``minidl train``: from the settings to a trained network in a run's folder."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import numpy as np
from mpi4py import MPI
from rich.console import Console
from rich.table import Table

from . import __version__, model
from .errors import AgreedError, UserError
from .parallel.agreement import together
from .progress import Progress
from .run import Run
from .settings import Settings
from .threads import one_thread_a_rank
from .train import Training


def train_command(
    name: str,
    settings: Settings,
    out: Path | None,
    overwrite: bool,
    dry_run: bool,
    console: Console,
) -> None:
    """Train and leave a run's folder, or with ``dry_run`` say what would be done.

    Raises
    ------
    UserError
        For whatever the user can put right; ``AgreedError`` once the ranks talk to each other.
    """
    comm = MPI.COMM_WORLD
    first = comm.rank == 0
    one_thread_a_rank()
    with together(comm):
        module = model.load(name)
        if not settings.data:
            raise UserError("no data to train on; name one or more files: --data FILE")
        if settings.strategy == "serial" and comm.size > 1:
            raise UserError(
                f"--strategy serial is one rank alone, and mpiexec started {comm.size}; "
                "use --strategy sync, or start without mpiexec"
            )
    training = Training(comm, settings, module)
    if dry_run:
        rehearse(training, console if first else None)
        return
    run = None
    with together(comm):
        if first:
            folder = out or Path("runs") / name
            run = Run(folder, name, settings, overwrite=overwrite)
    if run is None:
        training.run(None, lambda event: None)
        return
    run.log(
        "start",
        ranks=comm.size,
        parameters=sum(layer.parameters.size for layer in training.strategy.layers),
        samples=len(training.dataset),
        iterations=training.iterations,
        versions={
            "minidl": __version__, "numpy": np.__version__, "python": platform.python_version()
        },
        mpi=MPI.Get_library_version().splitlines()[0].strip("\0"),
    )  # fmt: skip
    console.print(" ".join(plan(training)))
    with Progress(training.iterations, console) as progress:
        try:
            training.run(run, progress.tell)
        except KeyboardInterrupt:
            run.log("end", reason="interrupted")
            raise KeyboardInterrupt(
                f"interrupted; {run.checkpoint} holds the network of iteration {run.saved}"
            ) from None
    run.log("end", reason="finished")
    from .plot import plot_runs  # Matplotlib takes a second to load, which only this rank spends.

    plot_runs((run.folder,), run.folder / "loss.png")
    console.print(f"The run is in {run.folder}: settings.json, log.jsonl, checkpoint.h5, loss.png")


def plan(training: Training) -> list[str]:
    """Say in sentences what a run will do."""
    settings, size = training.settings, training.comm.size
    update = settings.batch_size * size
    return [
        f"{len(training.dataset):,} samples, {training.batches.per_epoch} updates an epoch,"
        f" {training.iterations} updates.",
        f"{settings.strategy}, {size} {'rank' if size == 1 else 'ranks'}:"
        f" batches of {settings.batch_size} per rank, {update} per update.",
    ]


def rehearse(training: Training, console: Console | None) -> None:
    """Take one step, and print on the rank with a console what a run would do."""
    comm = training.comm
    x, target = next(training.batches_from(0))
    training.strategy.start()
    loss = training.strategy.step(x, target)
    if not math.isfinite(loss):
        raise AgreedError(f"the first step's loss is {loss}" if comm.rank == 0 else "")
    if console is None:
        return
    for sentence in plan(training):
        console.print(sentence)
    table = Table("layer", "parameters", "message")
    for layer in training.strategy.layers:
        table.add_row(layer.name, f"{layer.parameters.size:,}", f"{layer.gradient.nbytes:,} bytes")
    console.print(table)
    verb = "all-reduced by all ranks" if comm.size > 1 else "kept: one rank sends nothing"
    console.print(f"Every layer's gradient is one message, {verb}. Every rank is a worker.")
    seconds = training.stopwatch.seconds["compute"] + training.stopwatch.seconds["wait"]
    console.print(f"One step: loss {loss:.4f}, {seconds:.2f} s, first use of memory included.")
    console.print("Nothing was written.")
