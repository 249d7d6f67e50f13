"""What training makes smaller: a network's loss, forward and backward, over one or more batches.

Losses and gradients come as *sums* over samples. Sums add up: over the batches of an update
(gradient accumulation), over the ranks of a group. Whoever has the whole sum divides it once by
the number of samples, and has the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import soundness
from .layers import Announce, Layer, Require

Batch = tuple[np.ndarray, Any]
Loss = Callable[[Any, Any], tuple[float, Any]]


class Objective:
    """A network and its loss.

    Parameters
    ----------
    network : Layer
    loss : function (output, target) -> (mean over the batch, its gradient by the output)
    clip : float or None
        Largest norm that the mean gradient, all layers together, may have; a longer one is
        scaled down to it. That takes all layers to know, so none is announced before backward
        is over. Source: R. Pascanu et al., On the difficulty of training recurrent neural
        networks (ICML 2013), algorithm 1.
    """

    def __init__(self, network: Layer, loss: Loss, clip: float | None = None) -> None:
        self.network, self.loss, self.clip = network, loss, clip
        self.layers = network.layers()
        self.terms: tuple[str, ...] = ()  # of the loss, if it is a sum
        self.asked_to_stop = False  # whether this rank was
        self.own = 0.0  # the mean loss of this rank's samples
        self.origin = ""  # where in backward numbers first were not finite, of a finite loss
        self._sums: dict[Layer, np.ndarray] = {}
        self._dy: Any = None

    def forward(self, batches: Sequence[Batch], require: Require | None = None) -> np.ndarray:
        """Compute the loss of all batches, and backward of all but the last.

        Parameters
        ----------
        batches : sequence of (x, target)
            As large as fits into memory, each; together they make one update.
        require : function (layer)
            Is called right before a layer's parameters are used.

        Returns
        -------
        np.ndarray of float64, shape (3 + terms,)
            The loss summed over the samples, their number, whether this rank was asked to stop,
            and each of the loss's ``terms``, if it is a ``minidl.losses.Sum``, summed over the
            samples. Sums over ranks tell each of them all of it.
        """
        total = np.zeros(3)
        for number, (x, target) in enumerate(batches):
            if number > 0:
                self.network.backward(self._dy, self._accumulate)
            loss, self._dy = self.loss(self.network.forward(x, require=require), target)
            self._samples, self._first = len(x), number == 0
            terms = getattr(loss, "terms", {})
            self.terms = tuple(terms)
            summed = len(x) * np.array([loss, 1.0, 0.0, *terms.values()])
            total = summed if self._first else total + summed
            self.own = float(total[0] / max(total[1], 1))
        self._total, total[2] = total[1], self.asked_to_stop
        return total

    def backward(self, announce: Announce) -> None:
        """Complete every layer's ``gradient``, a sum over all samples of the batches.

        ``announce(layer)`` is called the moment it is complete, last layer first.
        """

        def complete(layer: Layer) -> None:
            layer.gradient *= self._samples
            if not self._first:
                layer.gradient += self._sums[layer]
            self._look_at(layer)
            if self.clip is None:
                announce(layer)

        self.network.backward(self._dy, complete)
        if self.clip is not None:
            squares = sum(float(np.vdot(layer.gradient, layer.gradient)) for layer in self.layers)
            longest = self.clip * self._total
            for layer in reversed(self.layers):
                if squares > longest**2:
                    layer.gradient *= longest / squares**0.5
                announce(layer)

    def _accumulate(self, layer: Layer) -> None:
        layer.gradient *= self._samples
        self._look_at(layer)
        if self._first:
            np.copyto(self._sums.setdefault(layer, np.empty_like(layer.gradient)), layer.gradient)
        else:
            self._sums[layer] += layer.gradient

    def _look_at(self, layer: Layer) -> None:
        """See whether here a gradient is not finite, though the loss was."""
        looks = not self.origin and math.isfinite(self.own)
        if looks and not np.isfinite(layer.gradient).all():
            self.origin = soundness.origin_of_gradient(self.network, layer)
