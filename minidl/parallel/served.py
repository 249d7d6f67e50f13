"""A layer as its parameter server holds it: when a gradient is applied, and how.

This is the one place of the rules that asynchrony knows. A gradient was computed on some version
of the layer, the number of updates it had then; the updates that others made since are its
*staleness*. Servers know no iterations and never wait for a layer of another server, so that the
layers of one forward pass may have different versions, each counted by itself.

No messages are sent here: ``async_ps.py`` and ``hybrid.py`` do that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from minidl.optim import Optimizer

UPDATE = np.dtype(
    [
        ("layer", "i2"),
        ("group", "i4"),  # whose gradient it was
        ("read", "i4"),  # the version that it was computed on
        ("made", "i4"),  # the version that it made; staleness = made - 1 - read
    ]
)


class ServedLayer:
    """Parameters of one layer, their optimiser, and which version each group computes on.

    Parameters
    ----------
    number : int
        The layer's place in forward order.
    optimizer : Optimizer
        Bound to the layer's parameters. Its updates, and so its learning-rate schedule, count
        those of all groups.
    groups : iterable of int
        All start from version 0.
    staleness_bound : int or None
        No update is staler: the gradients of groups that ran ahead are held back until those
        computed on too old a version have been applied. At least the number of groups - 1, since
        the gradients that all groups compute on version 0 are applied one after the other.
        Nobody waits in a circle then: whoever is waited for sent its last gradients before the
        one who waits did. Compare Q. Ho et al., More Effective Distributed ML via a Stale
        Synchronous Parallel Parameter Server (NIPS 2013), whose bound is on iterations.
    scale_by_staleness : bool
        Multiply the learning rate of an update by 1 / (1 + staleness). Source: J. Jiang et al.,
        Heterogeneity-aware Distributed Parameter Servers (SIGMOD 2017), DynSGD.
    """

    def __init__(
        self,
        number: int,
        optimizer: Optimizer,
        groups: Iterable[int],
        staleness_bound: int | None = None,
        scale_by_staleness: bool = False,
    ) -> None:
        self.number, self.optimizer = number, optimizer
        self.version = 0
        self.reading = dict.fromkeys(groups, 0)  # the version that each group has
        self.held: dict[int, np.ndarray] = {}  # arrived, not applied yet; in order of arrival
        self.staleness_bound, self.scale_by_staleness = staleness_bound, scale_by_staleness
        self.updates: list[tuple[int, int, int, int]] = []  # UPDATE

    def receive(self, group: int, version: int, gradient: np.ndarray) -> Iterator[int]:
        """Take a gradient, and yield each group whose gradient has been applied right then.

        Parameters
        ----------
        gradient : np.ndarray, shape (size,)
            May be used until ``group`` is yielded.
        """
        if version != self.reading[group]:
            raise RuntimeError(
                f"layer {self.number}: group {group} computed on version {version}, "
                f"but was last sent version {self.reading[group]}"
            )
        self.held[group] = gradient
        yield from self._apply_held()

    def leave(self, group: int) -> Iterator[int]:
        """Expect nothing more of a group, and yield those whose held gradients were applied."""
        del self.reading[group]
        yield from self._apply_held()

    def _apply_held(self) -> Iterator[int]:
        while (group := next(filter(self._may_be_applied, self.held), None)) is not None:
            read = self.reading[group]
            staleness = self.version - read
            scale = 1 / (1 + staleness) if self.scale_by_staleness else 1.0
            self.optimizer.step(self.held.pop(group), scale)
            self.version += 1
            self.updates.append((self.number, group, read, self.version))
            self.reading[group] = self.version
            yield group

    def _may_be_applied(self, group: int) -> bool:
        if self.staleness_bound is None:
            return True
        others = (version for other, version in self.reading.items() if other != group)
        return all(self.version + 1 - version <= self.staleness_bound for version in others)
