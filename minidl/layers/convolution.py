"""The three products of a convolution, strip by strip, by any algorithm.

Every algorithm turns a convolution into products of matrices: it spreads the input out, multiplies
by the prepared weights, and collects the output from the products::

    y = collect(spread(x) @ prepare(weight))

The three steps are linear, so each has a transpose, called ``..._back``, and backward is::

    dweight = prepare_back(spread(x)' @ collect_back(dy))
    dx      = spread_back(collect_back(dy) @ prepare(weight)')

What is spread out is several times the input. So all of this is done for a strip of some output
rows at a time, which stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lcm
from typing import Protocol

import numpy as np

from minidl.threads import in_parallel

from .layer import Shape
from .windows import Strip, Windows, blocks
from .workspace import workspace

# A batch is cut into so many lanes, however many threads there are: the order of sums is the same.
# Each has a gradient of its own; where they would be large, there are fewer.
LANES = 4
LANE_BYTES = 32 * 1024 * 1024


class Algorithm(Protocol):
    """One way to spread, prepare and collect; P is the number of products that it makes.

    Attributes
    ----------
    tile : int
        Output rows, and columns, that are computed together.
    """

    tile: int

    def strip_pixels(self, weight_shape: Shape, itemsize: int) -> int:
        """How many output pixels are best computed at a time."""

    def spread_shape(self, weight_shape: Shape, rows: int, columns: int) -> Shape:
        """(P, tiles, Q) for so many output rows and columns."""

    def reach(self, rows: int, columns: int) -> tuple[int, int]:
        """Height and width of the input that so many output rows and columns see."""

    def prepare(self, weight: np.ndarray, out: np.ndarray) -> np.ndarray:
        """(KH, KW, C, K) -> (P, Q, K); in ``out``, if it has to be computed."""

    def prepare_back(self, dprepared: np.ndarray, dweight: np.ndarray) -> None:
        """(P, Q, K) -> (KH, KW, C, K)."""

    def spread(self, slab: np.ndarray) -> np.ndarray:
        """(N, h, w, C) -> (P, tiles, Q)."""

    def spread_back(self, dspread: np.ndarray, shape: Shape) -> np.ndarray:
        """(P, tiles, Q) -> ``shape``, (N, h, w, C)."""

    def collect(self, products: np.ndarray, shape: Shape) -> np.ndarray:
        """(P, tiles, K) -> ``shape``, (N, rows, columns, K)."""

    def collect_back(self, dy: np.ndarray) -> np.ndarray:
        """(N, rows, columns, K) -> (P, tiles, K)."""


class Convolution:
    """Convolves x (N, H, W, C) with weight (KH, KW, C, K) to y (N, H', W', K).

    Everything after ``start`` is done for single strips of y. Prepared weights may be many times
    the weights: they lie in the workspace, until another convolution starts.
    """

    def __init__(
        self, windows: Windows, algorithm: Algorithm, weight: np.ndarray, y_shape: Shape
    ) -> None:
        self.windows, self.algorithm, self.y_shape = windows, algorithm, y_shape
        self.weight_shape, K = weight.shape, weight.shape[3]
        P, _, Q = algorithm.spread_shape(weight.shape, 1, 1)
        self.lanes = max(1, min(LANES, y_shape[0], LANE_BYTES // (P * Q * K * weight.itemsize)))
        self._prepared_shape = P, Q, K

    def start(self, weight: np.ndarray) -> None:
        """Prepare the weights."""
        room = weight  # with a single product, weights are taken as they are
        if self._prepared_shape[0] > 1:
            room = workspace.take("prepared", self._prepared_shape, weight.dtype)
        self._prepared = self.algorithm.prepare(weight, room)

    def start_input_gradient(self) -> None:
        """Get ready for ``add_input_gradient``, after ``start``."""
        self._transposed = self._prepared.transpose(0, 2, 1)
        if len(self._transposed) > 1:
            # Small products with a matrix that lies transposed in memory take twice as long.
            room = workspace.take("transposed", self._transposed.shape, self._prepared.dtype)
            np.copyto(room, self._transposed)
            self._transposed = room

    def start_weight_gradient(self) -> None:
        """Get ready for ``add_weight_gradient``."""
        shape = (self.lanes, *self._prepared_shape)
        self._dprepared = workspace.take("dprepared", shape, self._prepared.dtype)
        if self.y_shape[0] == 0:  # else the first strip of each lane writes it
            self._dprepared[...] = 0

    def end_back(self, dweight: np.ndarray) -> None:
        """Write the gradient of the weights."""
        total, *others = self._dprepared
        for other in others:
            total += other
        self.algorithm.prepare_back(total, dweight)

    def each_strip(self, function: Callable[[Strip], object], together: int = 1) -> None:
        """Call ``function`` with every strip of y, in multiples of ``together`` rows.

        Strips of different lanes run at the same time if there are threads.
        """
        N, H, W, _ = self.y_shape
        unit = lcm(self.algorithm.tile, together)
        pixels = self.algorithm.strip_pixels(self.weight_shape, self._prepared.itemsize)

        def run(lane: int) -> None:
            first, last = (N * number // self.lanes for number in (lane, lane + 1))
            for images, units in blocks(last - first, -(-H // unit), unit * W, pixels):
                function(
                    Strip(
                        slice(first + images.start, first + images.stop),
                        slice(unit * units.start, min(unit * units.stop, H)),
                        lane,
                        first=images.start == units.start == 0,
                    )
                )

        in_parallel(run, range(self.lanes))

    def spread(self, x: np.ndarray, strip: Strip) -> np.ndarray:
        """Spread out what a strip of y sees of x."""
        reach = self.algorithm.reach(*self._whole_tiles(strip)[1:3])
        return self.algorithm.spread(self.windows.cut(x, strip, reach))

    def collect(self, spread: np.ndarray, strip: Strip) -> np.ndarray:
        """Compute a strip of y from what was spread out for it."""
        products = workspace.take(
            "products", (*spread.shape[:2], self.weight_shape[3]), spread.dtype
        )
        np.matmul(spread, self._prepared, out=products)
        y = self.algorithm.collect(products, self._whole_tiles(strip))
        return y[:, : strip.height, : self.y_shape[2]]

    def collect_back(self, dy: np.ndarray, strip: Strip) -> np.ndarray:
        """Take a strip of dy apart, into a gradient of each product."""
        shape = self._whole_tiles(strip)
        if dy.shape != shape:
            whole = workspace.take("whole tiles", shape, dy.dtype)
            whole[:, : strip.height, : dy.shape[2]] = dy
            whole[:, strip.height :] = 0
            whole[:, :, dy.shape[2] :] = 0
            dy = whole
        return self.algorithm.collect_back(np.ascontiguousarray(dy))

    def add_weight_gradient(self, spread: np.ndarray, dproducts: np.ndarray, strip: Strip) -> None:
        """Add what a strip contributes to the gradient of the weights."""
        total = self._dprepared[strip.lane]
        part = total if strip.first else workspace.take("part", total.shape, total.dtype)
        np.matmul(spread.transpose(0, 2, 1), dproducts, out=part)
        if not strip.first:
            total += part

    def add_input_gradient(self, dproducts: np.ndarray, strip: Strip, dx: np.ndarray) -> None:
        """Add what a strip contributes to dx. Overwrites what ``spread`` returned."""
        P, tiles, _ = dproducts.shape
        dspread = workspace.take("spread", (P, tiles, self._transposed.shape[2]), dproducts.dtype)
        np.matmul(dproducts, self._transposed, out=dspread)
        reach = self.algorithm.reach(*self._whole_tiles(strip)[1:3])
        slab = self.algorithm.spread_back(dspread, (strip.size, *reach, self.weight_shape[2]))
        self.windows.add(slab, dx, strip)

    def _whole_tiles(self, strip: Strip) -> Shape:
        """Shape of a strip of y, rounded up to whole tiles."""
        tile, (_, _, W, K) = self.algorithm.tile, self.y_shape
        return strip.size, -(-strip.height // tile) * tile, -(-W // tile) * tile, K
