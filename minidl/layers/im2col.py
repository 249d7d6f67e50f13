"""Convolution as a matrix product, over columns of patches that fit into the cache.

Every output pixel sees a patch of KH x KW x C numbers. Written out, the patches of all pixels
make a matrix of "columns" (the name stayed from channel-first codes, where patches stand
upright), and the convolution is one product with the weights::

    columns (pixels, KH*KW*C)  @  weight (KH*KW*C, K)  =  y (pixels, K)

The whole matrix would be KH*KW times the image: 0.46 GB for the second layer of the HEP network
and a batch of 8. So a block of output rows is written out, multiplied and forgotten.

Source: K. Chellapilla, S. Puri and P. Simard, High Performance Convolutional Neural Networks for
Document Processing (2006), for the idea.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .windows import Windows, blocks

# Of columns. More pixels at a time make for a better product, until they leave the cache: from
# 1 to 4 MiB the difference is a few per cent, below and far above it is ten and more.
BLOCK_BYTES = 2 * 1024 * 1024


class Im2col:
    """The three products of a convolution: forward, by the weights, by the input."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self._columns = np.empty(0, np.float32)

    def forward(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, y: np.ndarray) -> None:
        """Write the convolution into ``y``.

        Shapes: x (N, H, W, C), padded; weight (KH, KW, C, K); bias (K,); y (N, H', W', K).
        """
        K = weight.shape[3]
        for images, rows, columns in self._blocks(x, y.shape):
            block = y[images, rows].reshape(-1, K)
            np.matmul(self._gather(x, images, rows, columns), weight.reshape(-1, K), out=block)
            block += bias

    def backward_weight(self, x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> None:
        """Write the gradient of the weights: y = columns @ weight, so dW = columns' @ dy.

        Shapes: x (N, H, W, C), padded; dy (N, H', W', K); dweight (KH, KW, C, K).
        """
        K = dy.shape[3]
        total = dweight.reshape(-1, K)
        total[...] = 0
        part = np.empty_like(total)
        for images, rows, columns in self._blocks(x, dy.shape):
            gathered = self._gather(x, images, rows, columns)
            np.matmul(gathered.T, dy[images, rows].reshape(-1, K), out=part)
            total += part

    def backward_input(self, dy: np.ndarray, weight: np.ndarray, dx: np.ndarray) -> None:
        """Write the gradient of the padded input: dcolumns = dy @ W', each added to its pixel.

        A pixel lies in up to KH*KW patches; its gradient is the sum over them ("col2im").
        Shapes: dy (N, H', W', K); weight (KH, KW, C, K); dx (N, H, W, C), padded.
        """
        KH, KW, C, K = weight.shape
        dx[...] = 0
        for images, rows, columns in self._blocks(dx, dy.shape):
            np.matmul(dy[images, rows].reshape(-1, K), weight.reshape(-1, K).T, out=columns)
            patches = columns.reshape(-1, rows.stop - rows.start, dy.shape[2], KH, KW, C)
            for row, column in self.windows.offsets():
                pixels = self.windows.take(dx[images], (row, column), rows, dy.shape[2])
                pixels += patches[:, :, :, row, column]

    def _blocks(
        self, x: np.ndarray, y_shape: tuple[int, ...]
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Cut the output into blocks; with each, memory for its columns (pixels, KH*KW*C)."""
        N, H, W, _ = y_shape
        KH, KW = self.windows.kernel
        width = KH * KW * x.shape[3]
        for images, rows in blocks(N, H, W * width * x.itemsize, BLOCK_BYTES):
            pixels = (images.stop - images.start) * (rows.stop - rows.start) * W
            if self._columns.size < pixels * width or self._columns.dtype != x.dtype:
                self._columns = np.empty(pixels * width, x.dtype)
            yield images, rows, self._columns[: pixels * width].reshape(pixels, width)

    def _gather(self, x: np.ndarray, images: slice, rows: slice, columns: np.ndarray) -> np.ndarray:
        """Write out the patches of one block of output pixels.

        In memory a patch is KH runs, each of KW pixels with all their channels. The view names
        them with overlapping strides; the copy moves whole runs.
        """
        KH, KW = self.windows.kernel
        (down, right), C = self.windows.stride, x.shape[3]
        # With a single channel, even a contiguous array may have any number for its last stride.
        (image, row, pixel, _), number = x.strides, x.itemsize
        block = x[images, rows.start * down :]
        n, r = images.stop - images.start, rows.stop - rows.start
        w = columns.shape[0] // (n * r)
        runs = as_strided(
            block,
            shape=(n, r, w, KH, KW * C),
            strides=(image, row * down, pixel * right, row, number),
            writeable=False,
        )
        np.copyto(columns.reshape(runs.shape), runs)
        return columns
