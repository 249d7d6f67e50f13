"""How well are storms found? Average precision a class, for the network and for a rival.

The rival is the detector by thresholds (``heuristics``), where the files have its boxes: what the
climate field had before there were networks, judged by the same labels. It is as sure of one box
as of the next: it has a working point rather than a curve, and its average precision, of boxes
that are all of score 1, is taken in the order of the frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .boxes import CONFIDENT, Detections, used
from .channels import CLASSES
from .precision import Curve, average_precision, mean_average_precision

OVERLAPS = (0.1, 0.5)  # intersection over union at which a box is right: both are customary

TITLES = {"network": "network", "rival": "heuristic"}  # whoever finds boxes, in the report

Curves = dict[float, tuple[Curve, ...]]


def curves(found: Sequence[Detections], truths: Sequence[np.ndarray]) -> Curves:
    """Precision over recall of each class, for each of ``OVERLAPS``."""
    return {least: average_precision(found, truths, least) for least in OVERLAPS}


def certain(boxes: np.ndarray) -> Detections:
    """Boxes (M, 5) of a finder that is as sure of each: all of score 1."""
    boxes = used(boxes)
    return Detections(boxes[:, :4].astype(np.float64), boxes[:, 4].astype(int), np.ones(len(boxes)))


def judge(
    found: Sequence[Detections],
    truths: Sequence[np.ndarray],
    rival: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Compare the network's boxes, and the rival's if there is one, with the labels.

    Parameters
    ----------
    found : sequence of Detections
        The network's of every frame, down to small scores: recall is what they reach.
    truths, rival : sequence of np.ndarray, shape (M, 5)
        Boxes of the same frames; unused rows are left out.

    Returns
    -------
    dict
        ``truths``: labelled boxes of each class. ``network``, and ``rival`` if there is one: for
        each of ``OVERLAPS``, as text, ``average`` precision, ``precision`` and ``recall`` of each
        class, the latter two of the boxes with a score above the paper's 0.8; and ``mean``, the
        average precision's over classes. None is what cannot be said: of a class without
        labelled boxes, or precision where nothing is found.
    """
    judged = {"network": curves(found, truths)}
    if rival is not None:
        judged["rival"] = curves([certain(boxes) for boxes in rival], truths)
    first = judged["network"][OVERLAPS[0]]
    return {
        "truths": dict(zip(CLASSES, (curve.truths for curve in first), strict=True)),
        **{finder: summary(its) for finder, its in judged.items()},
    }


def summary(its: Curves) -> dict[str, Any]:
    """The figures of one finder, as ``judge`` returns them."""
    figures: dict[str, Any] = {}
    for least, classes in its.items():
        points = [working_point(curve) for curve in classes]
        figures[str(least)] = {
            "mean": sayable(mean_average_precision(classes)),
            "average": by_class([curve.average for curve in classes]),
            "recall": by_class([recall for recall, _ in points]),
            "precision": by_class([precision for _, precision in points]),
        }
    return figures


def working_point(curve: Curve) -> tuple[float, float]:
    """Recall and precision of the boxes that are surer than the paper's threshold."""
    kept = int(np.sum(curve.scores > CONFIDENT))
    if kept:
        return float(curve.recall[kept - 1]), float(curve.precision[kept - 1])
    return 0.0 if curve.truths else math.nan, math.nan


def by_class(values: Sequence[float]) -> dict[str, float | None]:
    """Values under their classes' names."""
    return {name: sayable(value) for name, value in zip(CLASSES, values, strict=True)}


def sayable(value: float) -> float | None:
    """A figure, or None in place of the NaN that JSON has no word for."""
    return None if math.isnan(value) else float(value)


def report(figures: dict[str, Any]) -> Iterator[str]:
    """Say the figures of ``judge`` in lines: a row a class, the mean over classes below."""
    finders = [finder for finder in TITLES if finder in figures]
    columns = [(finder, str(least)) for finder in finders for least in OVERLAPS]
    titles = "".join(f"{TITLES[finder]:>16}" for finder in finders)
    overlaps = "".join(f"IOU {least}".rjust(8) for _, least in columns)
    yield f"{'average precision':28}{titles}{f'network above {CONFIDENT}':>19}"
    yield f"{'class':21}{'boxes':>7}{overlaps}{'precision':>11}{'recall':>8}"
    for name, count in figures["truths"].items():
        averages = "".join(
            cell(figures[finder][least]["average"][name]) for finder, least in columns
        )
        point = figures["network"][str(OVERLAPS[0])]
        precision, recall = cell(point["precision"][name], 11), cell(point["recall"][name])
        yield f"{name:21}{count:7,}{averages}{precision}{recall}"
    means = "".join(cell(figures[finder][least]["mean"]) for finder, least in columns)
    yield f"{'mean (mAP)':21}{sum(figures['truths'].values()):7,}{means}"


def cell(value: float | None, width: int = 8) -> str:
    """A share as a cell of the table; a dash where there is none."""
    return f"{'-' if value is None else format(value, '.3f'):>{width}}"
