"""The contents of messages, and of buffers that are in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from .ghost import Ghost, GhostParcel
from .rank import VirtualError

if TYPE_CHECKING:
    from .requests import Send

Buffer = np.ndarray | Ghost


class Data:
    """A copy of a buffer's contents; of a ghost, only what it weighs."""

    def __init__(self, buffer: Buffer) -> None:
        self.dtype, self.size = buffer.dtype, buffer.nbytes
        there = contents(buffer)
        self.contents = None if there is None else there.copy()

    def put_into(self, buffer: Buffer) -> None:
        """Write the contents at the buffer's beginning."""
        there = None if self.contents is None else contents(buffer)
        if there is not None and self.contents is not None:
            there[: len(self.contents)] = self.contents

    def same_as(self, buffer: Buffer) -> bool:
        """Whether the buffer still has these contents."""
        there = None if self.contents is None else contents(buffer)
        if self.contents is None or there is None:
            return True
        return np.array_equal(there.view(np.uint8), self.contents.view(np.uint8))


@dataclass
class Message:
    """What travels."""

    source: int
    tag: int
    data: Data
    arrival: float
    place: str
    send: Send

    @property
    def size(self) -> int:
        """Bytes."""
        return self.data.size

    def tell(self, status: MPI.Status) -> None:
        """Say from whom it is, with which tag, and how much."""
        status.Set_source(self.source)
        status.Set_tag(self.tag)
        status.Set_elements(MPI.BYTE, self.size)


def data_of(buffer: Buffer) -> Data:
    """Copy a buffer's contents; a ghost, which has none and never changes, keeps what it weighs."""
    if isinstance(buffer, np.ndarray) or isinstance(buffer, GhostParcel):  # noqa: SIM101
        return Data(buffer)
    if buffer.data is None:
        buffer.data = Data(buffer)
    return buffer.data


def contents(buffer: Buffer) -> np.ndarray | None:
    """View what of a buffer is not a ghost as a vector."""
    if isinstance(buffer, np.ndarray):
        return flat(buffer)
    return buffer.version if isinstance(buffer, GhostParcel) else None


def flat(array: np.ndarray) -> np.ndarray:
    """View all of an array as a vector."""
    if not array.flags.c_contiguous:
        raise VirtualError("a buffer is not contiguous")
    return array.reshape(-1)


def spoil(buffer: Buffer) -> None:
    """Fill a buffer with garbage: NaN, or -1."""
    there = contents(buffer)
    if there is not None:
        there.view(np.uint8)[...] = 0xFF
