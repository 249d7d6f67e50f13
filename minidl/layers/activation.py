"""Activations: one function, applied to every number by itself. Any shape in, the same out."""

from __future__ import annotations

import numpy as np

from .layer import Announce, Layer, Require, Shape
from .windows import Strip
from .workspace import workspace


class ReLU(Layer):
    """Positive numbers pass, others become zero. At exactly zero the derivative is taken as zero.

    Parameters
    ----------
    inplace : bool
        Write over the input, and in ``backward`` over ``dy``: saves two arrays of the activation's
        size. Only where nobody else reads them, as between two layers of a ``Sequential``.
    """

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = max(x, 0)."""
        y = x if self.inplace else self._buffer("y", x.shape, x.dtype)
        np.maximum(x, 0, out=y)
        self._saved = y if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Compute dx = dy where y > 0, else 0. The output knows where; the input is not kept."""
        y = self._recall()
        dx = dy if self.inplace else self._buffer("dx", dy.shape, dy.dtype)
        return np.multiply(dy, y > 0, out=dx)

    local, down = True, 1

    def start(self, shape: Shape, training: bool) -> None:
        """Get ready for the strips of an input of this shape."""
        self._positive = self._buffer("positive", shape, np.bool_) if training else None

    def forward_strip(self, x: np.ndarray, strip: Strip) -> np.ndarray:
        """Write over a strip; keep which of its numbers were positive."""
        if self._positive is not None:
            np.greater(x, 0, out=self._positive[strip.images, strip.rows])
        return np.maximum(x, 0, out=x)

    def backward_strip(self, dy: np.ndarray, strip: Strip) -> np.ndarray:
        """Compute dx of a strip, in the workspace."""
        assert self._positive is not None
        dx = workspace.take("activation", dy.shape, dy.dtype)
        return np.multiply(dy, self._positive[strip.images, strip.rows], out=dx)


class LeakyReLU(Layer):
    """Positive numbers pass, others are scaled down by ``slope``, between 0 and 1.

    Source: A. Maas, A. Hannun and A. Ng, Rectifier Nonlinearities Improve Neural Network Acoustic
    Models (2013), equation 2.
    """

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        if not 0 <= slope < 1:
            raise ValueError(f"the slope of a leaky ReLU lies between 0 and 1, got {slope}")
        self.slope = slope

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = max(x, slope x)."""
        y = self._buffer("y", x.shape, x.dtype)
        np.multiply(x, x.dtype.type(self.slope), out=y)
        np.maximum(x, y, out=y)
        self._saved = y if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Compute dx = dy where y > 0, else slope dy."""
        positive = self._recall() > 0
        dx = self._buffer("dx", dy.shape, dy.dtype)
        np.multiply(positive, dy.dtype.type(1 - self.slope), out=dx)
        dx += dy.dtype.type(self.slope)
        dx *= dy
        return dx


class Sigmoid(Layer):
    """Squash every number into (0, 1)."""

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = 1 / (1 + exp(-x)), as (1 + tanh(x/2)) / 2, which cannot overflow."""
        y = self._buffer("y", x.shape, x.dtype)
        np.tanh(x / 2, out=y)
        y += 1
        y /= 2
        self._saved = y if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Compute dx = dy y (1 - y)."""
        y = self._recall()
        return dy * y * (1 - y)


class Tanh(Layer):
    """Squash every number into (-1, 1)."""

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = tanh(x)."""
        y = np.tanh(x, out=self._buffer("y", x.shape, x.dtype))
        self._saved = y if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Compute dx = dy (1 - y^2)."""
        y = self._recall()
        return dy * (1 - y * y)
