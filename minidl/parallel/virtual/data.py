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
            if not buffer.flags.c_contiguous:
                raise VirtualError("a buffer is not contiguous")
            self.contents = buffer.reshape(-1).copy()

    def put_into(self, buffer: Buffer) -> None:
        """Write the contents at the buffer's beginning."""
        if self.contents is not None and isinstance(buffer, np.ndarray):
            buffer.reshape(-1)[: len(self.contents)] = self.contents

    def same_as(self, buffer: Buffer) -> bool:
        """Whether the buffer still has these contents."""
        if self.contents is None or not isinstance(buffer, np.ndarray):
            return True
        return np.array_equal(buffer.reshape(-1).view(np.uint8), self.contents.view(np.uint8))


def spoil(buffer: Buffer) -> None:
    """Fill a buffer with garbage: NaN, or -1."""
    if isinstance(buffer, np.ndarray):
        buffer.reshape(-1).view(np.uint8)[...] = 0xFF
