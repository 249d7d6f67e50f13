"""Slopes measured by differences: what a derivative is before anybody works one out.

The slope of f at p along a direction u is about ``(f(p + h u) - f(p)) / h``, from above, or
``(f(p) - f(p - h u)) / h``, from below; their mean has an error of order h^2 instead of h.

No single step h suits all: a large one sees the curvature of f, a small one its rounding, and
any may reach across a kink, as a ReLU has at zero. So each slope is measured with several steps
and counts where two of them agree. Exactly at a kink the two sides differ, and there is no
derivative that could be right or wrong.

Source: W. Press et al., Numerical Recipes (2007), section 5.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS = (1e-4, 1e-5, 1e-6)
# A long chain of layers loses more than the last digit, and a result smaller than LEAST may be
# what is left of larger numbers, with their rounding errors.
ROUNDING = 64 * float(np.finfo(np.float64).eps)
LEAST = 0.1


@dataclass(frozen=True)
class Slope:
    """One slope of a function, measured with each of ``STEPS``.

    Attributes
    ----------
    above, below : np.ndarray, shape (steps, N)
        From either side; each sample's share by itself.
    """

    above: np.ndarray
    below: np.ndarray

    @property
    def central(self) -> np.ndarray:
        """Estimates from both sides, shape (steps,)."""
        return (self.above + self.below).sum(axis=1) / 2

    @property
    def value(self) -> float:
        """The estimate with the smaller of the two neighbouring steps that agree best."""
        return float(self.central[self._best])

    @property
    def by_sample(self) -> np.ndarray:
        """Each sample's share of ``value``, shape (N,)."""
        return (self.above + self.below)[self._best] / 2

    def resolved(self, allowed: float) -> bool:
        """Whether two steps and the two sides agree, so that ``value`` is the derivative."""
        jumps = np.abs((self.above - self.below).sum(axis=1))
        # Between the sides of a smooth function, the difference shrinks with the step.
        kink = jumps[-1] > max(allowed, jumps[-2] / 2)
        return bool(np.abs(np.diff(self.central)).min() <= allowed and not kink)

    @property
    def _best(self) -> int:
        return int(np.abs(np.diff(self.central)).argmin()) + 1


class Function:
    """The sum of a computation's outputs, each multiplied by a fixed factor.

    Parameters
    ----------
    evaluate : callable
        Computes the outputs from numbers that are changed in place between two calls.
    factors : list of np.ndarray
        One for each output, of its shape; the first axis is the samples'.

    Attributes
    ----------
    noise : float
        How far slopes may be off because the outputs are rounded.

    Raises
    ------
    ValueError
        If the outputs are not finite, or not the same a second time.
    """

    def __init__(self, evaluate: Callable[[], list[np.ndarray]], factors: list[np.ndarray]) -> None:
        self._evaluate, self._factors = evaluate, factors
        self._rest = self._outputs()
        terms = [(factor * part).ravel() for factor, part in zip(factors, self._rest, strict=True)]
        size = max(LEAST, float(np.linalg.norm(np.concatenate(terms))))
        self.noise = ROUNDING * size / min(STEPS)
        if not np.isfinite(size):
            raise ValueError("there are no slopes to measure: an output is not finite")
        if np.abs(self._change(self._outputs(), self._rest)).max(initial=0) > ROUNDING * size:
            raise ValueError(
                "the same numbers give two different outputs: what is random must be drawn from a "
                "numpy Generator that is an attribute of its layer"
            )

    def slope(self, values: np.ndarray, direction: np.ndarray) -> Slope:
        """Measure the slope by ``values`` along ``direction``, of the same shape."""
        rest = values.copy()
        above, below = [], []
        for step in STEPS:
            values[...] = rest + step * direction
            above.append(self._change(self._outputs(), self._rest) / step)
            values[...] = rest - step * direction
            below.append(self._change(self._rest, self._outputs()) / step)
        values[...] = rest
        return Slope(np.array(above), np.array(below))

    def _outputs(self) -> list[np.ndarray]:
        # Layers keep their output arrays and write the next result into them.
        return [part.copy() for part in self._evaluate()]

    def _change(self, after: list[np.ndarray], before: list[np.ndarray]) -> np.ndarray:
        """Differences first, then the sum: what has not changed must leave no rounding error."""
        parts = [
            (factor * (new - old)).sum(axis=tuple(range(1, new.ndim)))
            for factor, new, old in zip(self._factors, after, before, strict=True)
        ]
        return np.sum(parts, axis=0)
