"""What one iteration of a network asks of a machine: operations and bytes, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..model import Model, load, shape_for
from ..parallel.virtual import Machine
from ..summary import Row, build, summarize


class Work(NamedTuple):
    """A network's layers with parameters, in forward order; operations are those of one sample."""

    network: str
    names: list[str]
    sizes: list[int]  # parameters
    forward: list[int]
    backward: list[int]

    @classmethod
    def of(cls, network: str, summary: Iterable[Row]) -> Work:
        """Take from a network's summary what has parameters."""
        rows = [row for row in summary if row.parameters]
        return cls(
            network,
            [row.name for row in rows],
            [row.parameters for row in rows],
            [row.forward for row in rows],
            [row.training - row.forward for row in rows],
        )

    @property
    def operations(self) -> int:
        """Of one sample, in all."""
        return sum(self.forward) + sum(self.backward)

    @property
    def bytes(self) -> list[int]:
        """Of each layer's parameters, and of its gradient."""
        return [4 * size for size in self.sizes]

    def alone(self, machine: Machine, samples: float) -> float:
        """Seconds of one node's iteration where it makes the updates itself, and nobody jitters."""
        updates = sum(machine.update_time(size) for size in self.bytes)
        return machine.compute_time(self.operations, samples) + updates


def work_of(name: str, options: dict[str, Any] | None = None) -> Work:
    """Count what a model's network has to do, for images as it is meant for.

    Raises
    ------
    UserError
        If there is no such model or option.
    """
    model = Model(load(name), options or {})
    shape = shape_for(model, None, None)
    return Work.of(name, summarize(build(model, shape, None, np.float32), shape))
