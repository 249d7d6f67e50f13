"""Pooling: one number for each window of a channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layer import Announce, Layer, Require, Shape, pair
from .windows import Windows, blocks

BLOCK_BYTES = 256 * 1024  # of input that is worked on at a time, to stay in the cache


class _Pool2d(Layer):
    """The geometry of both kinds of pooling. Shapes: (N, H, W, C) -> (N, H', W', C)."""

    def __init__(
        self,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.windows = Windows(
            pair(kernel), pair(kernel if stride is None else stride), pair(padding)
        )
        half = (self.windows.kernel[0] // 2, self.windows.kernel[1] // 2)
        if self.windows.padding[0] > half[0] or self.windows.padding[1] > half[1]:
            raise ValueError(
                f"padding {self.windows.padding} is more than half of the kernel "
                f"{self.windows.kernel}: a window could lie outside of the image"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) -> (H', W', C)."""
        return (*self.windows.count(*shape[:2]), shape[2])

    def _pad(self, x: np.ndarray, value: float) -> np.ndarray:
        if self.windows.padding == (0, 0):
            return x
        padded = self._buffer("padded", self.windows.padded_shape(x.shape), x.dtype)
        return self.windows.pad(x, padded, value)

    def _start_dx(self, shape: Shape, dtype: np.typing.DTypeLike) -> np.ndarray:
        """Memory for the padded input's gradient, zero where windows will add to it."""
        dx = self._buffer("dx", self.windows.padded_shape(shape), dtype)
        if not self._tiles(shape):
            dx[...] = 0
        return dx

    def _tiles(self, shape: Shape) -> bool:
        """Whether every pixel lies in exactly one window, so that nothing has to be summed."""
        (KH, KW), padding = self.windows.kernel, self.windows.padding
        fits = shape[1] % KH == 0 and shape[2] % KW == 0
        return self.windows.stride == (KH, KW) and padding == (0, 0) and fits

    def _strips(self, padded: np.ndarray, shape: Shape) -> Iterator[tuple[slice, slice]]:
        """Cut an output of ``shape`` into blocks whose input fits into the cache."""
        row_bytes = self.windows.stride[0] * padded[:1, 0].nbytes
        yield from blocks(shape[0], shape[1], row_bytes, BLOCK_BYTES)


class MaxPool2d(_Pool2d):
    """The largest number of each window. Of equal ones the first, row by row, counts.

    Parameters
    ----------
    kernel, stride, padding : int or (int, int)
        The stride is the kernel's size unless given. Padding never wins.
    """

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = max over a, b of x[i*s+a, j*s+b], and remember which (a, b) won."""
        padded = self._pad(x, -np.inf)
        y = self._buffer("y", (len(x), *self.output_shape(x.shape[1:])), x.dtype)
        number = np.min_scalar_type(np.prod(self.windows.kernel) - 1)
        winner = self._buffer("winner", y.shape, number)
        for images, rows in self._strips(padded, y.shape):
            best, won = y[images, rows], winner[images, rows]
            won[...] = 0
            for place, offset in enumerate(self.windows.offsets()):
                seen = self.windows.take(padded[images], offset, rows, y.shape[2])
                if place == 0:
                    best[...] = seen
                    continue
                if training:
                    # Later places have larger numbers: the last one to be strictly greater won.
                    np.maximum(won, (seen > best) * number.type(place), out=won)
                np.maximum(best, seen, out=best)
        self._saved = (x.shape, winner) if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Give each dy to the pixel that won its window; the others get nothing."""
        shape, winner = self._recall()
        dx = self._start_dx(shape, dy.dtype)
        tiles = self._tiles(shape)
        for images, rows in self._strips(dx, dy.shape):
            for place, offset in enumerate(self.windows.offsets()):
                pixels = self.windows.take(dx[images], offset, rows, dy.shape[2])
                won = winner[images, rows] == place
                if tiles:
                    np.multiply(dy[images, rows], won, out=pixels)
                else:
                    pixels += dy[images, rows] * won
        return self.windows.unpad(dx)


class AvgPool2d(_Pool2d):
    """The mean of each window, padding counted as zeros.

    Parameters
    ----------
    kernel, stride, padding : int or (int, int)
        The stride is the kernel's size unless given.
    """

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = mean over a, b of x[i*s+a, j*s+b]."""
        padded = self._pad(x, 0)
        y = self._buffer("y", (len(x), *self.output_shape(x.shape[1:])), x.dtype)
        y[...] = 0
        for images, rows in self._strips(padded, y.shape):
            for offset in self.windows.offsets():
                y[images, rows] += self.windows.take(padded[images], offset, rows, y.shape[2])
        y /= np.prod(self.windows.kernel)
        self._saved = x.shape if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Give each pixel of a window an equal share of its dy."""
        dx = self._buffer("dx", self.windows.padded_shape(self._recall()), dy.dtype)
        dx[...] = 0
        share = dy / dy.dtype.type(np.prod(self.windows.kernel))
        for images, rows in self._strips(dx, dy.shape):
            for offset in self.windows.offsets():
                pixels = self.windows.take(dx[images], offset, rows, dy.shape[2])
                pixels += share[images, rows]
        return self.windows.unpad(dx)


class GlobalAvgPool2d(Layer):
    """The mean of each channel over the whole image, whatever its size.

    Shapes: (N, H, W, C) -> (N, C).
    """

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = mean over i, j of x[i, j]."""
        self._saved = x.shape if training else None
        return x.mean(axis=(1, 2))

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Give every pixel an equal share of its channel's dy."""
        N, H, W, C = self._recall()
        dx = self._buffer("dx", (N, H, W, C), dy.dtype)
        dx[...] = (dy / (H * W))[:, np.newaxis, np.newaxis]
        return dx

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) -> (C,)."""
        return shape[2:]
