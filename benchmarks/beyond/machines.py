"""Other machines, and 100,000 nodes: weak scaling on Cori, Perlmutter and Frontier.

    python benchmarks/beyond/machines.py
    python benchmarks/beyond/machines.py --small

Simulated: machines as minidl/machines.py describes them, with its sources. A rank is a node of
Cori, or a GPU of the others. Each has its own batch: 8 images on Cori, as in the paper, 64 on a
GPU. Larger than a machine is (marked *) it is one that does not exist, with the same nodes.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import study
from matplotlib.axes import Axes

from minidl.machines import DESCRIPTIONS, read_machine
from minidl.roles import Roles
from minidl.runs.plot import COLOURS
from minidl.simulate.outcome import Outcome, run
from minidl.simulate.simulation import Scenario
from minidl.simulate.work import work_of

MACHINES = {"cori-knl": 8, "perlmutter-gpu": 64, "frontier-gpu": 64}  # and images a rank
NETWORKS = ("hep", "climate")
SIZES = (64, 1024, 8192)
LARGEST = ("frontier-gpu", "hep", 100_000)
GROUPS = (1, 8, 64)  # 1 is sync
ITERATIONS = 20
MARKS = {1: "o-", 8: "s--", 64: "^:"}


class Point(NamedTuple):
    """What is found for a machine, a network, a size and a number of groups."""

    machine: str
    network: str
    ranks: int
    groups: int
    outcome: Outcome

    @property
    def parts(self) -> dict[str, float]:
        """What an iteration spends on other things than computing."""
        found = self.outcome
        return {
            "sums": found.reduce + found.broadcast,
            "servers": found.server,
            "stragglers": found.wait,
        }


def look(machine: str, network: str, ranks: int, groups: int) -> Point:
    """Simulate."""
    work = work_of(network)
    servers = len(work.sizes) if groups > 1 else 0
    roles = Roles(ranks + servers, groups, servers)
    strategy = "hybrid" if groups > 1 else "sync"
    scenario = Scenario(
        work, read_machine(machine, network), strategy, roles, MACHINES[machine], ITERATIONS
    )
    return Point(machine, network, ranks, groups, run(scenario))


def main() -> None:
    """Print the table line by line, and draw."""
    asked = study.arguments(__doc__)
    sizes = SIZES[:1] if asked.small else SIZES
    cases = list(itertools.product(MACHINES, NETWORKS, sizes)) + [LARGEST] * (not asked.small)
    points = []
    print(study.table(COLUMNS, []))
    for (machine, network, ranks), groups in itertools.product(cases, GROUPS):
        if ranks // groups >= 8:
            points.append(look(machine, network, ranks, groups))
            print(f"| {' | '.join(row(points[-1]))} |", flush=True)
    made, (speed, efficiency) = study.figure("Weak scaling of hep, simulated", 2)
    shown = [point for point in points if point.network == "hep"]
    draw(speed, shown, [point.outcome.sustained / 1e15 for point in shown])
    draw(efficiency, shown, [point.outcome.efficiency for point in shown])
    speed.set(yscale="log", ylabel="PFLOP/s, sustained")
    efficiency.set(ylim=(0, 1), ylabel="of so many ranks alone")
    efficiency.yaxis.set_major_formatter("{x:.0%}")
    speed.legend(frameon=False, fontsize=6, loc="lower right")
    study.save(made, asked.out, "machines")


COLUMNS = (
    "machine, network",
    "ranks",
    "groups",
    "samples/s",
    "PFLOP/s",
    "efficiency",
    "if all are alike",
    "iteration, ms",
    "computes",
    "sums",
    "servers",
    "stragglers",
)


def row(point: Point) -> tuple[str, ...]:
    """Write a line of the table: times in ms; what costs most beside computing in bold."""
    found, parts = point.outcome, point.parts
    most = max(parts, key=lambda name: parts[name])
    samples = found.sustained / work_of(point.network).operations
    times = {name: f"{1e3 * seconds:.1f}" for name, seconds in parts.items()}
    times[most] = f"**{times[most]}**"
    larger = "*" if point.ranks > DESCRIPTIONS[point.machine].nodes else ""
    return (
        f"{point.machine}, {point.network}",
        f"{point.ranks:,}{larger}",
        "sync" if point.groups == 1 else f"{point.groups}",
        f"{samples:,.0f}",
        f"{found.sustained / 1e15:.3g}",
        f"{found.efficiency:.0%}",
        f"{found.efficiency / (1 - found.straggler_loss):.1%}",
        f"{1e3 * found.iteration:.1f}",
        f"{1e3 * found.compute:.1f}",
        *times.values(),
    )


def draw(panel: Axes, points: list[Point], values: list[float]) -> None:
    """Draw a value of each point over the number of ranks."""
    for machine, colour in zip(MACHINES, COLOURS, strict=False):
        for groups, marks in MARKS.items():
            mine = [
                (point.ranks, value)
                for point, value in zip(points, values, strict=True)
                if (point.machine, point.groups) == (machine, groups)
            ]
            how = "sync" if groups == 1 else f"hybrid, {groups} groups"
            ranks, shown = zip(*mine, strict=True) if mine else ((), ())
            panel.plot(
                ranks, shown, marks, color=colour, markersize=4, label=f"{machine}, {how}"
            )  # fmt: skip
    ticks = sorted({point.ranks for point in points})
    panel.set(xscale="log")
    panel.set_xticks(ticks, [f"{ranks:,}" for ranks in ticks])
    panel.minorticks_off()
    panel.grid(color="0.9", linewidth=0.6)
    panel.set_xlabel("nodes of Cori, or GPUs", fontsize=8)


if __name__ == "__main__":
    main()
