"""The contents of messages, and of buffers that are in flight."""

from __future__ import annotations

import numpy as np

from .cluster import VirtualError
from .ghost import Ghost

Buffer = np.ndarray | Ghost


class Data:
    """A copy of a buffer's contents; of a ghost, only what it weighs."""

    def __init__(self, buffer: Buffer) -> None:
        self.dtype, self.size = buffer.dtype, buffer.nbytes
        self.contents: np.ndarray | None = None
        if isinstance(buffer, np.ndarray):
            self.contents = flat(buffer).copy()

    def put_into(self, buffer: Buffer) -> None:
        """Write the contents at the buffer's beginning."""
        if self.contents is not None and isinstance(buffer, np.ndarray):
            flat(buffer)[: len(self.contents)] = self.contents

    def same_as(self, buffer: Buffer) -> bool:
        """Whether the buffer still has these contents."""
        if self.contents is None or not isinstance(buffer, np.ndarray):
            return True
        return np.array_equal(flat(buffer).view(np.uint8), self.contents.view(np.uint8))


def flat(array: np.ndarray) -> np.ndarray:
    """View all of an array as a vector."""
    if not array.flags.c_contiguous:
        raise VirtualError("a buffer is not contiguous")
    return array.reshape(-1)


def spoil(buffer: Buffer) -> None:
    """Fill a buffer with garbage: NaN, or -1."""
    if isinstance(buffer, np.ndarray):
        flat(buffer).view(np.uint8)[...] = 0xFF
