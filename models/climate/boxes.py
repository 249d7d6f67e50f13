"""Boxes around storms: cut with the frame, dealt to the network's cells and taken back, compared.

Wherever there are two numbers, the row's comes first: y before x, height before width. A box is a
row (ymin, xmin, ymax, xmax, class) in pixels, or the first four of these; ymin and ymax are edges
of pixels, so that a box of the single pixel in row 3 has ymin = 3 and ymax = 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .network import CELL

LEAST_LEFT = 0.25  # of a box's area: what is left of it in a crop may no longer show the storm
CONFIDENT = 0.8  # the paper keeps boxes of a larger confidence


class Grid(NamedTuple):
    """What the network should say of each of G x G' cells; zeros where no storm has its centre.

    Any number of axes may come before, such as the batch's.
    """

    object: np.ndarray
    """(..., G, G') of bool: whether the centre of a box is in the cell."""
    classes: np.ndarray
    """(..., G, G') of int: the box's class."""
    position: np.ndarray
    """(..., G, G', 2): where in the cell the centre is, y and x, 0 to 1."""
    size: np.ndarray
    """(..., G, G', 2): logarithm to the base 2 of height and width in cells."""


class Detections(NamedTuple):
    """Boxes that were found in a frame, in any order."""

    boxes: np.ndarray
    """(K, 4): ymin, xmin, ymax, xmax in pixels."""
    classes: np.ndarray
    """(K,) of int."""
    scores: np.ndarray
    """(K,): how sure the finder is of each; only their order matters."""

    def at(self, places: np.ndarray) -> Detections:
        """Some of them, by a mask or by their places."""
        return Detections(self.boxes[places], self.classes[places], self.scores[places])


def solid(boxes: np.ndarray) -> np.ndarray:
    """Which boxes (K, 4) have a height and a width: (K,) of bool."""
    return np.logical_and(boxes[:, 2] > boxes[:, 0], boxes[:, 3] > boxes[:, 1])


def used(boxes: np.ndarray) -> np.ndarray:
    """The rows (M, 5) that hold a box. A row of -1 is not solid either."""
    return boxes[solid(boxes)]


def crop(boxes: np.ndarray, left: int, width: int) -> np.ndarray:
    """Boxes as they are in a crop of the frame: the columns from ``left`` on, ``width`` many.

    A box of which less than ``LEAST_LEFT`` is in there goes.

    Shapes: (M, 5) -> (K, 5), K <= M, in the same order; unused rows go.
    """
    boxes = used(boxes)
    cut = boxes.copy()
    cut[:, [1, 3]] = np.clip(boxes[:, [1, 3]] - left, 0, width)
    return cut[cut[:, 3] - cut[:, 1] >= LEAST_LEFT * (boxes[:, 3] - boxes[:, 1])]


def to_grid(boxes: np.ndarray, rows: int, columns: int) -> Grid:
    """Deal boxes to the cells that their centres are in.

    A cell has room for one; a later box takes the place of an earlier one, as in the code of
    ExtremeWeather (E. Racah et al., NIPS 2017). A centre on the frame's far edge belongs to the
    last cell.

    Parameters
    ----------
    boxes : np.ndarray, shape (M, 5)
        Unused rows are left out.
    rows, columns : int
        G and G', the number of cells.
    """
    boxes = used(boxes)
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:4].astype(np.float64)
    centre = (low + high) / 2 / CELL
    cell = np.minimum(centre.astype(int), (rows - 1, columns - 1))
    y, x = cell.T
    grid = Grid(
        np.zeros((rows, columns), np.bool_),
        np.zeros((rows, columns), np.int64),
        np.zeros((rows, columns, 2), np.float32),
        np.zeros((rows, columns, 2), np.float32),
    )
    # Where a cell comes twice, the last assignment stays.
    grid.object[y, x] = True
    grid.classes[y, x] = boxes[:, 4]
    grid.position[y, x] = centre - cell
    grid.size[y, x] = np.log2((high - low) / CELL)
    return grid


def from_grid(grid: Grid) -> np.ndarray:
    """Take the boxes of a frame (G, G') back from their cells, row by row: (K, 5)."""
    boxes = corners(grid.object, grid.position, grid.size)
    return np.column_stack([boxes, grid.classes[grid.object]])


def corners(cells: np.ndarray, position: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Corners (K, 4) in pixels of the boxes in those cells where the mask (G, G') is true."""
    centre = CELL * (np.argwhere(cells) + position[cells].astype(np.float64))
    half = CELL * np.exp2(size[cells].astype(np.float64)) / 2
    return np.hstack([centre - half, centre + half])


def decode(outputs: tuple[np.ndarray, ...], threshold: float = CONFIDENT) -> list[Detections]:
    """Read the boxes of every frame from the network's outputs, cut at the frame's edges.

    A cell's box is kept if the probability of a storm is above the threshold. Its class is the
    most probable one, and its score the probability of a storm of that class: P(storm) times
    P(class, given a storm). Source: J. Redmon et al., You Only Look Once (CVPR 2016), equation 1.
    """
    confidence, classes, position, size = outputs[:4]
    frame = CELL * np.array(confidence.shape[1:3] * 2)
    storm, kind = softmax(confidence)[..., 1], softmax(classes)
    found = []
    for sample, cells in enumerate(storm > threshold):
        boxes = corners(cells, position[sample], size[sample])
        detections = Detections(
            np.clip(boxes, 0, frame),
            kind[sample][cells].argmax(axis=1),
            storm[sample][cells] * kind[sample][cells].max(axis=1),
        )
        # A centre may be predicted so far outside that nothing is left.
        found.append(detections.at(solid(detections.boxes)))
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, in double precision."""
    z = logits - logits.max(axis=-1, keepdims=True)
    p = np.exp(z, dtype=np.float64)
    return p / p.sum(axis=-1, keepdims=True)


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (IoU) of every box of one set with every box of the other.

    Shapes: (A, 4) and (B, 4) -> (A, B), 0 to 1.
    """
    low = np.maximum(a[:, np.newaxis, :2], b[:, :2])
    high = np.minimum(a[:, np.newaxis, 2:4], b[:, 2:4])
    shared = np.maximum(high - low, 0).prod(axis=2)
    union = area(a)[:, np.newaxis] + area(b) - shared
    return shared / union


def area(boxes: np.ndarray) -> np.ndarray:
    """Square pixels, (K, 4) -> (K,)."""
    return (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)


def suppress(detections: Detections, iou: float) -> Detections:
    """Non-maximum suppression: of boxes around the same storm, keep the one of the best score.

    From the best score down, a box goes if it overlaps one that stays, of its own class, by more
    than ``iou``. What stays comes in the order of scores, best first; of equal scores the first
    counts as the better.
    """
    ranked = detections.at(np.argsort(-detections.scores, kind="stable"))
    rivals = overlap(ranked.boxes, ranked.boxes) > iou
    rivals &= ranked.classes[:, np.newaxis] == ranked.classes
    stays = np.ones(len(ranked.boxes), np.bool_)
    for place in range(len(stays)):
        if stays[place]:
            stays[place + 1 :] &= ~rivals[place, place + 1 :]
    return ranked.at(stays)
