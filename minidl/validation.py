"""Figures of a network on data that it does not learn from, by many ranks together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from .data import Batches, prepared
from .layers import Layer
from .model import Model
from .stopwatch import Stopwatch


class Validation:
    """A data set, of which every rank takes its share.

    Parameters
    ----------
    model : Model
    paths : sequence of Path
    batch_size : int
        Of each rank.
    ranks : int
        At most so many take part.

    Raises
    ------
    UserError
        If the data cannot be used, or there are fewer samples than ranks.
    """

    def __init__(self, model: Model, paths: Sequence[Path], batch_size: int, ranks: int) -> None:
        self.model, self.batch_size = model, batch_size
        self.dataset = model.open(paths)
        model.shape(self.dataset)
        Batches(len(self.dataset), batch_size, 0, ranks, None)

    def figures(
        self,
        comm: MPI.Intracomm,
        network: Layer,
        read: Callable[[Generator[Any, None, None]], Iterator[Any]],
        stopwatch: Stopwatch,
    ) -> dict[str, float]:
        """Mean loss, its terms, and metrics; the same on all ranks of ``comm``, which all call.

        ``read`` yields the batches, ahead of time or not.
        """
        batches = Batches(len(self.dataset), self.batch_size, comm.rank, comm.size, None)
        items = prepared(self.dataset, batches, self.model.prepare, 0, batches.per_epoch)
        totals: dict[str, float] = {"samples": 0.0, "loss": 0.0}
        for x, target in read(items):
            with stopwatch("validate"):
                figures = self.model.figures(network.forward(x, training=False), target)
            totals["samples"] += len(x)
            for name, value in figures.items():
                totals[name] = totals.get(name, 0.0) + value * len(x)
        sums = np.array(list(totals.values()))
        comm.Allreduce(MPI.IN_PLACE, sums)
        return dict(zip(list(totals)[1:], (sums[1:] / sums[0]).tolist(), strict=True))
