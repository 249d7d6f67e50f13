"""Slow nodes: backup workers and a bound on staleness, beside the three strategies.

    python benchmarks/beyond/stragglers.py
    python benchmarks/beyond/stragglers.py --small

Simulated: the HEP network with 8 images a worker on nodes of Cori, with three kinds of slowness. In
all of them equally many nodes compute, backups among them. Counted is what goes into an update, in
the second half of the time until the first worker has made all of its iterations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import backup_workers
import numpy as np
import stale_synchronous
import study

from minidl.machines import JITTER, read_machine
from minidl.parallel import async_ps, hybrid, sync
from minidl.parallel.virtual import Stragglers, VirtualCluster
from minidl.parallel.virtual.ghost import (
    GhostLayer,
    GhostNetwork,
    GhostObjective,
    GhostOptimizer,
    NoStopwatch,
)
from minidl.roles import Roles
from minidl.runs.plot import COLOURS
from minidl.simulate.work import work_of

SAMPLES = 8
SLOWNESS = {
    f"jitter {JITTER}": Stragglers(jitter=JITTER),
    "jitter 0.5": Stragglers(jitter=0.5),
    "5 % of the nodes 4 times slower": Stragglers(JITTER, slow_share=0.05, slow_factor=4),
}


class Way(NamedTuple):
    """A strategy, its number of groups (0: of one worker each), and what else it is given."""

    name: str
    strategy: Callable[..., Any]
    groups: int
    colour: str


@dataclass(frozen=True)
class Seen:
    """What a simulation has found.

    Attributes
    ----------
    samples : float
        Of a second, that went into updates.
    iteration : float
        Seconds, of the node in the middle.
    dropped : float
        Share of the gradients that went into none.
    staleness, stalest : float
        Of updates: the mean, and the worst.
    """

    samples: float
    iteration: float
    dropped: float
    staleness: float
    stalest: int


def ways(workers: int) -> list[Way]:
    """List what is compared: backups are a sixteenth and an eighth of the workers."""
    blue, red, green, violet, orange = COLOURS[:5]
    backups = [
        Way(
            f"sync, {number} of them backups",
            partial(backup_workers.Strategy, backups=number),
            0,
            red,
        )
        for number in (workers // 16, workers // 8)
    ]
    hybrids = [
        Way(f"hybrid, {groups} groups", hybrid.Strategy, groups, green) for groups in (2, 4, 8)
    ]
    bounded = [
        Way(
            f"async, at most {bound} ahead",
            partial(stale_synchronous.Strategy, bound=bound),
            0,
            orange,
        )
        for bound in (1, 4, 16)
    ]
    return [
        Way("sync", sync.Strategy, 1, blue),
        *backups,
        *hybrids,
        *bounded,
        Way("async", async_ps.Strategy, 0, violet),
    ]


def see(way: Way, workers: int, stragglers: Stragglers, iterations: int) -> Seen:
    """Simulate a way, and count."""
    work, machine = work_of("hep"), read_machine("cori-knl", "hep")
    servers = 0 if way.strategy is sync.Strategy else len(work.sizes)
    roles = Roles(workers + servers, way.groups or workers, servers)
    layers = [GhostLayer(name, size) for name, size in zip(work.names, work.sizes, strict=True)]
    network, ends = GhostNetwork(layers), np.zeros((workers, iterations))
    forward, backward = (
        [machine.compute_time(operations, SAMPLES) for operations in direction]
        for direction in (work.forward, work.backward)
    )

    def program(comm: Any) -> list[tuple[int, int, int, int]]:
        slowness = stragglers.of(comm.rank)
        strategy = way.strategy(
            comm,
            roles,
            GhostObjective(comm.compute, network, forward, backward, slowness),
            lambda parameters: GhostOptimizer(
                parameters, comm.compute, machine.update_time(parameters.nbytes)
            ),
            NoStopwatch(),
        )
        strategy.start()
        if comm.rank < workers:
            for number in range(iterations):
                strategy.step(SAMPLES)
                ends[comm.rank, number] = comm.clock()
            strategy.stop()
        else:
            strategy.serve()
        if not servers:
            return []
        strategy.finish()
        return [row for layer in strategy.served.values() for row in layer.updates]

    rows = itertools.chain(*VirtualCluster(roles.ranks, machine).run(program))
    return count(roles, ends, list(rows), len(layers))


def count(
    roles: Roles, ends: np.ndarray, rows: list[tuple[int, int, int, int]], layers: int
) -> Seen:
    """Count what went into updates while all were at work.

    Parameters
    ----------
    ends : np.ndarray, shape (workers, iterations)
        When iterations ended.
    rows : list of (layer, group, read, made)
        What became of every gradient, of each group and layer in order. None of sync, where every
        gradient goes into an update that is not stale.
    layers : int
    """
    until = ends[:, -1].min()
    window = (until / 2, until)
    began = np.hstack([np.zeros((len(ends), 1)), ends[:, :-1]])
    within = (np.clip(ends, *window) - np.clip(began, *window)) / (ends - began)  # as a share
    counted = np.full(ends.shape, 0.0 if rows else 1.0)
    made_by: dict[tuple[int, int], int] = {}
    stale = [] if rows else [0]
    for layer, group, read, made in rows:
        number = made_by[layer, group] = made_by.get((layer, group), -1) + 1
        root = roles.root(group)
        if made != backup_workers.DROPPED:
            counted[root : roles.root(group + 1), number] += 1 / layers
            if within[root, number] > 0:
                stale.append(made - 1 - read)
    return Seen(
        SAMPLES * (counted * within).sum() / (until / 2),
        float(np.median(until / 2 / within.sum(axis=1))),
        1 - (counted * within).sum() / within.sum(),
        float(np.mean(stale)),
        max(stale),
    )


COLUMNS = (
    "samples/s that count",
    "of nodes alone",
    "iteration, ms",
    "dropped",
    "staleness, mean",
    "worst",
)


def main() -> None:
    """Print the tables, and draw."""
    asked = study.arguments(__doc__)
    workers, iterations = (64, 40) if asked.small else (256, 60)
    compared = ways(workers)
    made, panels = study.figure(f"{workers} nodes of Cori, simulated: samples that count", 3)
    for (kind, stragglers), panel in zip(SLOWNESS.items(), panels, strict=True):
        seen = [see(way, workers, stragglers, iterations) for way in compared]
        shares = [one.samples / workers / alone() for one in seen]
        rows = [row(*of) for of in zip(compared, seen, shares, strict=True)]
        print(study.table((kind, *COLUMNS), rows), end="\n\n", flush=True)
        names = [way.name if panel is panels[0] else "" for way in compared]
        panel.barh(range(len(names)), shares, color=[way.colour for way in compared])
        panel.set_yticks(range(len(names)), names)
        panel.invert_yaxis()
        panel.set_xlim(0, 1)
        panel.xaxis.set_major_formatter("{x:.0%}")
        panel.set_title(kind, fontsize=9)
        panel.set_xlabel("of so many nodes alone", fontsize=8)
    study.save(made, asked.out, "stragglers")


def alone() -> float:
    """Samples a second of one node by itself."""
    return SAMPLES / work_of("hep").alone(read_machine("cori-knl", "hep"), SAMPLES)


def row(way: Way, seen: Seen, share: float) -> tuple[str, ...]:
    """Write a line of a table."""
    return (
        way.name,
        f"{seen.samples:,.0f}",
        f"{share:.0%}",
        f"{1e3 * seen.iteration:.0f}",
        f"{seen.dropped:.1%}",
        f"{seen.staleness:.1f}",
        f"{seen.stalest}",
    )


if __name__ == "__main__":
    main()
