"""``minidl train``: from the settings to a trained network in a run's folder."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mpi4py import MPI
from rich.console import Console

from .. import model
from ..checkpoint import State, newest
from ..errors import UserError
from ..machines import read_machine
from ..parallel import abort
from ..parallel.agreement import together
from ..parallel.patience import PatientComm
from ..parallel.written_out import summing_by
from ..progress import Progress
from ..record import Record
from ..recovery import made_ready, persevere
from ..run import Run, read_log
from ..settings import Settings
from ..snapshot import generators
from ..stopwatch import Stopwatch
from ..tables import counted
from ..threads import use_threads
from ..train import Training
from ..versions import versions
from ..virtual import Virtual
from ..virtual_training import train_on_virtual_ranks
from ..watchdog import Watchdog
from .advice import about_threads
from .info import look_at_job
from .rehearsal import plan, rehearse


def train_command(
    name: str,
    settings: Settings,
    virtual: Virtual,
    out: Path | None,
    overwrite: bool,
    resume: Path | None,
    dry_run: bool,
    trace: Path | None,
    console: Console,
) -> None:
    """Train and leave a run's folder, or with ``dry_run`` say what would be done.

    Raises
    ------
    UserError
        For whatever the user can put right; ``AgreedError`` once the ranks talk to each other.
    """
    comm = MPI.COMM_WORLD
    use_threads(settings.threads)
    with together(comm):
        module = model.load(name)
        # All of them, so that the run can be repeated whatever the defaults become.
        settings = replace(settings, options=model.Model(module, settings.options).options)
        if not settings.data:
            raise UserError("no data to train on; name one or more files: --data FILE")
        if trace and trace.suffix != ".json":
            raise UserError(f"--trace {trace}: expected a name that ends with .json")
        if trace and not trace.parent.is_dir():
            raise UserError(f"--trace {trace}: there is no folder {trace.parent}")
        check_ranks(settings, virtual, comm.size)
        if resume and (out or overwrite):
            raise UserError("--resume goes on in the run's own folder; leave --out and --overwrite")
        machine = read_machine(virtual.machine or "cori-knl", name)
        state = read_state(resume, console if comm.rank == 0 else None)
    if settings.threads > 1:
        warn_of_threads(settings.threads, console)
    asked: dict[str, Any] = {"model": name, **settings.to_json(), **virtual.to_json()}

    def carry_out(training: Training) -> None:
        if state and resume:
            speaker = console if training.comm.rank == 0 else None
            say_what_changed(training, state, resume, asked, speaker)
        if dry_run:
            rehearse(training, console if training.comm.rank == 0 else None)
        else:
            folder = resume or out or Path("runs") / name
            persevere(
                training, folder, lambda t: train(t, asked, folder, overwrite, trace, console)
            )

    if virtual.virtual_ranks is None:
        patient, watch = summing_by(settings.all_reduce, PatientComm(comm)), Stopwatch()
        what = {"settings": settings, "model": module, "stopwatch": watch, "state": state}
        with Watchdog(watch, comm.rank, settings.watchdog, partial(abort, 1)):
            carry_out(made_ready(patient, Training, **what))
        return
    console.print(
        f"Virtual time is that of {machine.name}: {machine.flops / 1e9:,.1f} GFLOP/s a rank; "
        f"messages: {1e6 * machine.latency:.2f} us and {machine.bandwidth / 1e9:.2f} GB/s."
    )
    start = time.perf_counter()
    seconds = train_on_virtual_ranks(virtual, machine, settings, module, state, carry_out)
    console.print(f"{seconds:.4g} virtual seconds took {time.perf_counter() - start:.1f} real ones")


def check_ranks(settings: Settings, virtual: Virtual, started: int) -> None:
    """Raise ``UserError`` where the settings are not for as many ranks, or for such."""
    if virtual.virtual_ranks and started > 1:
        raise UserError(
            f"--virtual-ranks {virtual.virtual_ranks} are all in one process, and mpiexec "
            f"started {started}; start without mpiexec"
        )
    if settings.strategy == "serial" and (virtual.virtual_ranks or 1) > 1:
        raise UserError(
            f"--strategy serial is one rank alone, not --virtual-ranks {virtual.virtual_ranks};"
            " use --strategy sync"
        )
    if settings.strategy == "serial" and started > 1:
        raise UserError(
            f"--strategy serial is one rank alone, and mpiexec started {started}; "
            "use --strategy sync, or start without mpiexec"
        )
    mortal = virtual.death if virtual.virtual_ranks else PatientComm.tolerant
    if mortal and settings.all_reduce != "mpi":
        raise UserError(
            f"--all-reduce {settings.all_reduce} does not outlive the death of a rank, as MPI's "
            "own sums do; leave it, or leave --death and mpiexec --with-ft"
        )


def read_state(folder: Path | None, console: Console | None) -> State | None:
    """Read the newest whole checkpoint of a run that is to go on; say what is wrong with others."""
    if folder is None:
        return None
    state, path, problems = newest(folder / "checkpoint.h5")
    if console:
        for problem in problems:
            console.print(f"warning: {problem}", style="yellow", markup=False)
        console.print(f"goes on from {path}, of iteration {state.iterations[0]}", markup=False)
    return state


def say_what_changed(
    training: Training, state: State, folder: Path, asked: dict[str, Any], console: Console | None
) -> None:
    """Refuse to go on with a finished run; say in which settings a run goes on differently.

    One that ended after its last iteration, but before all was written, writes it now.
    """
    with together(training.comm):
        whole = any(event.get("reason") == "finished" for event in read_log(folder))
        if whole and min(training.done) >= training.iterations:
            raise UserError(
                f"the run is finished: {state.iterations[0]} iterations; to go on, give it more "
                "--epochs or --iterations"
            )
    if console is None:
        return
    before = {**state.asked, "ranks": len(state.generators)}
    now = {**asked, "ranks": training.comm.size}
    for name in sorted(before | now):
        if before.get(name) != now.get(name) and name != "measured":
            console.print(f"changed: {name} {before.get(name)} -> {now.get(name)}", markup=False)
    if training.comm.size != len(state.generators) and any(generators(training.network)):
        console.print("changed: layers draw other random numbers, as there are other ranks")


def warn_of_threads(threads: int, console: Console) -> None:
    """Say on rank 0 if the ranks on its computer would use more threads than it has cores."""
    rank, job = look_at_job()
    warning = about_threads(job["ranks_here"], threads, job["cores"])
    if warning and rank == 0:
        console.print(f"warning: {warning}", style="yellow")


def train(
    training: Training,
    asked: dict[str, Any],
    folder: Path,
    overwrite: bool,
    trace: Path | None,
    console: Console,
) -> None:
    """Train, as one of the ranks; the first writes the run's folder and says how it goes."""
    run = open_run(training, asked, folder, overwrite)
    if run is None:
        training.run(None, lambda event: None)
        return
    log_start(run, training)
    if training.setback:
        console.print(training.setback, style="yellow", markup=False)
    console.print(" ".join(plan(training)))
    with Progress(training.iterations, console) as progress:
        try:
            training.stop.listen()
            record = training.run(run, progress.tell)
        except KeyboardInterrupt:
            training.stopped, record = True, None
        except Exception:
            with suppress(UserError):  # what happened first is told
                run.checkpoints.wait()
            raise
        if record:
            record.save(run.folder / "record.h5")
    run.log("end", reason="interrupted" if training.stopped else "finished")
    if training.stopped:
        raise KeyboardInterrupt(
            f"interrupted; {run.saved()}; minidl train --resume {folder} goes on from there"
        )
    assert record is not None
    draw(run, record, trace, console)
    before = training.state.seconds if training.state else 0.0
    share = training.saving / (training.stopwatch.now() - before)
    console.print(f"{counted(training.saves, 'checkpoint')}: writing took {share:.1%} of the time")
    console.print(
        f"The run is in {run.folder}: settings.json, log.jsonl, checkpoint.h5, record.h5, loss.png"
    )


def open_run(
    training: Training, asked: dict[str, Any], folder: Path, overwrite: bool
) -> Run | None:
    """Begin to write the run's folder, or go on; on the first rank only."""
    measured, state = training.model.measured, training.state
    asked = asked | training.settings.to_json() | ({"measured": measured} if measured else {})
    run = None
    with together(training.comm):
        if training.comm.rank == 0 and state:
            run = Run.resumed(folder, asked, state, on_disk=not training.lost)
            if training.lost:  # the first rank, which has counted, may be among them
                counted_so_far = (event.get("samples", 0) for event in read_log(folder))
                state.samples = max(state.samples, *counted_so_far)
        elif training.comm.rank == 0:
            run = Run(folder, asked, overwrite=overwrite or bool(training.setback))
    return run


def log_start(run: Run, training: Training) -> None:
    """Write down what the run is made of, and where it is."""
    roles = training.roles
    run.log(
        "resume" if training.state else "start",
        iterations_made=training.done,
        ranks=training.comm.size,
        groups=[roles.group(rank) for rank in range(training.comm.size)],
        parameters=sum(layer.parameters.size for layer in training.strategy.layers),
        samples=len(training.dataset),
        iterations=training.iterations,
        **({"setback": training.setback} if training.setback else {}),
        **({"lost": training.lost} if training.lost else {}),
        momentum=training.settings.momentum_for(roles.groups),
        per_epoch=training.batches.per_epoch,
        versions=versions(),
        **training.place(),
    )


def draw(run: Run, record: Record, trace: Path | None, console: Console) -> None:
    """Draw the losses, and the timeline where one is wanted."""
    # Matplotlib takes a second to load, which only this rank spends.
    from ..runs.plot import plot_runs

    if trace:
        from ..runs.trace import draw_timeline, write_trace

        write_trace(record, trace)
        draw_timeline(record, trace.with_suffix(".png"))
        console.print(f"wrote {trace} (open it in ui.perfetto.dev) and {trace.with_suffix('.png')}")
    plot_runs((run.folder,), run.folder / "loss.png")
