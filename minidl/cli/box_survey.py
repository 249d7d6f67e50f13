"""How many boxes of each class a data set has, and what is wrong with them."""

from __future__ import annotations

from collections import Counter

import h5py
import numpy as np

BLOCK = 2**20  # numbers read at a time
UNUSED = -1  # every number of a row without a box
OUTSIDE = "not wholly inside the images"
HOLLOW = "without height or width (ymin >= ymax or xmin >= xmax)"


class BoxSurvey:
    """What the boxes of a data set are like, all of them.

    Parameters
    ----------
    dataset : h5py.Dataset, shape (samples, n, 5)
        Rows of ymin, xmin, ymax, xmax in pixels and the class; rows of -1 are not used.
    frame : (int, int) or None
        Height and width of the images in pixels, where known.

    Attributes
    ----------
    name : str
        The data set's path in the file.
    classes : Counter of int
        How many boxes there are of each class.
    boxes, empty, most : int
        How many boxes; how many samples without any; how many in the fullest sample.
    faults : Counter of str
        How many boxes are wrong, by what is wrong with them.
    """

    def __init__(self, dataset: h5py.Dataset, frame: tuple[int, int] | None) -> None:
        self.dataset, self.name = dataset, dataset.name.strip("/")
        self.boxes, self.empty, self.most = 0, 0, 0
        self.classes, self.faults = Counter[int](), Counter[str]()
        self._first: dict[str, int] = {}  # the first sample with each fault
        step = max(1, BLOCK // (dataset.size // len(dataset)))
        for start in range(0, len(dataset), step):
            rows = dataset[start : start + step]
            present = is_used(rows)
            counts = present.sum(axis=1)
            self.boxes += int(counts.sum())
            self.empty += int((counts == 0).sum())
            self.most = max(self.most, int(counts.max()))
            self.classes.update(rows[present][:, 4].astype(np.int64).tolist())
            low, high = rows[..., :2], rows[..., 2:4]
            self._note(HOLLOW, present & ~(low < high).all(axis=2), start)
            if frame is not None:
                corners = rows[..., :4].reshape(*rows.shape[:2], 2, 2)  # (..., low or high, y or x)
                beyond = ((corners < 0) | (corners > frame)).any(axis=(2, 3))
                self._note(OUTSIDE, present & beyond, start)

    def _note(self, fault: str, wrong: np.ndarray, start: int) -> None:
        """Count wrong boxes, a mask (samples, n) of which the first sample is ``start``."""
        if wrong.any():
            self.faults[fault] += int(wrong.sum())
            self._first.setdefault(fault, start + int(wrong.any(axis=1).argmax()))

    def problems(self) -> list[str]:
        """Say what is wrong with the boxes, and where first."""
        return [
            f"{self.name}: {count:,} of {self.boxes:,} {fault}, first in sample "
            f"{self._first[fault]}; correct or drop them"
            for fault, count in self.faults.items()
        ]


def is_used(rows: np.ndarray) -> np.ndarray:
    """Which rows hold a box: numbers, and not all -1. Shapes: (..., 5) -> (...) of bool."""
    return np.isfinite(rows).all(axis=-1) & (rows != UNUSED).any(axis=-1)
