"""Two-dimensional transposed convolution: small images become large ones."""

from __future__ import annotations

from math import prod

import numpy as np

from .algorithms import AlgorithmName, made_ready, named
from .convolution import Convolution
from .initialize import he_normal
from .layer import Announce, Layer, Require, Shape, pair
from .windows import Strip, Windows


class ConvTranspose2d(Layer):
    """Do forward what a convolution does backward: every pixel writes a patch; patches add up.

    There is a convolution that takes images of the output's shape to the input's. Its dx is this
    layer's output, its y this layer's dx, and the gradient of the weights is the same.

    Shapes: (N, H, W, C) -> (N, H', W', K), with
    H' = (H - 1) stride - 2 padding + kernel + output_padding. ``weight`` is that convolution's,
    (KH, KW, K, C). Weights start as He et al. propose, biases at zero.

    Parameters
    ----------
    channels, filters : int
        C and K.
    kernel, stride, padding : int or (int, int)
        One number, or height and width.
    output_padding : int or (int, int)
        Rows and columns more at the lower and right edge, fewer than the stride: a convolution
        takes images of several sizes to the same size, and this says which of them is meant.
    generator, algorithm, dtype
        See ``Conv2d``.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        generator: np.random.Generator,
        algorithm: AlgorithmName = "auto",
        dtype: np.typing.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        KH, KW = pair(kernel)
        self.windows = Windows((KH, KW), pair(stride), pair(padding))
        self.algorithm, self.more = algorithm, pair(output_padding)
        if algorithm != "auto":
            named(algorithm, self.windows)  # refuses what cannot be
        if not all(0 <= more < s for more, s in zip(self.more, self.windows.stride, strict=True)):
            raise ValueError(
                f"output_padding {self.more} has to be less than the stride {self.windows.stride}"
            )
        self._learn(dtype, weight=(KH, KW, filters, channels), bias=(filters,))
        self.weight, self.bias = self.views(self.parameters).values()
        self.dweight, self.dbias = self.views(self.gradient).values()
        # Of the KH x KW places of a patch, one in stride^2 reaches a pixel of the output.
        he_normal(self.weight, KH * KW * channels / prod(self.windows.stride), generator)

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y[n, i*s+a, j*s+b, k] = bias[k] + sum of x[n,i,j,c] weight[a,b,k,c]."""
        self._expect_images(x, self.weight.shape[3], self.weight.dtype)
        if require:
            require(self)
        earlier = getattr(self, "convolution", None)
        self.convolution: Convolution = made_ready(
            self.algorithm, self.windows, self.weight, x.shape, earlier
        )
        convolution = self.convolution
        convolution.start_input_gradient()
        y = self._buffer("y", (len(x), *self.output_shape(x.shape[1:])), x.dtype)
        y[...] = self.bias

        def add(strip: Strip) -> None:
            products = convolution.collect_back(x[strip.images, strip.rows], strip)
            convolution.add_input_gradient(products, strip, y)

        convolution.each_strip(add)
        self._saved = x if training else None
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Convolve dy to dx; the weights' gradient is the convolution's, with x for its dy."""
        x, convolution = self._recall(), self.convolution
        dx = self._buffer("dx", x.shape, x.dtype)
        convolution.start(self.weight)
        convolution.start_weight_gradient()

        def back(strip: Strip) -> None:
            spread = convolution.spread(dy, strip)
            dx[strip.images, strip.rows] = convolution.collect(spread, strip)
            products = convolution.collect_back(x[strip.images, strip.rows], strip)
            convolution.add_weight_gradient(spread, products, strip)

        convolution.each_strip(back)
        np.sum(dy, axis=(0, 1, 2), out=self.dbias)
        convolution.end_back(self.dweight)
        if announce:
            announce(self)
        return dx

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) -> (H', W', K)."""
        self._expect_shape(shape, "H", "W", self.weight.shape[3])
        sizes = zip(
            shape,
            self.windows.kernel,
            self.windows.stride,
            self.windows.padding,
            self.more,
            strict=False,
        )
        height, width = ((n - 1) * s - 2 * p + k + more for n, k, s, p, more in sizes)
        if min(height, width) < 1:
            raise ValueError(f"nothing is left of an image of {shape[0]} x {shape[1]}")
        return height, width, len(self.bias)

    def flops(self, shape: Shape) -> int:
        """Two a multiply-add, and each input pixel writes one patch a filter."""
        return 2 * shape[0] * shape[1] * self.weight.size
