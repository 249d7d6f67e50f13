"""Nodes that die: time to solution over how often they do, for jobs that end and that survive.

    python benchmarks/beyond/failures.py
    python benchmarks/beyond/failures.py --small

The job is what hybrid training of the HEP network does in a day on 9,600 nodes of Cori if nobody
dies. How fast sync and hybrid are is simulated, async is as fast as its servers; when nodes die is
drawn (failure_model.py). That the drawn times are those of the strategies is shown first, on a
virtual cluster of 96 nodes (failing_ghosts.py).

Assumed: a checkpoint stops everybody for CHECKPOINT seconds, and a GB/s more for what Adam keeps; a
new job begins RESTART seconds after a death; survivors go on PAUSE seconds after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import failing_ghosts
import failure_model
import numpy as np
import study
from failure_model import Job, ends_and_resumes, survives
from matplotlib.axes import Axes

from minidl.machines import read_machine
from minidl.roles import Roles
from minidl.runs.plot import COLOURS
from minidl.simulate.outcome import run
from minidl.simulate.simulation import Scenario
from minidl.simulate.work import work_of

NODES, GROUPS, SAMPLES = 9600, 8, 8
DAY, YEAR = 86400.0, 365.25 * 86400
CHECKPOINT, WRITTEN, RESTART, PAUSE = 5.0, 1e9, 300.0, 10.0
KEPT = 3  # vectors of Adam: parameters, and two means
YEARS = (0.5, 1, 2, 5, 10, 20, 50, 100)
KNOWN = {"Llama 3: 0.7 years": 0.72, "Blue Waters: 13 years": 13.2}
STRATEGIES = {"sync": 1, "hybrid": GROUPS, "async": NODES}  # their groups
TRIALS = 100


def main() -> None:
    """Compare with the virtual cluster; print the table, and draw."""
    asked = study.arguments(__doc__)
    print(agreement(*((24, 4) if asked.small else (96, 8))), end="\n\n", flush=True)
    trials = TRIALS // 10 if asked.small else TRIALS
    nodes = NODES // 100 if asked.small else NODES
    jobs = jobs_of(nodes)
    made, panels = study.figure(
        f"{nodes:,} nodes of Cori, simulated: a job of a day, and deaths", 2
    )
    found = {
        name: [
            [hours(one, years, trials) for years in YEARS] for one in ways(job, STRATEGIES[name])
        ]
        for name, job in jobs.items()
    }
    columns = ["node MTBF, years", "a death every, h"]
    columns += [f"{name} {how}, h" for name in found for how in ("ends", "survives")]
    rows = []
    for place, years in enumerate(YEARS):
        times = [f"{way[place]:.1f}" for both in found.values() for way in both]
        rows.append((f"{years:g}", f"{years * YEAR / nodes / 3600:.1f}", *times))
    print(study.table(columns, rows))
    for (name, both), colour in zip(found.items(), COLOURS, strict=False):
        for way, line in zip(both, ("--", "-"), strict=True):
            alone = jobs[name].work / 3600
            style = {"color": colour, "linestyle": line, "marker": "o", "markersize": 3}
            label = f"{name}, {'ends' if line == '--' else 'survives'}"
            panels[0].plot(YEARS, way, label=label, **style)
            panels[1].plot(YEARS, [100 * (time / alone - 1) for time in way], **style)
    finish(panels)
    study.save(made, asked.out, "failures")


def jobs_of(nodes: int) -> dict[str, Job]:
    """Make the same job for each strategy: its samples are those of a day of hybrid."""
    seconds = {name: iteration_of(name, nodes) for name in STRATEGIES}
    checkpoint = CHECKPOINT + KEPT * sum(work_of("hep").bytes) / WRITTEN
    return {
        name: Job(
            DAY * iteration / seconds["hybrid"],
            nodes, YEAR, checkpoint, RESTART, PAUSE, iteration,
        )
        for name, iteration in seconds.items()
    }  # fmt: skip


def iteration_of(name: str, nodes: int) -> float:
    """Seconds of an iteration: simulated; of async, what its busiest server takes for all nodes.

    There thousands of gradients wait at each server, which the virtual cluster looks through for
    every single one.
    """
    work, machine, groups = work_of("hep"), read_machine("cori-knl", "hep"), STRATEGIES[name]
    if name == "async":
        largest = max(work.bytes)
        busy = nodes * (largest / machine.bandwidth + machine.update_time(largest))
        return max(busy, work.alone(machine, SAMPLES))
    servers = len(work.sizes) if groups > 1 else 0
    roles = Roles(nodes + servers, groups, servers)
    found = run(Scenario(work, machine, name, roles, SAMPLES, 6))
    return nodes * SAMPLES * work.operations / found.sustained


Way = Callable[[float, np.random.Generator], float]


def ways(job: Job, groups: int) -> tuple[Way, Way]:
    """Return what draws the time of a job that ends, and of one that survives, over the MTBF."""

    def ending(mtbf: float, generator: np.random.Generator) -> float:
        mortal = replace(job, mtbf=mtbf)
        return ends_and_resumes(mortal, failure_model.interval_that_ends(mortal), generator)

    def surviving(mtbf: float, generator: np.random.Generator) -> float:
        mortal = replace(job, mtbf=mtbf)
        interval = failure_model.interval_that_survives(mortal, groups)
        return survives(mortal, groups, min(interval, 3600.0), generator)

    return ending, surviving


def hours(way: Way, years: float, trials: int) -> float:
    """Mean time to solution."""
    generator = np.random.default_rng(1)
    return float(np.mean([way(years * YEAR, generator) for _ in range(trials)])) / 3600


def agreement(nodes: int, trials: int) -> str:
    """Compare drawn times with those of the strategies on a virtual cluster, in a table."""
    job = Job(300.0, nodes, 60.0 * nodes, checkpoint=2, restart=10, pause=5, iteration=1)
    cases: list[tuple[str, Any, Any, tuple]] = [
        ("sync, ends", ends_and_resumes, failing_ghosts.ends_and_resumes, (20.0,)),
        ("sync, survives", survives, failing_ghosts.survives, (1, 100.0)),
        (f"hybrid, {GROUPS} groups, survives", survives, failing_ghosts.survives, (GROUPS, 50.0)),
    ]
    rows = []
    for name, draw, simulate, how in cases:
        generator = np.random.default_rng(1)
        drawn = np.array([draw(job, *how, generator) for _ in range(2000)])
        seen = np.array([simulate(job, *how, generator) for _ in range(trials)])
        error = seen.std(ddof=1) / trials**0.5
        rows.append((name, f"{drawn.mean():.0f}", f"{seen.mean():.0f} +- {error:.0f}"))
    columns = (f"{nodes} nodes, a death a minute, 300 s of work", "drawn, s", "virtual cluster, s")
    return study.table(columns, rows)


def finish(panels: list[Axes]) -> None:
    """Label the axes, and mark what is known of machines."""
    for panel in panels:
        panel.set(xscale="log", yscale="log")
        panel.set_xlabel("mean time between failures of a node, years", fontsize=8)
        panel.set_xticks(YEARS, [f"{years:g}" for years in YEARS])
        panel.minorticks_off()
        panel.grid(color="0.9", linewidth=0.6)
        for name, years in KNOWN.items():
            panel.axvline(years, color="0.7", linewidth=1)
            panel.text(years, 0.98, f" {name}", fontsize=6, va="top", rotation=90, ha="right",
                       transform=panel.get_xaxis_transform())  # fmt: skip
    for panel, ticks in zip(panels, ((25, 50, 100, 200), (0.2, 0.5, 1, 2, 5, 10, 20)), strict=True):
        panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[0].set_ylabel("hours to solution", fontsize=8)
    panels[1].set_ylabel("% longer than if nobody died", fontsize=8)
    panels[0].legend(frameon=False, fontsize=7, handlelength=4)


if __name__ == "__main__":
    main()
