"""Batch normalisation."""

from __future__ import annotations

import numpy as np

from .layer import Announce, Layer, Require


class BatchNorm2d(Layer):
    """Bring every channel to mean 0 and variance 1, then scale and shift it as learnt.

    In training the moments are the batch's, over samples and pixels; in inference, running
    averages. Each rank normalises by its own batch: with this layer, P ranks of b samples are
    *not* one rank of P*b. The running averages live in ``statistics``, not in ``parameters``:
    they have no gradient, and whoever saves a model brings the ranks' together.

    Shapes: (N, H, W, C) -> the same. Source: S. Ioffe and C. Szegedy, Batch Normalization (ICML
    2015), algorithm 1.

    Parameters
    ----------
    channels : int
        C.
    momentum : float
        Weight of the newest batch in the running averages.
    epsilon : float
        Added to the variance, against division by zero.
    dtype : dtype
        Of parameters and of all that goes in and out.
    """

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        dtype: np.typing.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self._learn(dtype, scale=(channels,), shift=(channels,))
        self.scale, self.shift = self.views(self.parameters).values()
        self.dscale, self.dshift = self.views(self.gradient).values()
        self.scale[...] = 1
        self.statistics = np.zeros(2 * channels, dtype)
        self.running_mean, self.running_variance = self.views(self.statistics).values()
        self.running_variance[...] = 1

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute z = (x - mean) / sqrt(variance + epsilon), y = scale z + shift."""
        if require:
            require(self)
        if training and x.size:
            mean = _channel_means(x)
            variance = _channel_means(np.square(x - mean))
            count = x[..., 0].size
            self._follow(self.running_mean, mean)
            # The running variance estimates the population's: Bessel's correction.
            self._follow(self.running_variance, variance * (count / max(count - 1, 1)))
        else:
            mean, variance = self.running_mean, self.running_variance
        deviation = np.sqrt(variance + x.dtype.type(self.epsilon))
        z = (x - mean) / deviation
        self._saved = (z, deviation) if training else None
        return z * self.scale + self.shift

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Send dy back through y, then through the moments that every sample is part of.

        With means over the batch: dx = scale / deviation (dy - mean(dy) - z mean(dy z)).
        """
        z, deviation = self._recall()
        np.sum(dy, axis=(0, 1, 2), out=self.dshift)
        np.sum(dy * z, axis=(0, 1, 2), out=self.dscale)
        count = max(dy[..., 0].size, 1)
        dx = (self.scale / deviation) * (dy - self.dshift / count - z * (self.dscale / count))
        if announce:  # from here the gradient belongs to whoever hears of it
            announce(self)
        return dx

    def _follow(self, running: np.ndarray, new: np.ndarray) -> None:
        running *= 1 - self.momentum
        running += self.momentum * new


def _channel_means(x: np.ndarray) -> np.ndarray:
    """Mean over samples and pixels; summed in single precision it would lose four digits."""
    return x.mean(axis=(0, 1, 2), dtype=np.float64).astype(x.dtype)
