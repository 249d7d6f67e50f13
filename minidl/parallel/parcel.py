"""What travels between a worker and a server: a layer's vector and the version it belongs to."""

from __future__ import annotations

import numpy as np


class Parcel:
    """A version and a vector in one message, so that neither comes without the other.

    Parameters
    ----------
    like : np.ndarray, shape (size,)
        Gives the vector's size and dtype.

    Attributes
    ----------
    message : np.ndarray of uint8
        All of it, to be sent or received into.
    values : np.ndarray, shape (size,)
        A view of the vector in it.
    """

    def __init__(self, like: np.ndarray) -> None:
        self.message = np.zeros_like(like, np.uint8, shape=8 + like.nbytes)
        self.values = self.message[8:].view(like.dtype)

    @property
    def version(self) -> int:
        """How many updates had been made: to what was sent, or to what a gradient is of."""
        return int(self.message[:8].view(np.int64)[0])

    @version.setter
    def version(self, version: int) -> None:
        self.message[:8].view(np.int64)[0] = version
