"""All-reduces written out, beside MPI's own and beside what their formulas say.

    python benchmarks/allreduce.py --picture allreduce.png
    python benchmarks/allreduce.py --ranks 2 --sizes 1,64,4096 --repetitions 5

Measured: from a barrier until the last rank has the sum of vectors of float32, by each algorithm of
minidl/parallel/allreduce.py and by MPI's Allreduce, which take turns. Small sums are made several
times in a turn. Each turn gives one ratio to MPI's. What else goes on on a machine makes a turn
longer, never shorter: formulas, made of the fastest of many messages, are held against the fastest
turn.

Predicted: minidl/parallel/costs.py, with what is measured here first. Between two ranks: what a
step of a written-out sum takes with a message of 4 bytes, most of which is Python on both sides,
beside the latency of the message alone; and the bandwidth. On one rank: at what rate NumPy adds.
The formulas know no cores: where there are more ranks than cores, a rank waits for the others'
turns on them, and everything takes longer than that.

The crossover is the size from which Rabenseifner's algorithm, which sends the fewest bytes, is
faster than recursive doubling, which sends the fewest messages: on this machine, and as the
formulas have it for nodes of Cori, where steps in Python and arithmetic are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import command_line, numbers, on_ranks

from minidl.errors import UserError
from minidl.picture import check_path

LIBRARY = "MPI's own"
ENOUGH = 1 << 19  # bytes: so much is summed in each turn, or one vector
ADDED = 1 << 20  # float32


def main() -> None:
    """Measure, or be one of the ranks."""
    parser = command_line(__doc__)
    parser.add_argument("--ranks", type=numbers, default="2,4", help="of the jobs")
    parser.add_argument(
        "--sizes", type=numbers, default="1,4,16,64,256,1024,4096,8192", help="of vectors, in KiB"
    )
    parser.add_argument("--repetitions", type=int, default=15, help="turns")
    parser.add_argument("--picture", type=Path, help="where to draw it; not drawn unless given")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    try:
        if arguments.picture:
            check_path(arguments.picture, "--picture")
        machine = on_ranks(2, "machine")
        jobs = {ranks: on_ranks(ranks, "sums") for ranks in arguments.ranks}
        from allreduce_report import summarise  # starts MPI, which no job may find started

        summarise(arguments, machine, jobs)
    except UserError as error:
        sys.exit(f"error: {error}")


def work(arguments: argparse.Namespace) -> None:
    """Be one rank of a job; rank 0 prints what was measured."""
    from mpi4py import MPI

    measured = {"machine": machine, "sums": sums}[arguments.worker](MPI.COMM_WORLD, arguments)
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(measured))


def machine(world: Any, arguments: argparse.Namespace) -> dict[str, float]:
    """Measure what the formulas need: seconds, and bytes a second."""
    from minidl.parallel.allreduce import recursive_doubling
    from minidl.parallel.pingpong import LARGE, SMALL, TIMES, one_way
    from minidl.parallel.written_out import WrittenOut

    latency, large = one_way(world, SMALL), one_way(world, LARGE)
    # An all-reduce of two ranks is one message each way, at the same time.
    step = min(turns(world, WrittenOut(world, recursive_doubling), 4, TIMES))
    vector, other, fastest = np.zeros(ADDED, np.float32), np.ones(ADDED, np.float32), math.inf
    for _ in range(TIMES):
        start = time.perf_counter()
        vector += other
        fastest = min(fastest, time.perf_counter() - start)
    return {
        "latency": latency,
        "step": step,
        "bandwidth": LARGE / (large - latency),
        "adding": vector.nbytes / fastest,
    }


def sums(world: Any, arguments: argparse.Namespace) -> dict[int, dict[str, list[float]]]:
    """Measure seconds: of each size, of each algorithm, of each turn."""
    from minidl.parallel.allreduce import ALGORITHMS
    from minidl.parallel.written_out import WrittenOut

    comms = {LIBRARY: world} | {name: WrittenOut(world, ALGORITHMS[name]) for name in ALGORITHMS}
    found = {}
    for size in (1024 * kib for kib in arguments.sizes):
        # The first round gets everything warm.
        taking_turns = [
            turns(world, comm, size, 1 + arguments.repetitions) for comm in comms.values()
        ]
        _, *rounds = zip(*taking_turns, strict=True)
        found[size] = dict(zip(comms, zip(*rounds, strict=True), strict=True))
    return found


def turns(world: Any, comm: Any, size: int, repetitions: int) -> Iterator[float]:
    """Yield the seconds of sums of so many bytes, again and again."""
    from mpi4py import MPI

    vector, longest = np.zeros(size // 4, np.float32), np.empty(1)
    times = min(20, max(1, ENOUGH // size))
    for _ in range(repetitions):
        world.Barrier()
        start = time.perf_counter()
        for _ in range(times):
            comm.Allreduce(MPI.IN_PLACE, vector)
        longest[0] = (time.perf_counter() - start) / times
        world.Allreduce(MPI.IN_PLACE, longest, MPI.MAX)
        yield float(longest[0])


if __name__ == "__main__":
    main()
