"""Two-dimensional convolution."""

from __future__ import annotations

import numpy as np

from .im2col import Im2col
from .initialize import he_normal
from .layer import Announce, Layer, Require, Shape, pair
from .windows import Windows


class Conv2d(Layer):
    """Slide K filters over an image (strictly a cross-correlation, as everywhere in the field).

    Shapes: (N, H, W, C) -> (N, H', W', K), with H' = (H + 2 padding - kernel) // stride + 1.
    Weights start as He et al. propose, biases at zero.

    Parameters
    ----------
    channels, filters : int
        C and K.
    kernel, stride, padding : int or (int, int)
        One number, or height and width.
    generator : np.random.Generator
        Draws the initial weights.
    input_gradient : bool
        Whether ``backward`` computes ``dx``. A network's first layer can do without: nobody
        uses the gradient of the data.
    dtype : dtype
        Of parameters and of all that goes in and out.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        generator: np.random.Generator,
        input_gradient: bool = True,
        dtype: np.typing.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        KH, KW = pair(kernel)
        self.windows = Windows((KH, KW), pair(stride), pair(padding))
        self.algorithm = Im2col(self.windows)
        self.input_gradient = input_gradient
        self._learn(dtype, weight=(KH, KW, channels, filters), bias=(filters,))
        self.weight, self.bias = self.views(self.parameters).values()
        self.dweight, self.dbias = self.views(self.gradient).values()
        he_normal(self.weight, KH * KW * channels, generator)

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y[n,i,j,k] = bias[k] + sum over a,b,c of x[n,i*s+a,j*s+b,c] weight[a,b,c,k]."""
        self._check(x)
        if require:
            require(self)
        padded = self._pad(x)
        y = self._buffer("y", (len(x), *self.output_shape(x.shape[1:])), x.dtype)
        self.algorithm.forward(padded, self.weight, self.bias, y)
        self._saved = padded if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray | None:
        """Send dy back: dbias = sum of dy, dweight = patches' dy, dx = dy weight' on the patches.

        The gradient is announced before ``dx`` is computed, so that its message travels
        meanwhile.
        """
        padded = self._recall()
        dy = np.ascontiguousarray(dy)
        np.sum(dy.reshape(-1, dy.shape[3]), axis=0, out=self.dbias)
        self.algorithm.backward_weight(padded, dy, self.dweight)
        if announce:
            announce(self)
        if not self.input_gradient:
            return None
        dx = self._buffer("dx", padded.shape, dy.dtype)
        self.algorithm.backward_input(dy, self.weight, dx)
        return self.windows.unpad(dx)

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) -> (H', W', K)."""
        return (*self.windows.count(*shape[:2]), len(self.bias))

    def flops(self, shape: Shape) -> int:
        """Two a multiply-add, and each output pixel sums over one patch a filter."""
        rows, columns, _ = self.output_shape(shape)
        return 2 * rows * columns * self.weight.size

    def _check(self, x: np.ndarray) -> None:
        channels = self.weight.shape[2]
        if x.ndim != 4 or x.shape[3] != channels or x.dtype != self.weight.dtype:
            raise ValueError(
                f"{self.name}: expected {self.weight.dtype} images of shape (N, H, W, {channels}),"
                f" got {x.dtype} of shape {x.shape}"
            )

    def _pad(self, x: np.ndarray) -> np.ndarray:
        if self.windows.padding == (0, 0):
            return np.ascontiguousarray(x)
        padded = self._buffer("padded", self.windows.padded_shape(x.shape), x.dtype)
        return self.windows.pad(x, padded, 0)
