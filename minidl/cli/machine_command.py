"""``minidl bench machine``: this machine as a description that a virtual cluster takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from threadpoolctl import threadpool_limits

from ..bench.engines import sgemm
from ..errors import UserError
from ..layers import Layer
from ..model import Model, load
from ..parallel.virtual import Machine
from ..runs.launcher import find_mpiexec
from ..summary import build, summarize
from ..tables import plain_table, size_text
from .cost_model import NAMES, Fit, fit_constants

SHAPE, BATCH, STEPS = (64, 64, 3), 8, 5
COPIED = 1 << 28  # bytes, more than any cache has


def measure_machine(name: str, out: Path | None, console: Console) -> None:
    """Measure the arithmetic and the memory of a rank, and messages between two ranks.

    Raises
    ------
    UserError
        If there is no model of this name, no mpiexec, or the file cannot be written.
    """
    network = build(Model(load(name)), SHAPE, None, np.float32)
    gradient = sum(layer.gradient.nbytes for layer in network.layers())
    messages = between_two_ranks(gradient)
    with threadpool_limits(1):
        rate, copying = training_rate(network), 2 * COPIED / copy_time()
        used, fitted = fit_constants()
        product = sgemm(threads=1)
        peak = max(product()["flops"] for _ in range(STEPS))
    machine = Machine(
        "this machine", rate, messages["latency"], messages["bandwidth"], memory=copying
    )
    console.print(
        f"{machine.flops / 1e9:.1f} GFLOP/s a rank, on the training of {name}'s network; messages "
        f"between two ranks: {machine.latency * 1e6:.2f} us, {machine.bandwidth / 1e9:.2f} GB/s\n"
        f"A thread: {peak / 1e9:.1f} GFLOP/s multiplying large matrices (sgemm); copying, "
        f"{copying / 1e9:.1f} GB/s read and written\n"
        f"Two ranks: {1e3 * messages['allreduce']:.3g} ms for the all-reduce of {name}'s gradient, "
        f"{size_text(gradient)}"
    )
    print_constants(used, fitted, console)
    if out is not None:
        try:
            out.write_text(json.dumps(asdict(machine), indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{out}: cannot write: {error}") from None
        console.print(f"wrote {out}")


def print_constants(used: Fit, fitted: Fit, console: Console) -> None:
    """Print the constants of the choice among algorithms beside those that fit this machine."""
    table = plain_table("constant of layers/algorithms.py", ">in use", ">fits here")
    for row in zip(NAMES, used.constants, fitted.constants, strict=True):
        table.add_row(row[0], *(f"{constant:.3g}" for constant in row[1:]))
    errors = (f"{100 * fit.error:.0f} %" for fit in (used, fitted))
    table.add_row("median error of the time estimated", *errors)
    console.print(table)


def between_two_ranks(size: int) -> dict[str, float]:
    """Start two ranks; return what ``pingpong.py`` says of messages, and sums of ``size`` bytes."""
    program = [sys.executable, "-P", "-m", "minidl.parallel.pingpong", str(size)]
    command = [find_mpiexec(), "-n", "2", *program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise UserError(f"mpiexec -n 2 does not work here: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def training_rate(network: Layer) -> float:
    """Floating-point operations a second of a training step."""
    work = BATCH * sum(row.training for row in summarize(network, SHAPE))
    x = np.random.default_rng(1).standard_normal((BATCH, *SHAPE), np.float32)

    def step() -> None:
        network.backward(np.ones_like(network.forward(x)))

    return work / float(np.median(times(step)))


def copy_time() -> float:
    """Seconds that it takes to copy ``COPIED`` bytes, at best."""
    source = np.ones(COPIED, np.uint8)
    target = np.zeros_like(source)
    return min(times(lambda: np.copyto(target, source)))


def times(function: Callable[[], object]) -> list[float]:
    """Seconds of each call but the first, which allocates."""
    seconds = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]
