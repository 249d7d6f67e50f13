"""The loss of the climate problem: are storms where the network says, and are these the fields?

Six terms. Each of the first five is a sum over cells, a labelled sample's on average; the weights
are those of the ExtremeWeather code (E. Racah et al., NIPS 2017), which is by the paper's
co-author. The paper's own are not known. Frames that nobody has labelled teach by the sixth term
alone: that is what makes the learning semi-supervised.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.losses import LossAndGradient, Sum, smooth_l1, softmax_cross_entropy

OBJECT = 1.0  # -log P(storm) of a cell with a storm
EMPTY = 0.5  # -log P(no storm) of a cell without; there are a hundred times as many
CLASS = 1.0  # -log P(the storm's class)
POSITION = 5.0  # smooth L1 of the centre, y and x, in cells
SIZE = 7.0  # smooth L1 of log2 of height and width in cells
RECONSTRUCTION = 10.0  # mean squared error of the fields, in units of their normalisation


class Target(NamedTuple):
    """What a batch's outputs are compared with: a ``boxes.Grid`` of every frame, and the frames."""

    object: np.ndarray
    """(N, G, G') of bool; this and the next three as in ``boxes.Grid``."""
    classes: np.ndarray
    """(N, G, G') of int."""
    position: np.ndarray
    """(N, G, G', 2)."""
    size: np.ndarray
    """(N, G, G', 2)."""
    labelled: np.ndarray
    """(N,) of bool: whether the cells above mean anything."""
    fields: np.ndarray
    """(N, H, W, C): the network's input itself."""
    missing: np.ndarray | None = None
    """(N, H, W, C) of bool: which pixels had no value; None if all had."""


def loss(
    output: tuple[np.ndarray, ...], target: Target, *, reconstruction: float = RECONSTRUCTION
) -> tuple[Sum, tuple[np.ndarray, ...]]:
    """Add up the six terms, each a mean over the batch's samples.

    Parameters
    ----------
    output : tuple of np.ndarray
        Of ``network``: confidence, classes, position, size, reconstruction.
    target : Target
    reconstruction : float
        Weight of the reconstruction's error; 0 learns from the labels alone.

    Returns
    -------
    value : Sum
        Its ``terms``, with their weights: object, empty, class, position, size, reconstruction.
    dy : tuple of np.ndarray
        The derivative by each output.
    """
    confidence, classes, position, size, drawn = output
    labelled = target.labelled[:, np.newaxis, np.newaxis]
    storm, empty = labelled & target.object, labelled & ~target.object
    dconfidence, dclasses, dposition, dsize = (np.zeros_like(part) for part in output[:4])
    N = max(len(drawn), 1)
    redrawn, ddrawn = reconstruction_error(drawn, target.fields, target.missing, reconstruction)
    terms = {
        "object": surprise(confidence, target.object, storm, OBJECT / N, dconfidence),
        "empty": surprise(confidence, target.object, empty, EMPTY / N, dconfidence),
        "class": surprise(classes, target.classes, storm, CLASS / N, dclasses),
        "position": distance(position, target.position, storm, POSITION / N, dposition),
        "size": distance(size, target.size, storm, SIZE / N, dsize),
        "reconstruction": redrawn,
    }
    return Sum(terms), (dconfidence, dclasses, dposition, dsize, ddrawn)


def surprise(
    logits: np.ndarray,
    labels: np.ndarray,
    cells: np.ndarray,
    weight: float,
    dlogits: np.ndarray,
) -> float:
    """Sum of -log P(label) over some cells, times ``weight``; its derivative goes to ``dlogits``.

    Shapes: logits and dlogits (N, G, G', K), labels and the mask ``cells`` (N, G, G').
    """
    mean, slope = softmax_cross_entropy(logits[cells], labels[cells].astype(np.int64))
    weight *= len(slope)
    dlogits[cells] = weight * slope
    return weight * mean


def distance(
    output: np.ndarray, wanted: np.ndarray, cells: np.ndarray, weight: float, doutput: np.ndarray
) -> float:
    """Sum of the smooth L1 distance over some cells and both numbers of each, times ``weight``.

    Its derivative goes to ``doutput``. Shapes: (N, G, G', 2), and the mask ``cells`` (N, G, G').
    """
    mean, slope = smooth_l1(output[cells], wanted[cells])
    weight *= slope.size
    doutput[cells] = weight * slope
    return weight * mean


def reconstruction_error(
    drawn: np.ndarray, fields: np.ndarray, missing: np.ndarray | None, weight: float
) -> LossAndGradient:
    """Squared error, a mean over all pixels and channels, times ``weight``; and its derivative.

    A missing pixel counts as one that is drawn right. Shapes: (N, H, W, C).
    """
    if weight == 0:
        return 0.0, np.zeros_like(drawn)
    N, H, W, C = drawn.shape
    # These are the largest arrays of all: one more, and it becomes the derivative.
    error = drawn - fields
    if missing is not None:
        error[missing] = 0
    rows = error.reshape(N * H, W * C)
    squares = np.einsum("ij,ij->i", rows, rows).sum(dtype=np.float64)
    weight /= max(error.size, 1)
    error *= 2 * weight
    return float(weight * squares), error
