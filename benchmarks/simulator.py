"""Is the simulator right? Training on real ranks, and the same run simulated.

    python benchmarks/simulator.py
    python benchmarks/simulator.py --steps 5 --repetitions 2

Measured: the seconds of an iteration of the HEP network under mpiexec, random images, one thread a
rank: the median of the iterations of each turn, and of these turns the median. Simulated: the same
strategy on the same number of ranks, on a machine whose latency, bandwidth and memory are those
that ``minidl bench machine`` measures, and whose rate is that of one rank by itself, which is
measured here, before and after the others, at both batch sizes: a rate, and its fall with fewer
images. Jitter is that of one rank's own iterations, the spread of their logarithms.

Only jobs whose ranks have a core each can be right: a server that shares a core with a worker slows
it down, which no description says. Jobs of more ranks than cores are shown with --oversubscribed,
and held to nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import Floor, Spread, command_line, environment, numbers, on_ranks, report
from jobs import Job, Rank

from minidl.tables import plain_table

AIM = 0.15


ALONE = "sync, 1"
JOBS = {
    ALONE: Job("sync", 1, 1, 0),
    "sync, 2": Job("sync", 1, 2, 0),
    "async, 1 + server": Job("async", 1, 1, 1),
    "hybrid, 1 x 1 + server": Job("hybrid", 1, 1, 1),
    "async, 2 + server": Job("async", 2, 2, 1),
    "hybrid, 1 x 2 + server": Job("hybrid", 1, 2, 1),
    "sync, 4": Job("sync", 1, 4, 0),
    "hybrid, 2 x 2 + server": Job("hybrid", 2, 4, 1),
    "sync, 8": Job("sync", 1, 8, 0),
}


def main() -> None:
    """Measure and simulate, or be one of the ranks."""
    parser = command_line(__doc__)
    parser.add_argument("--size", type=int, default=64, help="height and width of the images")
    parser.add_argument("--batch-sizes", type=numbers, default="2,8", help="two, of each worker")
    parser.add_argument("--width", type=int, default=64, help="filters of each convolution")
    parser.add_argument("--steps", type=int, default=20, help="measured in each turn")
    parser.add_argument("--repetitions", type=int, default=5, help="turns")
    parser.add_argument("--oversubscribed", action="store_true", help="also more ranks than cores")
    arguments = parser.parse_args()
    if arguments.worker:
        name, batch_size = json.loads(arguments.worker)
        work(arguments, JOBS[name], batch_size)
        return
    cores = len(os.sched_getaffinity(0))
    jobs = {
        name: job for name, job in JOBS.items() if arguments.oversubscribed or job.ranks <= cores
    }
    described = describe()
    turns: dict[tuple[str, int], list[list[float]]] = {}
    for _ in range(arguments.repetitions):
        for batch_size in arguments.batch_sizes:
            for name, job in jobs.items():
                seconds = on_ranks(job.ranks, json.dumps([name, batch_size]))["seconds"]
                turns.setdefault((name, batch_size), []).append(seconds)
    summarise(arguments, described, turns, cores)


def describe() -> dict[str, Any]:
    """Measure messages and memory as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machine.json"
        command = [sys.executable, "-m", "minidl", "bench", "machine", "--out", str(path)]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env=environment(1), timeout=600
        )
        return json.loads(path.read_text())


def work(arguments: argparse.Namespace, job: Job, batch_size: int) -> None:
    """Be one rank of the job; rank 0 prints the seconds of its iterations."""
    rank = Rank(job, arguments, batch_size)
    strategy, ends = rank.strategy, []
    strategy.start()
    if rank.is_worker:
        for _ in range(arguments.steps + 2):
            strategy.step(rank.batches)
            ends.append(rank.watch.clock())
        strategy.stop()
    else:
        strategy.serve()
    if rank.roles.servers:
        strategy.finish()
    if rank.comm.rank == 0:
        print(json.dumps({"seconds": np.diff(ends)[1:].tolist()}))


def machine_of(
    arguments: argparse.Namespace,
    described: dict[str, Any],
    turns: dict[tuple[str, int], list[list[float]]],
) -> Any:
    """Describe this machine by what one rank does alone at two batch sizes.

    Seconds are a straight line over the batch: operations * (batch + half_batch) / flops, and the
    updates, which the description's memory gives.
    """
    from minidl.parallel.virtual import Machine

    plain = Machine(**described)
    counted = work_here(arguments)
    few, many = arguments.batch_sizes
    updates = sum(plain.update_time(size) for size in counted.bytes)
    short, long = (np.median(np.concatenate(turns[ALONE, batch])) for batch in (few, many))
    slope = (long - short) / (many - few)
    logs = [np.log(turn) - np.log(np.median(turn)) for turn in turns[ALONE, many]]
    # Half of the width of the middle 68 %: one turn of the kernel's must not make a jitter.
    low, high = np.quantile(np.concatenate(logs), [0.16, 0.84])
    return replace(
        plain,
        flops=counted.operations / slope,
        half_batch=max(0.0, (short - updates) / slope - few),
        jitter=float(high - low) / 2,
    )


def work_here(arguments: argparse.Namespace) -> Any:
    """Count what the network of this benchmark has to do."""
    from minidl.simulate.work import Work
    from minidl.summary import summarize
    from minidl_models.hep.network import network

    shape = (arguments.size, arguments.size, 3)
    net = network(shape, np.random.default_rng(1), width=arguments.width)
    return Work.of("hep", summarize(net, shape))


def simulated(arguments: argparse.Namespace, machine: Any, job: Job, batch_size: int) -> float:
    """Return the seconds of an iteration, by simulation: the median, as of those measured."""
    from minidl.roles import Roles
    from minidl.simulate.outcome import iteration_times
    from minidl.simulate.simulation import Scenario, simulate

    roles = Roles(job.ranks, job.groups, job.servers)
    scenario = Scenario(work_here(arguments), machine, job.strategy, roles, batch_size, 100)
    return float(np.median(iteration_times(simulate(scenario)[0].ends[:1])))


def summarise(
    arguments: argparse.Namespace,
    described: dict[str, Any],
    turns: dict[tuple[str, int], list[list[float]]],
    cores: int,
) -> None:
    """Print both, and by how much they differ."""
    machine = machine_of(arguments, described, turns)
    table = plain_table(
        "job", ">batch", ">ms measured:\nmedian (min-max)", ">ms\nsimulated", ">error"
    )
    figures, errors = [], []
    for (name, batch_size), seconds in sorted(turns.items(), key=lambda item: item[0][1]):
        measured = np.array([np.median(turn) for turn in seconds])
        predicted = simulated(arguments, machine, JOBS[name], batch_size)
        error, fits = predicted / float(np.median(measured)) - 1, JOBS[name].ranks <= cores
        if fits and name != ALONE:
            errors.append(abs(error))
        table.add_row(
            name, str(batch_size), str(Spread.of(1e3 * measured)), f"{1e3 * predicted:.4g}",
            f"{error:+.1%}" if fits else f"({error:+.1%})",
        )  # fmt: skip
        figures.append(
            {"job": name, "batch": batch_size, "measured": seconds, "simulated": predicted}
        )
    worst = max(errors)
    floor = Floor(
        "iteration time, a core a rank", f"within {AIM:.0%}", f"{worst:.1%}", worst <= AIM
    )
    report(arguments, {"machine": vars(machine), "jobs": figures}, [table], [floor])


if __name__ == "__main__":
    main()
