"""How training speeds up with nodes, by simulation: strong and weak scaling.

Strong: the batch of a synchronous group stays the same, shared by ever more nodes. Weak: each node
keeps its own. Speed-up is that of samples a second over one node that has the whole batch, or its
own. Source of the definitions: Deep Learning at 15PF, section VI.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..parallel.virtual import Machine
from ..roles import Roles
from .outcome import Outcome, run
from .simulation import Scenario
from .work import Work

SMOOTH = 1000  # iterations of one node, and of more in proportion: so much luck evens out


class Way(NamedTuple):
    """A strategy, and the number of its groups; None: as many as workers."""

    strategy: str
    groups: int | None

    @classmethod
    def of(cls, text: str) -> Way:
        """Read sync, async, or hybrid-4; raises ``ValueError``."""
        if text in ("sync", "async"):
            return cls(text, 1 if text == "sync" else None)
        strategy, _, groups = text.partition("-")
        if strategy != "hybrid" or not groups.isdecimal() or not 1 <= int(groups) < 10**6:
            raise ValueError(text)
        return cls(strategy, int(groups))

    def __str__(self) -> str:
        return self.strategy if self.strategy != "hybrid" else f"hybrid-{self.groups}"


class Point(NamedTuple):
    """What is predicted for a strategy on so many workers."""

    way: Way
    nodes: int
    samples: float  # of a worker and iteration
    speedup: float
    outcome: Outcome


def scale(
    kind: str,
    work: Work,
    machine: Machine,
    ways: Sequence[Way],
    nodes: Sequence[int],
    batch: int,
    iterations: int,
    seed: int,
) -> Iterator[Point]:
    """Predict the speed-up for every strategy and number of workers, in turn.

    Left out are numbers that cannot be dealt to the groups, or leave a worker less than a sample.
    """
    of_one = batch / work.alone(machine, batch)
    for way in ways:
        for workers in nodes:
            groups = workers if way.groups is None else way.groups
            samples = batch * groups / workers if kind == "strong" else batch
            if workers % groups or samples < 1:
                continue
            servers = 0 if way.strategy == "sync" else len(work.sizes)
            roles = Roles(workers + servers, groups, servers)
            drawn = max(iterations, SMOOTH // workers)
            outcome = run(Scenario(work, machine, way.strategy, roles, samples, drawn, seed))
            speedup = outcome.sustained / work.operations / of_one
            yield Point(way, workers, samples, speedup, outcome)
