"""Two-dimensional convolution."""

from __future__ import annotations

import numpy as np

from .algorithms import AlgorithmName, made_ready, named
from .convolution import Convolution
from .initialize import he_normal
from .layer import Announce, Layer, Require, Shape, pair
from .windows import Strip, Windows


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
    algorithm : str
        How it is computed: see ``algorithms.py``. The fastest for the shape, unless named.
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
        algorithm: AlgorithmName = "auto",
        input_gradient: bool = True,
        dtype: np.typing.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        KH, KW = pair(kernel)
        self.windows = Windows((KH, KW), pair(stride), pair(padding))
        self.algorithm, self.input_gradient = algorithm, input_gradient
        if algorithm != "auto":
            named(algorithm, self.windows)  # refuses what cannot be
        self._learn(dtype, weight=(KH, KW, channels, filters), bias=(filters,))
        self.weight, self.bias = self.views(self.parameters).values()
        self.dweight, self.dbias = self.views(self.gradient).values()
        he_normal(self.weight, KH * KW * channels, generator)

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y[n,i,j,k] = bias[k] + sum over a,b,c of x[n,i*s+a,j*s+b,c] weight[a,b,c,k]."""
        self.start(x, training, require)
        y = self._buffer("y", self.convolution.y_shape, x.dtype)
        self.convolution.each_strip(
            lambda strip: self.forward_strip(x, strip, y[strip.images, strip.rows])
        )
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray | None:
        """Send dy back: dbias = sum of dy, dweight = patches' dy, dx from dy weight'."""
        x, dx = self.start_back()
        self.convolution.each_strip(
            lambda strip: self.backward_strip(x, dy[strip.images, strip.rows], strip, dx)
        )
        self.end_back(announce)
        return dx

    def start(self, x: np.ndarray, training: bool, require: Require | None) -> None:
        """Get ready for the strips of a batch."""
        self._expect_images(x, self.weight.shape[2], self.weight.dtype)
        if require:
            require(self)
        y_shape = (len(x), *self.output_shape(x.shape[1:]))
        earlier = getattr(self, "convolution", None)
        self.convolution: Convolution = made_ready(
            self.algorithm, self.windows, self.weight, y_shape, earlier
        )
        self._saved = x if training else None

    def forward_strip(self, x: np.ndarray, strip: Strip, y: np.ndarray | None = None) -> np.ndarray:
        """Compute a strip of the output, into ``y`` or the workspace."""
        part = self.convolution.collect(self.convolution.spread(x, strip), strip)
        return np.add(part, self.bias, out=part if y is None else y)

    def start_back(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Get ready for the strips of dy; return x, and zeros that dx will be added to."""
        x = self._recall()
        self.convolution.start(self.weight)
        self.convolution.start_weight_gradient()
        self._dbias = np.zeros((self.convolution.lanes, len(self.bias)), x.dtype)
        if not self.input_gradient:
            return x, None
        self.convolution.start_input_gradient()
        dx = self._buffer("dx", x.shape, x.dtype)
        dx[...] = 0
        return x, dx

    def backward_strip(
        self, x: np.ndarray, dy: np.ndarray, strip: Strip, dx: np.ndarray | None
    ) -> None:
        """Add what a strip of dy contributes to the gradients."""
        convolution = self.convolution
        self._dbias[strip.lane] += dy.reshape(-1, dy.shape[3]).sum(axis=0)
        spread, dproducts = convolution.spread(x, strip), convolution.collect_back(dy, strip)
        convolution.add_weight_gradient(spread, dproducts, strip)
        if dx is not None:
            convolution.add_input_gradient(dproducts, strip, dx)

    def end_back(self, announce: Announce | None) -> None:
        """Complete the gradient; it is announced when all strips have contributed."""
        self._dbias.sum(axis=0, out=self.dbias)
        self.convolution.end_back(self.dweight)
        if announce:
            announce(self)

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) -> (H', W', K)."""
        self._expect_shape(shape, "H", "W", self.weight.shape[2])
        return (*self.windows.count(*shape[:2]), len(self.bias))

    def flops(self, shape: Shape) -> int:
        """Two a multiply-add, and each output pixel sums over one patch a filter."""
        rows, columns, _ = self.output_shape(shape)
        return 2 * rows * columns * self.weight.size
