"""Convolution as the textbook writes it: one loop an index, nothing else.

This is the definition that ``im2col`` has to agree with: slow, but short enough to be believed.
The tests compare the two in every geometry. It has the same three methods, so that a layer can
be given the one in place of the other::

    layer.algorithm = Direct(layer.windows)

Source: I. Goodfellow, Y. Bengio and A. Courville, Deep Learning (2016), section 9.5.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .layer import Shape
from .windows import Windows


class Direct:
    """The three products of a convolution: forward, by the weights, by the input.

    All of them walk over the same triples of output pixel, place in the window and input pixel;
    they differ in which of x, weight and y is the sum of products of the other two.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
        """Write y[n,i,j,k] = bias[k] + sum over a, b, c of x[n,i*s+a,j*s+b,c] weight[a,b,c,k].

        Shapes: x (N, H, W, C), padded; weight (KH, KW, C, K); bias (K,); y (N, H', W', K).
        """
        y[...] = bias
        for n, (i, j), (a, b), (row, column) in self._walk(y.shape):
            for c in range(weight.shape[2]):
                for k in range(weight.shape[3]):
                    y[n, i, j, k] += x[n, row, column, c] * weight[a, b, c, k]

    def backward_weight(self, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
        """Write dweight[a,b,c,k] = sum over n, i, j of x[n,i*s+a,j*s+b,c] dy[n,i,j,k].

        Shapes: x (N, H, W, C), padded; dy (N, H', W', K); dweight (KH, KW, C, K).
        """
        dweight[...] = 0
        for n, (i, j), (a, b), (row, column) in self._walk(dy.shape):
            for c in range(dweight.shape[2]):
                for k in range(dweight.shape[3]):
                    dweight[a, b, c, k] += x[n, row, column, c] * dy[n, i, j, k]

    def backward_input(self, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        """Write dx[n,i*s+a,j*s+b,c] = sum over i, j, a, b that meet there, and k, of weight dy.

        Shapes: dy (N, H', W', K); weight (KH, KW, C, K); dx (N, H, W, C), padded.
        """
        dx[...] = 0
        for n, (i, j), (a, b), (row, column) in self._walk(dy.shape):
            for c in range(weight.shape[2]):
                for k in range(weight.shape[3]):
                    dx[n, row, column, c] += weight[a, b, c, k] * dy[n, i, j, k]

    def _walk(
        self, y_shape: Shape
    ) -> Iterator[tuple[int, tuple[int, int], tuple[int, int], tuple[int, int]]]:
        """Every sample, output pixel (i, j), place (a, b) in its window, and input pixel there."""
        N, H, W, _ = y_shape
        down, right = self.windows.stride
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    for a, b in self.windows.offsets():
                        yield n, (i, j), (a, b), (i * down + a, j * right + b)
