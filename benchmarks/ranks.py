"""How much faster do ranks train than one: images a second of the synchronous strategy.

    python benchmarks/ranks.py
    python benchmarks/ranks.py --ranks 1,2,4 --size 64 --width 32

Measured: the images a second of all ranks together, each with its own batch of random images, at
one thread a rank and with nothing pinned: steps and their updates between two barriers, after one
that allocates. One rank and several take turns, each turn a job of its own under mpiexec; each turn
gives one ratio. More ranks than cores share them, and are measured without a floor.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import numpy as np
from harness import Floor, Spread, command_line, numbers, on_ranks, report

from minidl.tables import plain_table

TWO_RANKS_FLOOR = 1.85


def main() -> None:
    """Measure, or be one of the ranks."""
    parser = command_line(__doc__)
    parser.add_argument("--ranks", type=numbers, default="1,2", help="the first is compared with")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch-size", type=int, default=8, help="of each rank")
    parser.add_argument("--width", type=int, default=128, help="filters of each convolution")
    parser.add_argument("--steps", type=int, default=3, help="measured in each turn")
    parser.add_argument("--repetitions", type=int, default=5, help="turns")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    turns = [
        {ranks: on_ranks(ranks, "rank") for ranks in arguments.ranks}
        for _ in range(arguments.repetitions)
    ]
    summarise(arguments, turns)


def work(arguments: argparse.Namespace) -> None:
    """Train as one rank of the job; rank 0 prints the images a second of all."""
    # Here and not above: the process that starts the jobs must not start MPI itself.
    from mpi4py import MPI

    from minidl.losses import softmax_cross_entropy
    from minidl.objective import Objective
    from minidl.optim import Adam
    from minidl.parallel.sync import Strategy
    from minidl.roles import Roles
    from minidl.stopwatch import Stopwatch
    from minidl_models.hep.network import network

    comm = MPI.COMM_WORLD
    generator = np.random.default_rng(comm.rank)
    shape = (arguments.size, arguments.size, 3)
    net = network(shape, generator, width=arguments.width)
    x = generator.standard_normal((arguments.batch_size, *shape), np.float32)
    labels = generator.integers(0, 2, len(x))
    watch, roles = Stopwatch(), Roles(comm.size, groups=1, servers=0)
    strategy = Strategy(comm, roles, Objective(net, softmax_cross_entropy), Adam, watch)
    strategy.start()
    strategy.step([(x, labels)])
    strategy.gather()
    comm.Barrier()
    watch.restart()
    for _ in range(arguments.steps):
        strategy.step([(x, labels)])
    strategy.gather()
    comm.Barrier()
    seconds = watch.now()
    if comm.rank == 0:
        images = arguments.steps * len(x) * comm.size
        rate, waiting = images / seconds, watch.seconds["wait"] / seconds
        print(json.dumps({"rate": rate, "waiting": waiting}))


def summarise(arguments: argparse.Namespace, turns: list[dict[int, dict[str, float]]]) -> None:
    """Print the rates, and the ratios to the first number of ranks."""
    table = plain_table("ranks", ">images/s", ">times as many", ">rank 0 waits, %")
    figures: dict[int, dict[str, Any]] = {}
    floors = []
    first = arguments.ranks[0]
    for ranks in arguments.ranks:
        rate = Spread.of(turn[ranks]["rate"] for turn in turns)
        ratio = Spread.of(turn[ranks]["rate"] / turn[first]["rate"] for turn in turns)
        waiting = Spread.of(100 * turn[ranks]["waiting"] for turn in turns)
        figures[ranks] = {"rate": rate, "ratio": ratio, "waiting": waiting}
        table.add_row(str(ranks), str(rate), str(ratio), str(waiting))
        if (first, ranks) == (1, 2) and (os.cpu_count() or 1) >= 2:
            what, held = "images/s: 2 ranks / 1 rank", ratio.median >= TWO_RANKS_FLOOR
            floors.append(Floor(what, f">= {TWO_RANKS_FLOOR}", str(ratio), held))
    report(arguments, {"ranks": figures}, [table], floors)


if __name__ == "__main__":
    main()
