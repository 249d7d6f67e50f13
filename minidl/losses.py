"""Losses: how wrong a batch of outputs is, and which way is less wrong.

Each returns ``(value, dy)`` from one call: the mean over the batch as a float, and its derivative
by the outputs, in their shape and dtype. An empty batch has loss 0.
"""

from __future__ import annotations

import numpy as np

from .errors import UserError

LossAndGradient = tuple[float, np.ndarray]


class Sum(float):
    """A loss that is a sum: a number, which remembers its ``terms`` by name.

    A model whose loss is one has every term shown and logged beside it.
    """

    terms: dict[str, float]

    def __new__(cls, terms: dict[str, float]) -> Sum:
        """Add up the terms."""
        total = super().__new__(cls, sum(terms.values()))
        total.terms = dict(terms)
        return total


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> LossAndGradient:
    """Negative log-probability of the right class, under p = softmax(logits).

    With z shifted by its row's maximum, which changes no probability and cannot overflow:
    loss = log(sum exp z) - z[label], and d loss / d z = p - onehot(label).

    Parameters
    ----------
    logits : np.ndarray, shape (N, K)
    labels : np.ndarray of int, shape (N,)
        0 <= label < K.
    weights : np.ndarray, shape (N,), optional
        Multiplies each sample's loss; the mean still divides by N.

    Raises
    ------
    UserError
        If a label is no class.
    """
    classes = logits.shape[1]
    # A negative index would silently count from the last class.
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise UserError(
            f"labels from {labels.min()} to {labels.max()} for an output of {classes} classes; "
            f"expected 0 to {classes - 1}"
        )
    rows = np.arange(len(logits))
    z = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(z)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    loss = np.log(total[:, 0]) - z[rows, labels]
    dlogits = p
    dlogits[rows, labels] -= 1
    if weights is not None:
        weights = weights.astype(logits.dtype)
        loss *= weights
        dlogits *= weights[:, np.newaxis]
    return _mean(loss, dlogits)


def binary_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> LossAndGradient:
    """Negative log-probability of targets in [0, 1], under p = sigmoid(logits), any shape.

    loss = -t log p - (1 - t) log(1 - p) = max(z, 0) - t z + log(1 + exp(-|z|)), which overflows
    for no z; d loss / d z = p - t. The mean is over all elements.
    """
    targets = targets.astype(logits.dtype)
    loss = np.maximum(logits, 0) - targets * logits + np.log1p(np.exp(-np.abs(logits)))
    return _mean(loss, (1 + np.tanh(logits / 2)) / 2 - targets)


def mean_squared_error(output: np.ndarray, target: np.ndarray) -> LossAndGradient:
    """Mean of (output - target)^2 over all elements, any shape; derivative 2 (output - target)."""
    difference = output - target.astype(output.dtype)
    return _mean(difference * difference, 2 * difference)


def smooth_l1(output: np.ndarray, target: np.ndarray, beta: float = 1.0) -> LossAndGradient:
    """Squared for small errors, linear for large ones, so that outliers do not dominate.

    With d = output - target: d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; the derivative
    is d / beta, clipped to [-1, 1]. The mean is over all elements. Source: R. Girshick, Fast
    R-CNN (ICCV 2015), equation 3, for beta = 1.
    """
    difference = output - target.astype(output.dtype)
    slope = np.clip(difference / output.dtype.type(beta), -1, 1)
    # Both cases at once: slope * (d - slope * beta / 2).
    return _mean(slope * (difference - slope * output.dtype.type(beta / 2)), slope)


def _mean(loss: np.ndarray, dy: np.ndarray) -> LossAndGradient:
    """Divide sums over the elements of ``loss`` by their number, added up in double precision."""
    count = max(loss.size, 1)
    dy /= dy.dtype.type(count)
    return float(loss.sum(dtype=np.float64) / count), dy
