"""``minidl bench machine``: this machine as a description that a virtual cluster takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from threadpoolctl import threadpool_limits

from .. import model
from ..errors import UserError
from ..parallel.virtual import Machine
from ..runs.launcher import find_mpiexec
from ..summary import build, summarize

SHAPE, BATCH, STEPS = (64, 64, 3), 8, 5


def measure_machine(name: str, out: Path | None, console: Console) -> None:
    """Measure the arithmetic of a rank on a model's network, and messages between two ranks.

    Raises
    ------
    UserError
        If there is no model of this name, no mpiexec, or the file cannot be written.
    """
    rate = arithmetic(name)
    command = [find_mpiexec(), "-n", "2", sys.executable, "-P", "-m", "minidl.parallel.pingpong"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise UserError(f"mpiexec -n 2 does not work here: {done.stderr.strip()[-300:]}")
    messages = json.loads(done.stdout.splitlines()[-1])
    machine = Machine("this machine", rate, messages["latency"], messages["bandwidth"])
    console.print(
        f"{machine.flops / 1e9:.1f} GFLOP/s a rank, on the training of {name}'s network; messages "
        f"between two ranks: {machine.latency * 1e6:.2f} us, {machine.bandwidth / 1e9:.2f} GB/s"
    )
    if out is not None:
        try:
            out.write_text(json.dumps(asdict(machine), indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{out}: cannot write: {error}") from None
        console.print(f"wrote {out}")


def arithmetic(name: str) -> float:
    """Floating-point operations a second of a training step, on one thread."""
    module = model.load(name)
    network = build(module, SHAPE, None, np.float32)
    work = BATCH * sum(row.training for row in summarize(network, SHAPE))
    generator = np.random.default_rng(1)
    x = generator.standard_normal((BATCH, *SHAPE), np.float32)
    seconds = []
    with threadpool_limits(1):
        for _ in range(STEPS + 1):  # the first allocates
            start = time.perf_counter()
            output = network.forward(x)
            network.backward(np.ones_like(output))
            seconds.append(time.perf_counter() - start)
    return work / float(np.median(seconds[1:]))
