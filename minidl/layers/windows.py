"""Windows that slide over an image: the geometry that convolution and pooling share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .layer import Shape
from .workspace import workspace


class Windows:
    """Windows of ``kernel`` every ``stride`` over an image with ``padding`` at each side.

    Where the stride does not divide, the rest at the lower and right edge is in no window.
    All three are (height, width).
    """

    def __init__(
        self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
    ) -> None:
        if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
            raise ValueError(
                "a window needs kernel >= 1, stride >= 1 and padding >= 0; "
                f"got kernel {kernel}, stride {stride}, padding {padding}"
            )
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def count(self, height: int, width: int) -> tuple[int, int]:
        """How many windows fit below and beside each other: the height and width that go out."""
        extent = (height + 2 * self.padding[0], width + 2 * self.padding[1])
        if extent[0] < self.kernel[0] or extent[1] < self.kernel[1]:
            raise ValueError(
                f"a window of {self.kernel} does not fit into an image of {height} x {width} "
                f"with padding {self.padding}"
            )
        rows = (extent[0] - self.kernel[0]) // self.stride[0] + 1
        columns = (extent[1] - self.kernel[1]) // self.stride[1] + 1
        return rows, columns

    def offsets(self) -> Iterator[tuple[int, int]]:
        """The places (row, column) inside a window."""
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                yield row, column

    def take(
        self, padded: np.ndarray, offset: tuple[int, int], rows: slice, columns: int
    ) -> np.ndarray:
        """For the windows in ``rows``, the pixel at ``offset`` of each, as a view.

        Shapes: padded (N, H, W, C) -> (N, rows, columns, C).
        """
        (row, column), (down, right) = offset, self.stride
        first, last = row + down * rows.start, row + down * (rows.stop - 1)
        return padded[
            :, first : last + 1 : down, column : column + right * (columns - 1) + 1 : right
        ]

    def pad(self, x: np.ndarray, padded: np.ndarray, value: float) -> np.ndarray:
        """Write ``x`` (N, H, W, C) into the middle of ``padded``, and ``value`` around it."""
        (top, left), (height, width) = self.padding, x.shape[1:3]
        # Slices count from the front: [-0:] would be everything.
        padded[:, :top] = value
        padded[:, top + height :] = value
        padded[:, top : top + height, :left] = value
        padded[:, top : top + height, left + width :] = value
        self.unpad(padded)[...] = x
        return padded

    def unpad(self, padded: np.ndarray) -> np.ndarray:
        """Look at the image inside the padding, as a view."""
        top, left = self.padding
        return padded[:, top : padded.shape[1] - top, left : padded.shape[2] - left]

    def padded_shape(self, shape: Shape) -> Shape:
        """Shape of a batch ``shape`` (N, H, W, C) once it is padded."""
        N, H, W, C = shape
        return N, H + 2 * self.padding[0], W + 2 * self.padding[1], C

    def cut(self, x: np.ndarray, strip: Strip, shape: tuple[int, int]) -> np.ndarray:
        """Copy what a strip's windows see, of an image that is not padded: zeros around it.

        Shapes: x (N, H, W, C) -> (n, *shape, C), in the workspace.
        """
        slab = workspace.take("slab", (strip.size, *shape, x.shape[3]), x.dtype)
        (rows, columns), (from_rows, from_columns) = self._inside(x.shape, strip, shape)
        slab[:, rows, columns] = x[strip.images, from_rows, from_columns]
        slab[:, : rows.start] = 0
        slab[:, rows.stop :] = 0
        slab[:, rows, : columns.start] = 0
        slab[:, rows, columns.stop :] = 0
        return slab

    def add(self, slab: np.ndarray, x: np.ndarray, strip: Strip) -> None:
        """Add a slab where it was cut from: the transpose of ``cut``."""
        (rows, columns), (to_rows, to_columns) = self._inside(x.shape, strip, slab.shape[1:3])
        x[strip.images, to_rows, to_columns] += slab[:, rows, columns]

    def _inside(self, image: Shape, strip: Strip, shape: Shape) -> tuple[list[slice], list[slice]]:
        """Which rows and columns of a slab are the image's, and which of the image's they are."""
        starts = (strip.rows.start * self.stride[0] - self.padding[0], -self.padding[1])
        inside, places = [], []
        for start, length, size in zip(starts, shape, image[1:3], strict=True):
            low = min(max(start, 0), size)
            high = min(max(start + length, low), size)
            inside.append(slice(low - start, high - start))
            places.append(slice(low, high))
        return inside, places


class Strip(NamedTuple):
    """Some rows of an image, or several whole images.

    Parameters
    ----------
    lane : int
        Strips of one lane follow each other; those of different lanes may be worked on at once.
    first : bool
        Of its lane.
    """

    images: slice
    rows: slice
    lane: int = 0
    first: bool = True

    @property
    def size(self) -> int:
        """Number of images."""
        return self.images.stop - self.images.start

    @property
    def height(self) -> int:
        """Number of rows in each."""
        return self.rows.stop - self.rows.start

    def narrowed(self, down: int) -> Strip:
        """What windows of ``down`` rows make of it; a rest at the lower edge makes nothing."""
        return self._replace(rows=slice(self.rows.start // down, self.rows.stop // down))


def blocks(images: int, rows: int, row_bytes: int, limit: int) -> Iterator[tuple[slice, slice]]:
    """Cut (images, rows) into blocks of at most ``limit`` bytes, and at least a row.

    A block is some rows of one image, or several whole images: either is contiguous in memory.
    What is written a block at a time is still in the cache when it is read again.
    """
    fit = max(1, limit // max(row_bytes, 1))
    if fit < rows:
        for image in range(images):
            for row in range(0, rows, fit):
                yield slice(image, image + 1), slice(row, min(row + fit, rows))
    else:
        step = fit // rows
        for image in range(0, images, step):
            yield slice(image, min(image + step, images)), slice(0, rows)
