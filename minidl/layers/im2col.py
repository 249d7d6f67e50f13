"""Convolution as a matrix product, over columns of patches that fit into the cache.

Every output pixel sees a patch of KH x KW x C numbers. Written out, the patches of all pixels
make a matrix of "columns" (the name stayed from channel-first codes, where patches stand
upright), and the convolution is one product with the weights::

    columns (pixels, KH*KW*C)  @  weight (KH*KW*C, K)  =  y (pixels, K)

The whole matrix would be KH*KW times the image: 0.46 GB for the second layer of the HEP network
and a batch of 8. So ``Conv2d`` has the columns of some rows written out, multiplied and forgotten.

Source: K. Chellapilla, S. Puri and P. Simard, High Performance Convolutional Neural Networks for
Document Processing (2006), for the idea.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .layer import Shape
from .windows import Windows
from .workspace import workspace

# Of columns and outputs. More pixels at a time make for a better product, until they leave the
# cache.
STRIP_BYTES = 2 * 1024 * 1024


class Im2col:
    """Any kernel, any stride, as an ``Algorithm``."""

    tile = 1

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __str__(self) -> str:
        return "im2col"

    def strip_pixels(self, weight_shape: Shape, itemsize: int) -> int:
        """Output pixels that are best computed at a time."""
        KH, KW, C, K = weight_shape
        # All weights are read for every strip: it has to be worth their while.
        strip_bytes = max(STRIP_BYTES, prod(weight_shape) * itemsize)
        return strip_bytes // ((KH * KW * C + K) * itemsize)

    def spread_shape(self, weight_shape: Shape, rows: int, columns: int) -> Shape:
        """(P, tiles, Q) for so many output rows and columns."""
        KH, KW, C, _ = weight_shape
        return 1, rows * columns, KH * KW * C

    def reach(self, rows: int, columns: int) -> tuple[int, int]:
        """Height and width of the input that so many output rows and columns see."""
        (KH, KW), (down, right) = self.windows.kernel, self.windows.stride
        return down * (rows - 1) + KH, right * (columns - 1) + KW

    def prepare(self, weight: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write filters as the columns of a matrix: (KH, KW, C, K) -> (1, KH*KW*C, K)."""
        return weight.reshape(1, -1, weight.shape[3])

    def prepare_back(self, dprepared: np.ndarray, dweight: np.ndarray) -> None:
        """Transposed: (1, KH*KW*C, K) -> (KH, KW, C, K)."""
        np.copyto(dweight, dprepared.reshape(dweight.shape))

    def spread(self, slab: np.ndarray) -> np.ndarray:
        """Write out the patch of every output pixel: (N, h, w, C) -> (1, pixels, KH*KW*C).

        In memory a patch is KH runs, each of KW pixels with all their channels. The view names
        them with overlapping strides; the copy moves whole runs.
        """
        (KH, KW), (down, right) = self.windows.kernel, self.windows.stride
        N, height, width, C = slab.shape
        rows, columns = (height - KH) // down + 1, (width - KW) // right + 1
        # With a single channel, even a contiguous array may have any number for its last stride.
        (image, row, pixel, _), number = slab.strides, slab.itemsize
        runs = as_strided(
            slab,
            (N, rows, columns, KH, KW * C),
            (image, down * row, right * pixel, row, number),
            writeable=False,
        )
        spread = workspace.take("spread", runs.shape, slab.dtype)
        np.copyto(spread, runs)
        return spread.reshape(1, N * rows * columns, -1)

    def spread_back(self, dspread: np.ndarray, shape: Shape) -> np.ndarray:
        """Transposed: a pixel's gradient is the sum over the patches it lies in ("col2im")."""
        (KH, KW), (down, right) = self.windows.kernel, self.windows.stride
        N, height, width, C = shape
        rows, columns = (height - KH) // down + 1, (width - KW) // right + 1
        patches = dspread.reshape(N, rows, columns, KH, KW, C)
        dslab = workspace.take("dslab", shape, dspread.dtype)
        dslab[...] = 0
        for row, column in self.windows.offsets():
            pixels = self.windows.take(dslab, (row, column), slice(0, rows), columns)
            pixels += patches[:, :, :, row, column]
        return dslab

    def collect(self, products: np.ndarray, shape: Shape) -> np.ndarray:
        """Every product is a pixel: (1, pixels, K) -> (N, rows, columns, K)."""
        return products.reshape(shape)

    def collect_back(self, dy: np.ndarray) -> np.ndarray:
        """Transposed: (N, rows, columns, K) -> (1, pixels, K)."""
        return dy.reshape(1, -1, dy.shape[3])
