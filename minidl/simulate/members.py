"""The samples of a group's members, for the one of them that computes for all."""

from __future__ import annotations

import numpy as np

from ..data import Batches, Dataset, Samples


class InMemory:
    """A data set whose samples stay in memory once they were read, as every epoch wants them.

    Parameters
    ----------
    dataset : Dataset
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.read_before = np.zeros(len(dataset), bool)
        self.fields: Samples = {}

    def read(self, indices: np.ndarray) -> Samples:
        """Read samples, as ``Dataset.read`` does."""
        new = np.unique(indices[~self.read_before[indices]])
        if len(new):
            for name, values in self.dataset.read(new).items():
                if name not in self.fields:
                    shape = (len(self.read_before), *values.shape[1:])
                    self.fields[name] = np.empty(shape, values.dtype)
                self.fields[name][new] = values
            self.read_before[new] = True
        return {name: values[indices] for name, values in self.fields.items()}


class GroupBatches:
    """What the members of a group have of each batch, all together: see ``Batches``.

    Parameters
    ----------
    samples, batch_size, size, seed
        As of the members' own ``Batches``.
    members : range
        Their ranks.
    """

    def __init__(self, samples: int, batch_size: int, members: range, size: int, seed: int) -> None:
        self.members, self.one = members, Batches(samples, batch_size, members[0], size, seed)
        self.whole = Batches(samples, batch_size * size, 0, 1, seed)
        self.per_epoch = self.whole.per_epoch

    def count(self, iteration: int) -> int:
        """How many samples that is in a batch."""
        return self.one.count(iteration, self.members)

    def __getitem__(self, iteration: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Indices of the samples, and chances."""
        first = self.one.count(iteration, range(self.members.start))
        mine = slice(first, first + self.count(iteration))
        indices, chances = self.whole[iteration]
        return indices[mine], None if chances is None else chances[mine]
