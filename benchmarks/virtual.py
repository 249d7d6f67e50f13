"""How fast is a cluster that is not there: real seconds and memory of virtual ranks.

    python benchmarks/virtual.py
    python benchmarks/virtual.py --ranks 100,1000 --iterations 5

Ranks that do the same are played as one, as ``minidl simulate`` does; for comparison, each alone.
Measured: hybrid training of the HEP network (224 x 224, 8 images a rank) without its arithmetic, in
9 groups with 6 servers, on the description of Cori's nodes with stragglers (a lognormal jitter of
5 % and 1 % of the nodes 1.5 times as slow: assumptions, not the paper's). Each run is a process of
its own, on one core.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from functools import partial
from typing import Any

import numpy as np
from harness import Floor, command_line, numbers, report

from minidl import model
from minidl.parallel import hybrid
from minidl.parallel.virtual import CORI, Stragglers, VirtualCluster, cohorts_of
from minidl.parallel.virtual.ghost import (
    GhostLayer,
    GhostNetwork,
    GhostObjective,
    GhostOptimizer,
    NoStopwatch,
)
from minidl.roles import Roles
from minidl.summary import build, summarize
from minidl.tables import plain_table

BATCH, GROUPS, SERVERS = 8, 9, 6
PAPER_RANKS, PAPER_ITERATIONS = 9600, 100
PLAYED = AS_ONE, ALONE = "as one", "alone"
STRAGGLERS = Stragglers(jitter=0.05, slow_share=0.01, slow_factor=1.5)


def main() -> None:
    """Measure, or be one of the measurements."""
    parser = command_line(__doc__)
    parser.add_argument("--ranks", type=numbers, default="114,1014,9600,99996")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--here", choices=PLAYED, help="only the first number of ranks, in here")
    arguments = parser.parse_args()
    if arguments.here:
        print(*simulate(arguments.ranks[0], arguments.iterations, arguments.here))
        return
    jobs = [(ranks, arguments.iterations, how) for how in PLAYED for ranks in arguments.ranks]
    if PAPER_RANKS in arguments.ranks:
        jobs.append((PAPER_RANKS, PAPER_ITERATIONS, AS_ONE))
    table = plain_table(
        ">ranks", ">iterations", "played", ">seconds", ">per rank and\niteration, us", ">MiB"
    )
    floors, rows = [], []
    for ranks, iterations, how in jobs:
        seconds, memory = measure(ranks, iterations, how)
        rows.append(
            {
                "ranks": ranks,
                "iterations": iterations,
                "played": how,
                "seconds": seconds,
                "MiB": memory,
            }
        )
        each = 1e6 * seconds / ranks / iterations
        table.add_row(
            f"{ranks:,}", f"{iterations}", how, f"{seconds:.2f}", f"{each:.1f}", f"{memory:.0f}"
        )
        if (ranks, iterations) == (PAPER_RANKS, PAPER_ITERATIONS):
            floors = [
                Floor("9,600 ranks, 100 iterations", "<= 60 s", f"{seconds:.0f} s", seconds <= 60),
                Floor("their memory", "<= 4 GB", f"{memory / 954:.2f} GB", memory <= 3815),
            ]
    report(arguments, {"runs": rows}, [table], floors)


def measure(ranks: int, iterations: int, how: str) -> tuple[float, float]:
    """Simulate in a process of its own; return seconds and MiB."""
    command = [sys.executable, __file__, "--here", how, "--ranks", str(ranks)]
    command += ["--iterations", str(iterations)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, memory = printed.split()
    return float(seconds), float(memory)


def simulate(ranks: int, iterations: int, how: str) -> tuple[float, float]:
    """Simulate; return seconds and MiB."""
    shape = (224, 224, 3)
    rows = summarize(build(model.load("hep"), shape, None, np.float32), shape)
    rows = [row for row in rows if row.parameters]
    network = GhostNetwork([GhostLayer(row.name, row.parameters) for row in rows])
    forward = [BATCH * row.forward / CORI.flops for row in rows]
    backward = [BATCH * (row.training - row.forward) / CORI.flops for row in rows]
    roles = Roles(ranks, GROUPS, SERVERS)
    program = partial(train, network, forward, backward, roles, iterations)
    cluster = VirtualCluster(ranks, CORI, cohorts=cohorts_of(roles) if how == AS_ONE else ())
    start = time.perf_counter()
    cluster.run(program)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.perf_counter() - start, memory


def train(
    network: GhostNetwork,
    forward: list[float],
    backward: list[float],
    roles: Roles,
    iterations: int,
    comm: Any,
) -> None:
    """Be one of the virtual ranks."""
    strategy: Any = hybrid.Strategy(
        comm,
        roles,
        GhostObjective(comm.compute, network, forward, backward, STRAGGLERS.of(comm.ranks)),
        lambda parameters: GhostOptimizer(parameters, comm.compute, parameters.nbytes / 10e9),
        NoStopwatch(),
    )
    strategy.start()
    if roles.group(comm.rank) < 0:
        strategy.serve()
    else:
        for _ in range(iterations):
            strategy.step(BATCH)
        strategy.stop()
    strategy.finish()


if __name__ == "__main__":
    main()
