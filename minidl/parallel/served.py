"""A layer as its parameter server holds it: when a gradient is applied, and how.

This is the one place of the rules that asynchrony knows. A gradient was computed on some version
of the layer, the number of updates it had then; the updates that others made since are its
*staleness*. Servers know no iterations and never wait for a layer of another server, so that the
layers of one forward pass may have different versions, each counted by itself.

No messages are sent here: ``server.py`` does that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from minidl.optim import Optimizer
from minidl.parallel.parcel import Parcel

UPDATE = np.dtype(
    [
        ("layer", "i2"),
        ("group", "i4"),  # whose gradient it was
        ("read", "i4"),  # the version that it was computed on
        ("made", "i4"),  # the version that it made; staleness = made - 1 - read
    ]
)
PACKED = struct.Struct("=hiii")  # an UPDATE


class Updates:
    """Rows of ``UPDATE`` in order: 14 bytes each, as a long run makes many of them."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // PACKED.size

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """The rows as tuples (layer, group, read, made)."""
        return PACKED.iter_unpack(bytes(self._packed))

    def append(self, layer: int, group: int, read: int, made: int) -> None:
        """Add a row."""
        self._packed += PACKED.pack(layer, group, read, made)

    def array(self) -> np.ndarray:
        """All rows, of dtype ``UPDATE``."""
        return np.frombuffer(bytes(self._packed), UPDATE)

    def replace(self, rows: np.ndarray) -> None:
        """Have these rows, of dtype ``UPDATE``, and no others."""
        self._packed = bytearray(rows.tobytes())


class ServedLayer:
    """Parameters of one layer, their optimiser, and which version each group computes on.

    Parameters
    ----------
    number : int
        The layer's place in forward order.
    optimizer : Optimizer
        Bound to the layer's parameters. Its updates, and so its learning-rate schedule, count
        those of all groups.
    groups : int
        All start from version 0.
    staleness_bound : int or None
        No update is staler: the gradients of groups that ran ahead are held back until those
        computed on too old a version have been applied. At least groups - 1, since the gradients
        that all groups compute on version 0 are applied one after the other. Nobody waits in a
        circle then: whoever is waited for sent its last gradients before the one who waits did.
        Compare Q. Ho et al., More Effective Distributed ML via a Stale Synchronous Parallel
        Parameter Server (NIPS 2013), whose bound is on iterations.
    scale_by_staleness : bool
        Multiply the learning rate of an update by 1 / (1 + staleness). Source: J. Jiang et al.,
        Heterogeneity-aware Distributed Parameter Servers (SIGMOD 2017), DynSGD.

    Attributes
    ----------
    parcels : list of Parcel
        One a group: its gradient comes in it, and its answer leaves in it.
    updates : Updates
        All that were made.
    """

    def __init__(
        self,
        number: int,
        optimizer: Optimizer,
        groups: int,
        staleness_bound: int | None = None,
        scale_by_staleness: bool = False,
    ) -> None:
        self.number, self.optimizer = number, optimizer
        self.staleness_bound, self.scale_by_staleness = staleness_bound, scale_by_staleness
        self.version = 0
        self.parcels = [Parcel(optimizer.parameters) for _ in range(groups)]
        self.reading = dict.fromkeys(range(groups), 0)  # the version that each group has
        self.held: list[int] = []  # groups whose gradients are not applied yet, first come first
        self.updates = Updates()

    def receive(self, group: int) -> list[int]:
        """Take the gradient in the group's parcel, and apply what may be applied.

        Returns the groups whose parcels now hold their answers, the parameters right after the
        update that their gradients made.
        """
        if self.parcels[group].version != self.reading[group]:
            raise RuntimeError(
                f"layer {self.number}: group {group} computed on version "
                f"{self.parcels[group].version}, but was last sent {self.reading[group]}"
            )
        self.held.append(group)
        return self._apply()

    def leave(self, group: int) -> list[int]:
        """Expect nothing more of a group, not even what is held. Returns what ``receive`` does."""
        del self.reading[group]
        self.held = [other for other in self.held if other != group]
        return self._apply()

    def meet(self) -> int:
        """Let all groups come back, each with the newest version; return that."""
        self.reading = dict.fromkeys(range(len(self.parcels)), self.version)
        return self.version

    def _apply(self) -> list[int]:
        answered = []
        while (group := next(filter(self._within_bound, self.held), None)) is not None:
            self.held.remove(group)
            parcel, staleness = self.parcels[group], self.version - self.reading[group]
            scale = 1 / (1 + staleness) if self.scale_by_staleness else 1.0
            self.optimizer.step(parcel.values, scale)
            self.version += 1
            self.updates.append(self.number, group, self.reading[group], self.version)
            self.reading[group] = parcel.version = self.version
            np.copyto(parcel.values, self.optimizer.parameters)
            answered.append(group)
        return answered

    def _within_bound(self, group: int) -> bool:
        """Whether all others can still be applied in time after this group's: oldest first."""
        bound = self.staleness_bound
        if bound is None:
            return True
        others = sorted(version for other, version in self.reading.items() if other != group)
        return all(self.version + 1 + n - read <= bound for n, read in enumerate(others))
