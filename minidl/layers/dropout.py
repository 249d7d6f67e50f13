"""Dropout: a different thinned network for every batch."""

from __future__ import annotations

import numpy as np

from .layer import Announce, Layer, Require


class Dropout(Layer):
    """Set each number to zero with probability ``rate`` in training; pass all in inference.

    What is left is scaled by 1 / (1 - rate), so that the expected output is the input and
    inference needs no correction. Source: N. Srivastava et al., Dropout (JMLR 2014), section 10.

    Parameters
    ----------
    rate : float
        0 <= rate < 1.
    generator : np.random.Generator
        Draws who is dropped. Give each rank its own, or all drop alike.
    """

    def __init__(self, rate: float, *, generator: np.random.Generator) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"a dropout rate lies in [0, 1), got {rate}")
        self.rate, self.generator = rate, generator

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = x mask, with mask 0 or 1 / (1 - rate)."""
        if not training:
            self._saved = None
            return x
        kept = self.generator.random(x.shape, np.float32) >= self.rate
        self._saved = mask = kept.astype(x.dtype) / x.dtype.type(1 - self.rate)
        return x * mask

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Compute dx = dy mask."""
        return dy * self._recall()
