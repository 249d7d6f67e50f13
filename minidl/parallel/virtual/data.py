"""The contents of messages, and of buffers that are in flight."""

from __future__ import annotations

import numpy as np

from .cluster import VirtualError

HEAD = 64  # bytes of a ghost message that arrive: counts and versions


class Data:
    """A copy of a buffer's contents, or of their beginning if they are ghosts."""

    def __init__(self, buffer: np.ndarray, ghost: bool) -> None:
        if not isinstance(buffer, np.ndarray):
            raise TypeError(f"expected a NumPy array as buffer, got {type(buffer).__name__}")
        self.dtype, self.size = buffer.dtype, buffer.nbytes
        self.contents: np.ndarray | None = None
        if ghost and not buffer.flags.c_contiguous:
            return
        if not buffer.flags.c_contiguous:
            raise VirtualError("a buffer is not contiguous")
        flat = buffer.reshape(-1)
        self.contents = (flat[: HEAD // buffer.itemsize] if ghost else flat).copy()

    def put_into(self, buffer: np.ndarray) -> None:
        """Write the contents at the buffer's beginning."""
        if self.contents is not None and buffer.flags.c_contiguous:
            buffer.reshape(-1)[: len(self.contents)] = self.contents

    def same_as(self, buffer: np.ndarray) -> bool:
        """Whether the buffer still has these contents."""
        if self.contents is None or not buffer.flags.c_contiguous:
            return True
        return buffer.reshape(-1)[: len(self.contents)].tobytes() == self.contents.tobytes()


def spoil(buffer: np.ndarray) -> None:
    """Fill a buffer with garbage: NaN, or -1."""
    if buffer.flags.c_contiguous:
        buffer.reshape(-1).view(np.uint8)[...] = 0xFF
