"""What a wrong gradient looks like: the mistakes that are commonly made, and how to tell them.

Each function below knows one mistake. It looks at the gradient that backward computed and at
the slopes that were measured, and answers with a sentence if they fit, else with None. Most of
them undo the mistake in what backward computed and see whether it is right then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

AGREEMENT = 1e-5  # relative to the root mean square of the slopes


@dataclass(frozen=True)
class Evidence:
    """All that is known about a tensor whose gradient is wrong.

    Attributes
    ----------
    gradient : np.ndarray, shape (...)
        What backward says.
    elements : np.ndarray of int, shape (M,)
        Which numbers of the flattened tensor were measured.
    by_sample : np.ndarray, shape (M, N)
        Their slopes, each sample's share by itself.
    values : np.ndarray, shape (...)
        The tensor itself.
    noise : float
        Slopes below this may be rounding errors.
    counts : dict of str to int
        What sums may run over, or means be divided by: the batch size and the like.
    """

    gradient: np.ndarray
    elements: np.ndarray
    by_sample: np.ndarray
    values: np.ndarray
    noise: float
    counts: dict[str, int]

    @property
    def slopes(self) -> np.ndarray:
        """What was measured, shape (M,)."""
        return self.by_sample.sum(axis=1)

    @property
    def claimed(self) -> np.ndarray:
        """What backward says about the same numbers, shape (M,)."""
        return self.gradient.flat[self.elements]

    @property
    def places(self) -> np.ndarray:
        """Where they lie in the tensor, shape (M, axes)."""
        return np.stack(np.unravel_index(self.elements, self.gradient.shape), axis=1)

    def zero(self, slopes: np.ndarray) -> np.ndarray:
        """Which of the slopes are not told from zero."""
        scale = np.sqrt(np.mean(self.slopes**2))
        return np.abs(slopes) <= AGREEMENT * scale + self.noise

    def explains(self, candidate: np.ndarray) -> bool:
        """Whether a gradient (M,) would have been right."""
        return bool(self.zero(candidate - self.slopes).all())


def likely_cause(evidence: Evidence) -> str:
    """The first mistake that fits, the most particular ones being asked first."""
    if evidence.zero(evidence.claimed - evidence.slopes).all():
        return "the error is too small to tell its kind"
    answers = (mistake(evidence) for mistake in MISTAKES)
    unknown = "it fits none of the common mistakes; begin with the number below"
    return next((answer for answer in answers if answer), unknown)


def never_computed(evidence: Evidence) -> str | None:
    """Recognise a gradient that is zero throughout."""
    if np.any(evidence.gradient):
        return None
    return "zero everywhere: it is never computed"


def without_effect(evidence: Evidence) -> str | None:
    """Recognise a gradient by something that forward does not use."""
    if np.abs(evidence.slopes).max() > evidence.noise:
        return None
    return "the output does not depend on this tensor: forward leaves it out"


def constant_factor(evidence: Evidence) -> str | None:
    """Recognise gradients that are all too large, or too small, by one factor."""
    claimed, slopes = evidence.claimed, evidence.slopes
    factor = float(claimed @ slopes / (slopes @ slopes))
    if len(slopes) < 2 or factor == 0 or not evidence.explains(claimed / factor):
        return None
    if np.isclose(factor, -1, rtol=AGREEMENT):
        return "the sign is wrong"
    named = {name: count for name, count in evidence.counts.items() if count > 1}
    sums = [name for name, count in named.items() if np.isclose(factor, count, AGREEMENT)]
    means = [name for name, count in named.items() if np.isclose(factor, 1 / count, AGREEMENT)]
    if sums:
        return f"{factor:.6g} times too large, which is {sums[0]}: a sum stands where a mean should"
    if means:
        return f"{1 / factor:.6g} times too small, which is {means[0]}: divided once too often"
    if 0 < factor < 1:
        return f"{1 / factor:.6g} times too small everywhere: a constant factor is missing"
    return f"{factor:.6g} times the right one everywhere: a constant factor too many"


def transposed(evidence: Evidence) -> str | None:
    """Recognise numbers that were written with two axes in the wrong order."""
    shape = evidence.gradient.shape
    for one, other in combinations(range(len(shape)), 2):
        wrong = list(shape)
        wrong[one], wrong[other] = shape[other], shape[one]
        right = evidence.gradient.reshape(wrong).swapaxes(one, other)
        if evidence.explains(right.flat[evidence.elements]):
            return f"axes {one} and {other} are swapped: a transpose is missing, or one too many"
    return None


def flipped(evidence: Evidence) -> str | None:
    """Recognise a kernel that runs backwards."""
    axes = range(evidence.gradient.ndim)
    for count in axes:
        for some in combinations(axes, count + 1):
            if evidence.explains(np.flip(evidence.gradient, some).flat[evidence.elements]):
                named = " and ".join(map(str, some))
                return f"flipped along axis {named}: convolution against cross-correlation"
    return None


def shifted(evidence: Evidence) -> str | None:
    """Recognise numbers that lie next to where they belong; at the edge, any are accepted."""
    shape = np.array(evidence.gradient.shape)
    for shift in sorted(product((-1, 0, 1), repeat=len(shape)), key=np.count_nonzero):
        places = evidence.places + shift
        inside = ((places >= 0) & (places < shape)).all(axis=1)
        slopes, found = evidence.slopes[inside], evidence.gradient[tuple(places[inside].T)]
        if evidence.zero(slopes).all() or len(slopes) < 2:
            continue
        if evidence.zero(found - slopes).all():
            axes = " and ".join(str(axis) for axis in np.flatnonzero(shift))
            return f"shifted by one along axis {axes}: the padding, or an index, is off by one"
    return None


def single_sample(evidence: Evidence) -> str | None:
    """Recognise a batch of which one sample was used."""
    samples = evidence.by_sample.shape[1]
    for sample in range(samples if samples > 1 else 0):
        share = evidence.by_sample[:, sample]
        if evidence.zero(evidence.claimed - share).all() and not evidence.zero(share).all():
            return f"only sample {sample} of the batch counts: the others are left out"
    return None


def truncated(evidence: Evidence) -> str | None:
    """Recognise a gradient that ends too early along an axis."""
    for axis, size in enumerate(evidence.gradient.shape):
        others = tuple(other for other in range(evidence.gradient.ndim) if other != axis)
        end = int(np.flatnonzero(np.any(evidence.gradient, axis=others))[-1]) + 1
        beyond = evidence.places[:, axis] >= end
        if end < size and not evidence.zero(evidence.slopes[beyond]).all():
            return f"zero from index {end} of axis {axis} on: a stride, or the rest, is left out"
    return None


def wrong_mask(evidence: Evidence) -> str | None:
    """Recognise numbers that should have been stopped, or should not."""
    wrong = ~evidence.zero(evidence.claimed - evidence.slopes)
    missing, extra = wrong & evidence.zero(evidence.claimed), wrong & evidence.zero(evidence.slopes)
    if not (missing | extra)[wrong].all():
        return None
    if missing.any() and extra.any():
        return "zero in the wrong places: a mask is made from the wrong array"
    if extra.any():
        return "not zero where nothing should arrive: a mask is missing, or lets too much through"
    return "zero where something should arrive: a mask, or a loop, leaves numbers out"


def one_hot(evidence: Evidence) -> str | None:
    """Recognise probabilities from which the right answer was not subtracted."""
    wrong = ~evidence.zero(evidence.claimed - evidence.slopes)
    shape = evidence.gradient.shape
    if len(shape) != 2 or min(shape) < 2 or len(wrong) != evidence.gradient.size:
        return None
    if (np.bincount(evidence.places[wrong, 0], minlength=shape[0]) != 1).any():
        return None
    return "one number of each sample is wrong: the one-hot target is not subtracted"


def moments(evidence: Evidence) -> str | None:
    """Recognise a normalisation that takes the mean or variance of its batch for constants."""
    excess = evidence.claimed - evidence.slopes
    x, channel = evidence.values.flat[evidence.elements], evidence.places[:, -1]
    rest = {"mean": excess.copy(), "variance": excess.copy()}
    for c in np.unique(channel):
        here = channel == c
        if here.sum() < 4:
            return None
        line = np.stack([np.ones(here.sum()), x[here]], axis=1)
        rest["mean"][here] -= excess[here].mean()
        rest["variance"][here] -= line @ np.linalg.lstsq(line, excess[here], rcond=None)[0]
    for moment, left in rest.items():
        if evidence.zero(left).all():
            kind = "a constant" if moment == "mean" else "a linear function of the values"
            return f"off by {kind} in each channel: the path through the {moment} is missing"
    return None


def single_place(evidence: Evidence) -> str | None:
    """Recognise an error in one row, column, channel or sample."""
    wrong = ~evidence.zero(evidence.claimed - evidence.slopes)
    for axis, size in enumerate(evidence.gradient.shape):
        where = np.unique(evidence.places[wrong, axis])
        elsewhere = evidence.places[~wrong, axis]
        if size > 1 and len(where) == 1 and len(elsewhere):
            return f"wrong only at index {where[0]} of axis {axis}"
    return None


MISTAKES: tuple[Callable[[Evidence], str | None], ...] = (
    never_computed,
    without_effect,
    constant_factor,
    transposed,
    flipped,
    shifted,
    single_sample,
    truncated,
    one_hot,
    wrong_mask,
    moments,
    single_place,
)
