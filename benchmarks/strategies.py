"""What do parameter servers cost: samples a second of async and hybrid, and of sync beside them.

    python benchmarks/strategies.py
    python benchmarks/strategies.py --batch-sizes 8 --steps 10 --repetitions 2

Measured: the samples a second of all workers together, each with its own batch of random images,
at one thread a rank and with nothing pinned: steps and their updates between two barriers of the
workers, after one step that allocates. What is compared has the same number of workers; a server
is a rank more. On two cores it shares them with the workers, and what it does is missing there. The
strategies take turns, each turn a job of its own under mpiexec; each turn gives one ratio.

The server's share: of the same time, what it spends on updates and on sending their results. A
server near 100 % cannot keep up with more workers. Four workers show how the share grows where they
have a core each. On two cores they compute no more than two do, and the share hardly grows; their
samples a second are not compared with sync's.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import numpy as np
from harness import Floor, Spread, command_line, numbers, on_ranks, report, spans_of
from jobs import Job, Rank

from minidl.tables import plain_table

RATIO_FLOOR = 0.9


JOBS = {
    "sync, 2": Job("sync", 1, 2, 0),
    "async, 2 + server": Job("async", 2, 2, 1),
    "hybrid, 2 x 1 + server": Job("hybrid", 2, 2, 1),
    "hybrid, 1 x 2 + server": Job("hybrid", 1, 2, 1),
    "async, 4 + server": Job("async", 4, 4, 1),
    "hybrid, 2 x 2 + server": Job("hybrid", 2, 4, 1),
}
FIRST = "sync, 2"


def main() -> None:
    """Measure, or be one of the ranks."""
    parser = command_line(__doc__)
    parser.add_argument("--size", type=int, default=64, help="height and width of the images")
    parser.add_argument("--batch-sizes", type=numbers, default="8,32", help="of each worker")
    parser.add_argument("--width", type=int, default=32, help="filters of each convolution")
    parser.add_argument("--steps", type=int, default=30, help="measured in each turn")
    parser.add_argument("--repetitions", type=int, default=5, help="turns")
    arguments = parser.parse_args()
    if arguments.worker:
        name, batch_size = json.loads(arguments.worker)
        work(arguments, JOBS[name], batch_size)
        return
    turns = {
        batch_size: [
            {
                name: on_ranks(job.ranks, json.dumps([name, batch_size]))
                for name, job in JOBS.items()
            }
            for _ in range(arguments.repetitions)
        ]
        for batch_size in arguments.batch_sizes
    }
    summarise(arguments, turns)


def work(arguments: argparse.Namespace, job: Job, batch_size: int) -> None:
    """Be one rank of the job; rank 0 prints the samples a second of all, and the server's share."""
    rank = Rank(job, arguments, batch_size)
    comm, roles, strategy, watch = rank.comm, rank.roles, rank.strategy, rank.watch
    workers = comm.Split(rank.is_worker)
    period = np.zeros(2)  # of the one monotonic clock that processes of a machine share
    strategy.start()
    if rank.is_worker:
        strategy.step(rank.batches)
        strategy.gather()
        workers.Barrier()
        period[0] = watch.clock()
        for _ in range(arguments.steps):
            strategy.step(rank.batches)
        strategy.gather()
        workers.Barrier()
        period[1] = watch.clock()
        strategy.stop()
    else:
        strategy.serve()
    comm.Bcast(period, root=0)
    spans = spans_of(watch, "update", "send")
    inside = (spans["start"] > period[0] - watch.zero) & (spans["end"] < period[1] - watch.zero)
    busy = np.zeros(comm.size)
    seconds = period[1] - period[0]
    comm.Gather((spans["end"] - spans["start"])[inside].sum() / seconds, busy)
    if comm.rank == 0:
        rate = arguments.steps * batch_size * roles.workers / seconds
        print(json.dumps({"rate": rate, "server": busy[roles.workers :].max(initial=0)}))


def summarise(
    arguments: argparse.Namespace, turns: dict[int, list[dict[str, dict[str, float]]]]
) -> None:
    """Print rates, their ratios to sync, and the server's share, a table a size of the batch."""
    tables, figures, floors = [], {}, []
    enough_cores = (os.cpu_count() or 1) >= JOBS[FIRST].workers
    for batch_size, measured in turns.items():
        table = plain_table(f"batch {batch_size}", ">samples/s", ">of sync's", ">server busy, %")
        rows: dict[str, dict[str, Any]] = {}
        for name, job in JOBS.items():
            row = {"rate": Spread.of(turn[name]["rate"] for turn in measured)}
            if job.workers == JOBS[FIRST].workers:
                ratios = (turn[name]["rate"] / turn[FIRST]["rate"] for turn in measured)
                row["ratio"] = Spread.of(ratios)
            if job.servers:
                row["busy"] = Spread.of(100 * turn[name]["server"] for turn in measured)
                if "ratio" in row:
                    held = row["ratio"].median >= RATIO_FLOOR if enough_cores else None
                    what = f"{name} / sync, batch {batch_size}"
                    floors.append(Floor(what, f">= {RATIO_FLOOR}", str(row["ratio"]), held))
            table.add_row(name, *(str(row.get(part, "-")) for part in ("rate", "ratio", "busy")))
            rows[name] = row
        tables.append(table)
        figures[str(batch_size)] = rows
    report(arguments, {"batches": figures}, tables, floors)


if __name__ == "__main__":
    main()
