"""Pooling: one number for each window of a channel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layer import Announce, Layer, Require, Shape, pair
from .windows import Strip, Windows, blocks
from .workspace import workspace

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
        self.start(x.shape, training)
        y = self._buffer("y", self._winner.shape, x.dtype)
        for images, rows in self._strips(padded, y.shape):
            self._choose(padded[images], rows, y[images, rows], self._winner[images, rows])
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Give each dy to the pixel that won its window; the others get nothing."""
        shape = self._recall()
        dx = self._start_dx(shape, dy.dtype)
        for images, rows in self._strips(dx, dy.shape):
            self._give(dy[images, rows], self._winner[images, rows], dx[images], rows)
        return self.windows.unpad(dx)

    @property
    def local(self) -> bool:
        """Whether windows neither overlap nor are padded, as ``Strips`` needs them."""
        return self.windows.stride == self.windows.kernel and self.windows.padding == (0, 0)

    @property
    def down(self) -> int:
        """Input rows of an output row."""
        return self.windows.stride[0]

    def start(self, shape: Shape, training: bool) -> None:
        """Get ready for the strips of an input of this shape."""
        self._training = training
        number = np.min_scalar_type(np.prod(self.windows.kernel) - 1)
        self._winner = self._buffer("winner", (shape[0], *self.output_shape(shape[1:])), number)
        self._saved = shape if training else None

    def forward_strip(self, x: np.ndarray, strip: Strip) -> np.ndarray:
        """Compute the output of a strip, in the workspace."""
        won = self._winner[strip.images, strip.narrowed(self.down).rows]
        y = workspace.take("pooled", won.shape, x.dtype)
        self._choose(x, slice(0, won.shape[1]), y, won)
        return y

    def backward_strip(self, dy: np.ndarray, strip: Strip) -> np.ndarray:
        """Compute dx of a strip, in the workspace."""
        assert self._saved is not None
        _, _, W, C = self._saved
        won = self._winner[strip.images, strip.narrowed(self.down).rows]
        dx = workspace.take("dx", (strip.size, strip.height, W, C), dy.dtype)
        if not self._tiles(dx.shape):
            dx[...] = 0
        self._give(dy, won, dx, slice(0, won.shape[1]))
        return dx

    def _choose(self, x: np.ndarray, rows: slice, best: np.ndarray, won: np.ndarray) -> None:
        """Write for the windows in ``rows`` the largest number, and its place in the window."""
        for place, offset in enumerate(self.windows.offsets()):
            seen = self.windows.take(x, offset, rows, best.shape[2])
            if place == 0:
                best[...] = seen
                won[...] = 0
                continue
            if self._training:
                # Later places have larger numbers: the last one to be strictly greater won.
                np.maximum(won, (seen > best) * won.dtype.type(place), out=won)
            np.maximum(best, seen, out=best)

    def _give(self, dy: np.ndarray, won: np.ndarray, dx: np.ndarray, rows: slice) -> None:
        """Write, or add where windows overlap, dy to the winners of the windows in ``rows``."""
        for place, offset in enumerate(self.windows.offsets()):
            pixels = self.windows.take(dx, offset, rows, dy.shape[2])
            if self.local:
                np.multiply(dy, won == place, out=pixels)
            else:
                pixels += dy * (won == place)


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
