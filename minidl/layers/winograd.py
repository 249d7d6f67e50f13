"""Convolution by Winograd: fewer multiplications, of numbers that are added up beforehand.

The output is cut into tiles of m x m pixels. With a filter of r x r, a tile sees a patch of n x n
input pixels, n = m + r - 1; patches overlap. In the coordinates of ``cook_toom.py`` a filter acts
on each of a patch's n^2 numbers by itself::

    y = A' [(G g G') * (B' d B)] A

For all tiles, channels and filters at once, "by itself" means one matrix product for each of the
n^2 coordinates: (tiles, C) @ (C, K). F(4x4, 3x3) makes 36 of them where ``im2col`` needs as much as
144: a quarter. The transforms A, B and G are matrix products as well, of 6 x 6 numbers with very
many; they take a fifth of the time. Backward is the same steps transposed, in the opposite order.

Source: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks (CVPR 2016).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .cook_toom import cook_toom
from .layer import Shape
from .workspace import workspace

# OpenBLAS multiplies faster where a product takes no more than 100^3 multiplications.
SMALL = 100**3
STRIP_BYTES = 2304 * 1024  # of spread and products, to stay in the cache
FEWEST = 28  # tiles of such products for them to be worth their while


class Winograd:
    """F(m x m, r x r) for stride 1, as an ``Algorithm``.

    Parameters
    ----------
    m, r : int
        Pixels of a tile and of a filter, in each direction.
    """

    def __init__(self, m: int, r: int) -> None:
        self.tile, self.r, self.n = m, r, m + r - 1

    def __str__(self) -> str:
        return f"winograd{self.tile}"

    def strip_pixels(self, weight_shape: Shape, itemsize: int) -> int:
        """How many output pixels are best computed at a time."""
        _, _, C, K = weight_shape
        # All weights are read for every strip: it has to be worth their while.
        strip_bytes = max(STRIP_BYTES, self.n**2 * C * K * itemsize)
        tiles, small = strip_bytes // (self.n**2 * (C + K) * itemsize), SMALL // (C * K)
        return (min(tiles, small) if small >= FEWEST else tiles) * self.tile**2

    def spread_shape(self, weight_shape: Shape, rows: int, columns: int) -> Shape:
        """(P, tiles, Q) for so many output rows and columns."""
        tiles = -(-rows // self.tile) * -(-columns // self.tile)
        return self.n**2, tiles, weight_shape[2]

    def reach(self, rows: int, columns: int) -> tuple[int, int]:
        """Height and width of the input that so many output rows and columns see."""
        return rows + self.r - 1, columns + self.r - 1

    def prepare(self, weight: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Transform the filters, G g G': (r, r, C, K) -> (n^2, C, K)."""
        _, _, G = self._matrices(weight.dtype)
        C, K = weight.shape[2:]
        np.matmul(np.kron(G, G), weight.reshape(-1, C * K), out=out.reshape(self.n**2, -1))
        return out

    def prepare_back(self, dprepared: np.ndarray, dweight: np.ndarray) -> None:
        """Transposed: (n^2, C, K) -> (r, r, C, K)."""
        _, _, G = self._matrices(dweight.dtype)
        flat = dweight.reshape(self.r**2, -1)
        np.matmul(np.kron(G, G).T, dprepared.reshape(self.n**2, -1), out=flat)

    def spread(self, slab: np.ndarray) -> np.ndarray:
        """Transform the patches, B' d B: (N, rows, columns, C) -> (n^2, tiles, C)."""
        N, height, width, C = slab.shape
        n, (down, right) = self.n, self._tiles(height, width)
        _, B, _ = self._matrices(slab.dtype)
        # By rows, n of them for a row of tiles: they overlap in memory, without being copied.
        bands = workspace.take("bands", (N, down, n, width * C), slab.dtype)
        image, row, pixel, number = slab.strides
        overlapping = as_strided(
            slab, (N, down, n, width * C), (image, self.tile * row, row, number), writeable=False
        )
        np.matmul(B.T, overlapping, out=bands)
        # By columns, for which patches are written out.
        patches = workspace.take("patches", (n, n, N, down, right, C), slab.dtype)
        image, band, row, _ = bands.strides
        apart = as_strided(
            bands,
            (n, n, N, down, right, C),
            (row, pixel, image, band, self.tile * pixel, number),
            writeable=False,
        )
        np.copyto(patches, apart)
        spread = workspace.take("spread", (n, n, N * down * right * C), slab.dtype)
        np.matmul(B.T, patches.reshape(spread.shape), out=spread)
        return spread.reshape(n * n, -1, C)

    def spread_back(self, dspread: np.ndarray, shape: Shape) -> np.ndarray:
        """Transposed: (n^2, tiles, C) -> (N, rows, columns, C); where patches overlap, they add."""
        N, height, width, C = shape
        n, m, (down, right) = self.n, self.tile, self._tiles(height, width)
        _, B, _ = self._matrices(dspread.dtype)
        patches = workspace.take("patches", (n, n, N * down * right * C), dspread.dtype)
        np.matmul(B, dspread.reshape(patches.shape), out=patches)
        bands = workspace.take("bands", (N, down, n, width, C), dspread.dtype)
        by_column = patches.reshape(n, n, N, down, right, C).transpose(1, 2, 3, 0, 4, 5)
        overlap_add(by_column, bands, m)
        rows = workspace.take("rows", (N, down, n, width * C), dspread.dtype)
        np.matmul(B, bands.reshape(rows.shape), out=rows)
        dslab = workspace.take("dslab", shape, dspread.dtype)
        overlap_add(rows.transpose(2, 0, 1, 3), dslab.reshape(N, height, -1), m)
        return dslab

    def collect(self, products: np.ndarray, shape: Shape) -> np.ndarray:
        """Transform back to pixels, A' M A: (n^2, tiles, K) -> (N, rows, columns, K)."""
        N, height, width, K = shape
        n, m = self.n, self.tile
        A, _, _ = self._matrices(products.dtype)
        half = workspace.take("half", (n, m, products[0].size), products.dtype)
        np.matmul(A.T, products.reshape(n, n, -1), out=half)
        tiles = workspace.take("tiles", (m, m, N, height // m, width // m, K), products.dtype)
        np.matmul(A.T, half.reshape(n, -1), out=tiles.reshape(m, -1))
        y = workspace.take("collected", shape, products.dtype)
        np.copyto(y.reshape(N, height // m, m, width // m, m, K), tiles.transpose(2, 3, 0, 4, 1, 5))
        return y

    def collect_back(self, dy: np.ndarray) -> np.ndarray:
        """Transposed: (N, rows, columns, K) -> (n^2, tiles, K)."""
        N, height, width, K = dy.shape
        n, m = self.n, self.tile
        A, _, _ = self._matrices(dy.dtype)
        half = workspace.take("half", (N, height // m, n, width // m, m, K), dy.dtype)
        np.matmul(A, dy.reshape(N, height // m, m, -1), out=half.reshape(N, height // m, n, -1))
        tiles = workspace.take("tiles", (n, m, N, height // m, width // m, K), dy.dtype)
        np.copyto(tiles, half.transpose(2, 4, 0, 1, 3, 5))
        dproducts = workspace.take("products", (n, n, tiles[0, 0].size), dy.dtype)
        np.matmul(A, tiles.reshape(n, m, -1), out=dproducts)
        return dproducts.reshape(n * n, -1, K)

    def _tiles(self, height: int, width: int) -> tuple[int, int]:
        """Tiles below and beside each other."""
        return (height - self.r + 1) // self.tile, (width - self.r + 1) // self.tile

    def _matrices(self, dtype: np.dtype) -> list[np.ndarray]:
        return rounded(self.tile, self.r, dtype)


@cache
def rounded(m: int, r: int, dtype: np.dtype) -> list[np.ndarray]:
    """Return A, B and G of F(m, r) as arrays."""
    return [np.array(matrix, dtype) for matrix in cook_toom(m, r)]


def overlap_add(pieces: np.ndarray, total: np.ndarray, step: int) -> None:
    """Put pieces beside each other every ``step``; what lies on top of each other is added.

    Shapes: pieces (n, ..., count, *), total (..., step * (count - 1) + n, *).
    """
    n, count = len(pieces), pieces.shape[-2]
    axis = pieces.ndim - 3
    before = (slice(None),) * axis
    total[(*before, slice(step * count, None))] = 0
    for place in range(n):
        index = (*before, slice(place, place + step * (count - 1) + 1, step))
        if place < step:
            total[index] = pieces[place]
        else:
            total[index] += pieces[place]
