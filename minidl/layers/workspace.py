"""Memory for what is forgotten within a moment: columns, patches, transforms.

All layers of a rank share it, since they take turns; every thread has its own. It grows with the
first batch and is used again ever after: fresh memory costs a page fault every 4 KiB, which can
take longer than the arithmetic.
"""

from __future__ import annotations

import threading
from math import prod

import numpy as np


class Workspace(threading.local):
    """Arrays by name. What lies in one is lost when it is taken under the same name again."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
        """Return uninitialised memory of this shape."""
        size = prod(shape) * np.dtype(dtype).itemsize
        memory = self._arrays.get(name)
        if memory is None or memory.size < size:
            memory = self._arrays[name] = np.empty(size, np.uint8)
        return memory[:size].view(dtype).reshape(shape)


workspace = Workspace()
