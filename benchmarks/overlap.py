"""How much of the gradients' summation does backward hide?

    python benchmarks/overlap.py
    python benchmarks/overlap.py --ranks 4 --repetitions 5

Measured: a step's exposed communication, from the moment at which the last rank is through with
backward to the moment at which every rank has all sums. The library's synchronous strategy takes
turns with a variant that starts to sum when backward is over (afterwards.py); hidden is the share
of the variant's exposed time that the strategy saves. The moments are times of the one monotonic
clock that processes of a machine share. Every step starts with nothing under way, and ends with
its update: what the next forward would hide of the rest, waiting for a layer's sum only where it
needs the layer, is not counted.

Hidden time is not saved time; the ratio of whole steps says what is saved. A non-blocking
collective makes progress only while its rank is inside a call of MPI, because nobody else is there
to copy and add while NumPy multiplies. So the strategy looks after its messages at each
announcement, with Testall, and pays for their additions there, in the middle of backward. A large
message travels in several rounds and needs as many looks before it is through.

The networks: HEP at 64 and at 224 pixels, messages of up to 0.6 MB, and a stack of large linear
layers with 16 MB each and little arithmetic, where communication matters.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from harness import Spread, command_line, on_ranks, report, spans_of

from minidl.tables import plain_table

NETWORKS = ("hep64", "hep224", "linear")


def main() -> None:
    """Measure, or be one of the ranks."""
    parser = command_line(__doc__)
    parser.add_argument("--ranks", type=int, default=2, help="of each job")
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="a job for each"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="of each rank; linear: 32 x")
    parser.add_argument("--repetitions", type=int, default=9, help="turns of one step each")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    summarise(arguments, {name: on_ranks(arguments.ranks, name) for name in arguments.networks})


def build(name: str, batch_size: int, generator: np.random.Generator) -> tuple[Any, np.ndarray]:
    """Return the network called ``name``, and a batch of random input for it."""
    from minidl.layers import Linear, Sequential
    from minidl_models.hep.network import network

    if name == "linear":
        x = generator.standard_normal((32 * batch_size, 2048), np.float32)
        stack = [Linear(2048, 2048, generator=generator) for _ in range(6)]
        stack[0].input_gradient = False
        return Sequential(*stack, Linear(2048, 2, generator=generator)), x
    size = int(name.removeprefix("hep"))
    x = generator.standard_normal((batch_size, size, size, 3), np.float32)
    return network(x.shape[1:], generator), x


def work(arguments: argparse.Namespace) -> None:
    """Take turns as one rank of the job; rank 0 prints what was exposed, and the steps' length."""
    # Here and not above: the process that starts the jobs must not start MPI itself.
    from afterwards import Afterwards
    from mpi4py import MPI

    from minidl.losses import softmax_cross_entropy
    from minidl.objective import Objective
    from minidl.optim import SGD
    from minidl.parallel.sync import Strategy
    from minidl.roles import Roles
    from minidl.stopwatch import Stopwatch

    comm, watch = MPI.COMM_WORLD, Stopwatch()
    generator = np.random.default_rng(comm.rank)
    net, x = build(arguments.worker, arguments.batch_size, generator)
    labels = generator.integers(0, 2, len(x))

    def turn(strategy: Strategy) -> tuple[float, float]:
        comm.Barrier()
        watch.restart()
        strategy.step([(x, labels)])
        MPI.Request.Waitall(list(strategy.requests.values()))
        has_sums = watch.now()
        strategy.gather()
        ended = watch.now()
        sends = spans_of(watch, "send")
        through = sends[sends["layer"] == 0]["start"][0]  # both send the first layer's right then
        latest = watch.zero + np.array([through, has_sums, ended])
        comm.Allreduce(MPI.IN_PLACE, latest, MPI.MAX)
        first = np.array(watch.zero)
        comm.Allreduce(MPI.IN_PLACE, first, MPI.MIN)
        return latest[1] - latest[0], latest[2] - float(first)

    roles, objective = Roles(comm.size, groups=1, servers=0), Objective(net, softmax_cross_entropy)
    kinds = {"overlapped": Strategy, "afterwards": Afterwards}
    strategies = {
        name: kind(comm, roles, objective, lambda p: SGD(p, 1e-4), watch)
        for name, kind in kinds.items()
    }
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in strategies}
    for _ in range(1 + arguments.repetitions):
        for name, strategy in strategies.items():
            turns[name].append(turn(strategy))
    if comm.rank == 0:
        print(json.dumps({name: measured[1:] for name, measured in turns.items()}))


def summarise(arguments: argparse.Namespace, jobs: dict[str, dict[str, Any]]) -> None:
    """Print what is exposed with and without overlap, as time and as share, and what that saves."""
    table = plain_table("", ">overlapped", ">afterwards")
    savings = plain_table("network", ">hidden, %", ">step: overlapped / afterwards")
    figures: dict[str, dict[str, Any]] = {}
    for name, job in jobs.items():
        measured = {kind: np.array(job[kind]).T for kind in ("overlapped", "afterwards")}
        rows = {
            "step, ms": [Spread.of(1e3 * step) for _, step in measured.values()],
            "exposed, ms": [Spread.of(1e3 * exposed) for exposed, _ in measured.values()],
            "exposed, %": [Spread.of(100 * exposed / step) for exposed, step in measured.values()],
        }
        for quantity, spreads in rows.items():
            table.add_row(f"{name}: {quantity}", *map(str, spreads))
        exposed, step = measured["overlapped"] / measured["afterwards"]
        hidden, ratio = Spread.of(100 * (1 - exposed)), Spread.of(step)
        savings.add_row(name, str(hidden), str(ratio))
        figures[name] = {**rows, "hidden, %": hidden, "step ratio": ratio}
    report(arguments, {"networks": figures}, [table, savings], [])


if __name__ == "__main__":
    main()
