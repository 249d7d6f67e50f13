"""How well is signal told from background? The network against the physicist's cuts.

Two figures matter: the efficiency, the share of signal that is kept, and the background rate, the
share of background that is kept with it, both weighted as nature would mix the events. The
paper's comparison: at the background rate of the cuts, how much signal does the network keep?
Source: the paper, section VII (science results); its figures: 72 % against 42 %, 1.7 times as
many.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PAPER = {"cuts": 0.42, "network": 0.72, "ratio": 1.7, "background_rate": 2e-4}
RESAMPLES = 200  # enough to know an error to 5 %


def roc(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Background rate and efficiency for every threshold, from "keep nothing" to "keep all".

    Parameters
    ----------
    scores, labels, weights : np.ndarray, shape (events,)
        The higher the score, the more like signal; labels are 1 for signal and 0 for background.

    Returns
    -------
    background_rate, efficiency : np.ndarray, shape (different scores + 1,)
        Both rise from 0 to 1. Events of equal score are kept or dropped together.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_its_score = np.append(np.diff(scores[order]) != 0, True)

    def kept(label: int) -> np.ndarray:
        total = np.cumsum(np.where(labels == label, weights, 0.0)[order])
        return np.append(0.0, total[last_of_its_score] / total[-1])

    return kept(0), kept(1)


def area(background_rate: np.ndarray, efficiency: np.ndarray) -> float:
    """Area under the curve: the probability that signal scores higher than background."""
    return float(np.trapezoid(efficiency, background_rate))


def efficiency_at(rate: float, background_rate: np.ndarray, efficiency: np.ndarray) -> float:
    """The largest efficiency whose background rate is at most ``rate``."""
    return float(efficiency[np.searchsorted(background_rate, rate, side="right") - 1])


def working_point(
    selected: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """Background rate and efficiency of a selection that keeps the ``selected`` events."""
    return tuple(
        float(weights[(labels == label) & selected].sum() / weights[labels == label].sum())
        for label in (0, 1)
    )  # type: ignore[return-value]


def compare(
    scores: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    selected: np.ndarray,
    generator: np.random.Generator,
) -> dict[str, Any]:
    """Compare the network with a selection, at the selection's background rate.

    Statistical errors are those of a bootstrap: every event is taken a random number of times,
    Poisson-distributed with mean 1, for the network and the selection alike, so that what moves
    both cancels in their ratio. Source: B. Efron and R. Tibshirani, An Introduction to the
    Bootstrap (1993), chapter 6.

    Returns
    -------
    dict
        ``background_rate``, ``cuts`` and ``network`` (efficiencies), ``ratio``, each as
        [value, error]; ``background_events``: how many, unweighted, the selection keeps.
    """

    def figures(weights: np.ndarray) -> list[float]:
        rate, cuts = working_point(selected, labels, weights)
        network = efficiency_at(rate, *roc(scores, labels, weights))
        return [rate, cuts, network, network / cuts if cuts else np.nan]

    resampled = np.array(
        [figures(weights * generator.poisson(1.0, len(weights))) for _ in range(RESAMPLES)]
    )
    names = ("background_rate", "cuts", "network", "ratio")
    values = zip(names, figures(weights), np.nanstd(resampled, axis=0), strict=True)
    return {
        **{name: [float(value), float(error)] for name, value, error in values},
        "background_events": int((selected & (labels == 0)).sum()),
    }
