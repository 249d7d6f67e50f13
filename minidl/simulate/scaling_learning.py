"""How much sooner a loss is reached with more nodes: the learning speed-up of a scaling study.

It is the time of the study's first row, the fewest nodes of its first strategy, until the smoothed
training loss is at a target, over that of another row. Where the figure comes from: ``verdict.py``;
what is computed, and what is charged for: ``learning.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..model import Model, load
from ..parallel.virtual import Machine
from ..runs.plot import Curve
from ..settings import Settings
from .learning import Learning
from .members import InMemory
from .scaling import Point
from .verdict import NEVER, curve_of, final_loss, seconds_to
from .work import Work


@dataclass(frozen=True)
class Lesson:
    """What is learnt at every point of a study.

    Parameters
    ----------
    data : sequence of Path
    epochs, width, learning_rate, seed
        As in ``Settings``. Momentum is 0.9, less what asynchrony adds.
    """

    data: Sequence[Path]
    epochs: int
    width: int
    learning_rate: float
    seed: int

    def settings(self, point: Point, layers: int, options: dict[str, Any]) -> Settings:
        """Of a run at a point."""
        how: dict[str, Any] = {"strategy": point.way.strategy}
        if point.way.strategy != "sync":
            how["servers"] = layers
        if point.way.strategy == "hybrid":
            how["groups"] = point.way.groups
        return Settings(
            data=tuple(self.data), epochs=self.epochs,
            batch_size=int(point.samples), learning_rate=self.learning_rate, momentum="auto",
            width=self.width, seed=self.seed, options=options, **how,
        )  # fmt: skip


def learn(
    lesson: Lesson,
    name: str,
    options: dict[str, Any],
    work: Work,
    machine: Machine,
    points: Sequence[Point],
) -> Iterator[Curve | None]:
    """Learn at every point; None where a node has a part of a sample, or an epoch no whole batch.

    Raises
    ------
    UserError
        If nothing can be learnt at the first point.
    """
    model = Model(load(name), options)
    dataset = InMemory(model.open(lesson.data))
    model.measure_on(dataset.dataset, lambda line: None)
    for point in points:
        groups = point.nodes if point.way.groups is None else point.way.groups
        whole = point.samples == int(point.samples)
        if whole and point.nodes * point.samples <= len(dataset.dataset):
            settings = lesson.settings(point, len(work.sizes), options)
            learnt = Learning(model, dataset, settings, point.nodes, work, machine).run()
            yield curve_of(groups, learnt)
        elif point is points[0]:
            raise UserError(
                f"--data: {point.nodes} nodes, the first that are compared with, have "
                f"{point.samples:g} samples each, and the files {len(dataset.dataset):,}; choose "
                "--nodes and --batch-size so that nodes have whole ones, and an epoch has a batch"
            )
        else:
            yield None


@dataclass(frozen=True)
class Reached:
    """When the points of a study were at a target.

    Parameters
    ----------
    target : float
        A smoothed training loss.
    seconds : list of float or None
        ``NEVER``, or None where nothing was learnt.
    """

    target: float
    seconds: list[float | None]

    @classmethod
    def of(cls, curves: Sequence[Curve | None], target: float | None) -> Reached:
        """Look at curves; the target is the largest loss at an end, unless one is given."""
        if target is None:
            ends = [final_loss(curve) for curve in curves if curve is not None]
            target = max((end for end in ends if end < NEVER), default=0.0)
        return cls(
            target, [None if curve is None else seconds_to(target, curve) for curve in curves]
        )

    def speedup(self, number: int) -> float | None:
        """Over the first point; 0 for one that was never there, None if the first was not."""
        first, own = self.seconds[0], self.seconds[number]
        return None if own is None or first is None or first == NEVER else first / own

    def to_json(self, number: int) -> dict[str, float | None]:
        """Of a point, as plain values."""
        seconds = self.seconds[number]
        return {
            "target": self.target,
            "seconds_to_target": None if seconds == NEVER else seconds,
            "learning_speedup": self.speedup(number),
        }
