"""Strided convolution as one of stride 1, on an image of fewer and deeper pixels.

A filter that moves by s pixels meets every pixel of a square of s x s at places of its own. So
write each such square as one pixel of s * s * C channels. The filter, padded with zeros to whole
squares, moves over these one by one: 5x5 /2 becomes 3x3 /1 with four times the channels, which
``winograd.py`` can take. Part of the new filter is zeros (11 of 36); more than that is won.

Source: W. Shi et al., Is the deconvolution layer the same as a convolutional layer? (2016), for the
rearrangement.
"""

from __future__ import annotations

import numpy as np

from .convolution import Algorithm
from .layer import Shape
from .workspace import workspace


class SpaceToDepth:
    """An ``Algorithm`` for any stride, by another one for stride 1.

    Parameters
    ----------
    stride : (int, int)
    inner : Algorithm
        For kernels of ceil(KH / stride) x ceil(KW / stride).
    """

    def __init__(self, stride: tuple[int, int], inner: Algorithm) -> None:
        self.stride, self.inner, self.tile = stride, inner, inner.tile

    def __str__(self) -> str:
        return f"depth+{self.inner}"

    def strip_pixels(self, weight_shape: Shape, itemsize: int) -> int:
        """How many output pixels are best computed at a time."""
        return self.inner.strip_pixels(deep_kernel(weight_shape, self.stride), itemsize)

    def spread_shape(self, weight_shape: Shape, rows: int, columns: int) -> Shape:
        """(P, tiles, Q) for so many output rows and columns."""
        return self.inner.spread_shape(deep_kernel(weight_shape, self.stride), rows, columns)

    def reach(self, rows: int, columns: int) -> tuple[int, int]:
        """Height and width of the input that so many output rows and columns see."""
        height, width = self.inner.reach(rows, columns)
        return height * self.stride[0], width * self.stride[1]

    def prepare(self, weight: np.ndarray, out: np.ndarray) -> np.ndarray:
        """(KH, KW, C, K) -> (P, Q, K)."""
        KH, KW, C, K = weight.shape
        (down, right), shape = self.stride, deep_kernel(weight.shape, self.stride)
        padded = np.zeros((shape[0] * down, shape[1] * right, C, K), weight.dtype)
        padded[:KH, :KW] = weight
        squares = padded.reshape(shape[0], down, shape[1], right, C, K)
        deep = squares.transpose(0, 2, 1, 3, 4, 5).reshape(shape)
        return self.inner.prepare(deep, out)

    def prepare_back(self, dprepared: np.ndarray, dweight: np.ndarray) -> None:
        """(P, Q, K) -> (KH, KW, C, K)."""
        KH, KW, C, K = dweight.shape
        (down, right), shape = self.stride, deep_kernel(dweight.shape, self.stride)
        deep = np.empty(shape, dweight.dtype)
        self.inner.prepare_back(dprepared, deep)
        squares = deep.reshape(shape[0], shape[1], down, right, C, K).transpose(0, 2, 1, 3, 4, 5)
        dweight[...] = squares.reshape(shape[0] * down, shape[1] * right, C, K)[:KH, :KW]

    def spread(self, slab: np.ndarray) -> np.ndarray:
        """(N, h, w, C) -> (P, tiles, Q)."""
        return self.inner.spread(to_depth(slab, self.stride))

    def spread_back(self, dspread: np.ndarray, shape: Shape) -> np.ndarray:
        """(P, tiles, Q) -> ``shape``, (N, h, w, C)."""
        N, height, width, C = shape
        down, right = self.stride
        deep = (N, height // down, width // right, down * right * C)
        slab = workspace.take("slab", shape, dspread.dtype)
        squares = self.inner.spread_back(dspread, deep).reshape(*deep[:3], down, right, C)
        view = slab.reshape(N, deep[1], down, deep[2], right, C)
        np.copyto(view, squares.transpose(0, 1, 3, 2, 4, 5))
        return slab

    def collect(self, products: np.ndarray, shape: Shape) -> np.ndarray:
        """(P, tiles, K) -> ``shape``, (N, rows, columns, K)."""
        return self.inner.collect(products, shape)

    def collect_back(self, dy: np.ndarray) -> np.ndarray:
        """(N, rows, columns, K) -> (P, tiles, K)."""
        return self.inner.collect_back(dy)


def to_depth(images: np.ndarray, stride: tuple[int, int]) -> np.ndarray:
    """Write every square of pixels as one pixel, in the workspace."""
    (N, height, width, C), (down, right) = images.shape, stride
    shape = (N, height // down, width // right, down * right * C)
    deep = workspace.take("deep", shape, images.dtype)
    squares = images.reshape(N, shape[1], down, shape[2], right, C)
    np.copyto(deep.reshape(*shape[:3], down, right, C), squares.transpose(0, 1, 3, 2, 4, 5))
    return deep


def deep_kernel(shape: Shape, stride: tuple[int, int]) -> Shape:
    """Shape of the weights for deep pixels."""
    KH, KW, C, K = shape
    down, right = stride
    return -(-KH // down), -(-KW // right), down * right * C, K
