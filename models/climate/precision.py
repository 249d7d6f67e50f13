"""How good are the boxes that were found? Average precision of each class, and their mean.

A found box is right (a true positive) if it overlaps a labelled one of its class by ``iou`` or
more, and each labelled box makes only one found box right. Going down the list of all frames'
boxes, the best score first, precision is the share of boxes that are right so far, recall the
share of labelled boxes that are found so far; and average precision is the area under the curve
of the one over the other.

Source: the rules are those of the COCO detection challenge (T.-Y. Lin et al., Microsoft COCO,
ECCV 2014), as its public evaluation computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .boxes import Detections, overlap, used
from .channels import CLASSES

RECALLS = np.linspace(0, 1, 101)  # where COCO reads the curve


class Curve(NamedTuple):
    """Precision and recall of one class, from the best score down."""

    average: float
    """Average precision; NaN of a class without a labelled box."""
    recall: np.ndarray
    """(K,) for the K boxes found of this class: after each of them."""
    precision: np.ndarray
    """(K,)."""
    scores: np.ndarray
    """(K,), falling."""
    truths: int
    """Number of labelled boxes."""


def average_precision(
    detections: Sequence[Detections], truths: Sequence[np.ndarray], iou: float
) -> tuple[Curve, ...]:
    """Compare what was found with what is labelled: a curve for each of ``channels.CLASSES``.

    Parameters
    ----------
    detections : sequence of Detections
        One for each frame.
    truths : sequence of np.ndarray, shape (M, 5)
        The same frames' labelled boxes; unused rows are left out.
    iou : float
        Least intersection over union at which a found box is right: 0.1 and 0.5 are customary
        for storms, whose edges nobody knows exactly.
    """
    frames = [(found, used(true)) for found, true in zip(detections, truths, strict=True)]
    return tuple(_curve(frames, kind, iou) for kind in range(len(CLASSES)))


def mean_average_precision(curves: Sequence[Curve]) -> float:
    """The mean (mAP) over the classes that have labelled boxes; NaN if none has."""
    averages = [curve.average for curve in curves if curve.truths]
    return float(np.mean(averages)) if averages else float("nan")


def _curve(frames: list[tuple[Detections, np.ndarray]], kind: int, iou: float) -> Curve:
    """Follow one class through all frames."""
    scores, right, count = [np.zeros(0)], [np.zeros(0, np.bool_)], 0
    for found, true in frames:
        found, true = found.at(found.classes == kind), true[true[:, 4] == kind]
        found = found.at(np.argsort(-found.scores, kind="stable"))
        scores.append(found.scores)
        right.append(matched(found.boxes, true, iou))
        count += len(true)
    all_scores = np.concatenate(scores)
    order = np.argsort(-all_scores, kind="stable")
    hits = np.cumsum(np.concatenate(right)[order])
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / count if count else np.full(len(hits), np.nan)
    average = area_under(recall, precision) if count else float("nan")
    return Curve(average, recall, precision, all_scores[order], count)


def matched(boxes: np.ndarray, truths: np.ndarray, iou: float) -> np.ndarray:
    """Which of a frame's boxes (K, 4), best score first, are right: (K,) of bool.

    Each takes the labelled box (M, 5) that it overlaps most among those not yet taken; of equals
    the last.
    """
    right = np.zeros(len(boxes), np.bool_)
    if not len(truths):
        return right
    overlaps = overlap(boxes, truths)
    for place, row in enumerate(overlaps):
        best = len(row) - 1 - int(np.argmax(row[::-1]))
        if row[best] >= iou:
            right[place] = True
            overlaps[:, best] = -1  # taken
    return right


def area_under(recall: np.ndarray, precision: np.ndarray) -> float:
    """The mean over ``RECALLS`` of the best precision at that recall or more, 0 where none is."""
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, RECALLS, side="left")].mean())
