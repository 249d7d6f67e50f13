"""Semi-supervised: where on a map of the weather are storms, of which kind, how large?

The paper's section II: frames of 768 x 768 x 16 from a climate model, with boxes around tropical
cyclones and three more classes of storms. Boxes are dear and often missing; so the network also
learns to draw each frame again from its own code of it, for which no box is needed.
This file is the model as ``minidl/model.py`` describes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data import Dataset, Samples, check_images
from minidl.errors import UserError
from minidl.hdf5 import attributes

from . import evaluation
from .boxes import CONFIDENT, Detections, crop, decode, suppress, to_grid, used
from .channels import CHANNELS, CLASSES, UNUSED
from .losses import RECONSTRUCTION, Target, loss
from .network import CELL, network
from .normalisation import measure, normalise
from .published import PUBLISHED

__all__ = [
    "DEFAULTS",
    "FIELDS",
    "GAPS",
    "OPTIONS",
    "PUBLISHED",
    "SHAPE",
    "SMALL_SHAPE",
    "evaluate",
    "loss",
    "measure",
    "network",
    "prepare",
    "random_target",
    "report",
    "shape",
]

FIELDS = ("images", "{labels}")
GAPS = ("images",)
SHAPE = (768, 768, len(CHANNELS))
SMALL_SHAPE = (64, 64, len(CHANNELS))

# The paper's solver. The first gradients, sums over many cells, are long: steps of ten times this
# rate leave most of the ReLUs silent for good.
DEFAULTS = {"batch_size": 1, "optimizer": "sgd", "learning_rate": 1e-4, "momentum": 0.9}

OPTIONS = {
    "preset": "public",  # whose filters: see ``network.PRESETS``
    "labels": "boxes",  # the array of boxes that is learnt from; "heuristic" in synthetic files
    "labelled": 1.0,  # share of the frames whose boxes are used
    "reconstruction": RECONSTRUCTION,  # its weight in the loss
}

GOLDEN_RATIO = (5**0.5 - 1) / 2
LEAST_SCORE = 0.05  # below, no box changes a precision that anybody looks at
MAPS = 4  # drawn of an evaluation
SAME_STORM = 0.3  # overlap of two boxes of a class that are taken for one storm


def shape(
    dataset: Dataset,
    *,
    labels: str = "boxes",
    labelled: float = 1.0,
    reconstruction: float = RECONSTRUCTION,
) -> tuple[int, int, int]:
    """Check frames and boxes; return (H, W, C) of the crops that are trained on.

    Frames that are wider than high are cropped to squares, as the paper's were.
    """
    if not 0 <= labelled <= 1:
        raise UserError(f"--labelled {labelled}: expected a share of the frames, from 0 to 1")
    if not 0 <= reconstruction < np.inf:
        raise UserError(f"--reconstruction {reconstruction}: expected a weight, 0 or more")
    height, width, channels = check_images(dataset, "images", len(CHANNELS))
    if height % CELL or width % CELL:
        raise UserError(
            f"{dataset.paths[0]}: frames of {height} x {width} pixels; expected multiples of "
            f"{CELL}, the size of the network's cells: crop them before"
        )
    check_boxes(dataset, labels, height, width)
    return height, min(height, width), channels


def check_boxes(dataset: Dataset, field: str, height: int, width: int) -> None:
    """Raise ``UserError`` unless every row is a box inside its frame, or unused."""
    form = dataset.shape(field)
    if len(form) != 2 or form[1] != 5:
        raise UserError(
            f"{dataset.paths[0]}: {field!r} has shape {form} a frame; expected (boxes, 5): ymin, "
            "xmin, ymax, xmax, class"
        )
    boxes = dataset.column(field)
    ymin, xmin, ymax, xmax, kind = np.moveaxis(boxes, -1, 0)
    problems = {
        "is not of finite numbers": ~np.isfinite(boxes).all(axis=-1),
        f"reaches out of the frame of {height} x {width} pixels": (ymin < 0)
        | (xmin < 0)
        | (ymax > height)
        | (xmax > width),
        "has its minimum above its maximum": (ymin > ymax) | (xmin > xmax),
        f"is of no known class; expected 0 to {len(CLASSES) - 1}": (kind < 0)
        | (kind >= len(CLASSES))
        | (kind != np.floor(kind)),
    }
    there = (boxes != UNUSED).any(axis=-1)
    for problem, wrong in problems.items():
        for sample, row in np.argwhere(there & wrong)[:1]:
            path, place = dataset.locate(int(sample))
            raise UserError(
                f"{path}: {field!r}, frame {place}, row {row}: the box "
                f"{boxes[sample, row].tolist()} (ymin, xmin, ymax, xmax, class) {problem}; rows "
                f"without a box are {UNUSED} throughout"
            )


def prepare(
    samples: Samples,
    chances: np.ndarray | None,
    *,
    mean: list[float],
    deviation: list[float],
    labels: str = "boxes",
    labelled: float = 1.0,
) -> tuple[np.ndarray, Target]:
    """Normalise frames and deal their boxes to cells; for training, take a square of each.

    Which square is left to chance. Without chances a frame comes whole: the network takes any
    size, and no storm is to be cut. Which frames keep their labels depends on nothing but their
    number: evenly spread, and those of a smaller share among those of a larger one.

    Shapes: images (N, C, H, W) -> x (N, H, W', C); boxes (N, M, 5).
    """
    images, boxes = samples["images"], list(samples[labels])
    kept = np.ones(len(images), np.bool_)
    if chances is not None:
        side = min(images.shape[2:])
        lefts = (chances[:, 0] * (images.shape[3] - side + 1)).astype(int)
        boxes = [crop(some, left, side) for some, left in zip(boxes, lefts, strict=True)]
        if images.shape[3] > side:
            cut = np.empty((*images.shape[:3], side), images.dtype)
            for square, frame, left in zip(cut, images, lefts, strict=True):
                square[...] = frame[..., left : left + side]
            images = cut
        kept = samples["index"] * GOLDEN_RATIO % 1 < labelled
    x, missing = normalise(images, mean, deviation)
    rows, columns = x.shape[1] // CELL, x.shape[2] // CELL
    # A batch may be empty; a grid of no boxes is then there to say what the arrays are like.
    grids = [to_grid(some, rows, columns) for some in [*boxes, np.empty((0, 5))]]
    storms, *said = (np.stack(part)[:-1] for part in zip(*grids, strict=True))
    classes, position, size = said
    return x, Target(storms, classes, position, size, kept, x, missing)


def random_target(output: tuple[np.ndarray, ...], generator: np.random.Generator) -> Target:
    """Draw boxes, labels for some samples, and frames, for a batch of such outputs."""
    confidence, classes, position, size, drawn = output
    cells = confidence.shape[:-1]
    return Target(
        object=generator.random(cells) < 0.3,
        classes=generator.integers(classes.shape[-1], size=cells),
        position=generator.random(position.shape),
        size=generator.standard_normal(size.shape),
        labelled=np.arange(len(drawn)) % 3 < 2,
        fields=generator.standard_normal(drawn.shape, np.float32).astype(drawn.dtype),
    )


def evaluate(
    batches: Iterator[tuple[tuple[np.ndarray, ...], Target]],
    dataset: Dataset,
    folder: Path,
    *,
    mean: list[float],
    deviation: list[float],
) -> dict[str, Any]:
    """Compare the boxes found with ``boxes``; draw curves, maps and frames that were redrawn.

    Where files have the boxes of a ``heuristic`` too, these are judged beside the network's.

    Parameters
    ----------
    batches : iterator of (output, target)
    dataset : Dataset
    folder : Path
        Where ``curves.png``, ``storms.png`` and ``reconstruction.png`` go.
    """
    from . import pictures  # Matplotlib is slow to load, and training does not need it.

    found: list[Detections] = []
    drawn = None
    for output, _ in batches:
        found += [suppress(some, SAME_STORM) for some in decode(output, LEAST_SCORE)]
        if drawn is None and len(output[-1]):
            drawn = output[-1][0] * np.array(deviation, np.float32) + np.array(mean, np.float32)
    truths = list(dataset.column("boxes"))
    has = set.intersection(*(set(file) for file in dataset.files))
    rival = list(dataset.column("heuristic")) if "heuristic" in has else None
    synthetic = "synthetic" in str(attributes(dataset.files[0]).get("content")).lower()
    caption = "Synthetic weather" if synthetic else "Weather"
    curves = evaluation.curves(found, truths)
    rivals = None
    if rival is not None:
        rivals = evaluation.curves([evaluation.certain(boxes) for boxes in rival], truths)
    pictures.plot_curves(curves, folder / "curves.png", rivals, caption)
    maps = []
    for place in busiest(truths, MAPS):
        sure = found[place].at(found[place].scores > CONFIDENT)
        images = dataset.read(np.array([place]))["images"][0]
        maps.append(pictures.Map(images, truths[place], sure, f"frame {place}"))
    if maps:
        pictures.plot_maps(maps, folder / "storms.png", caption)
    if drawn is not None:
        first = dataset.read(np.array([0]))["images"][0]
        again = drawn.transpose(2, 0, 1)
        pictures.plot_reconstructions(first, again, folder / "reconstruction.png", caption)
    return evaluation.judge(found, truths, rival)


def busiest(truths: list[np.ndarray], count: int) -> list[int]:
    """The frames that have the most boxes, so many or all that have any, in their order."""
    boxes = np.array([len(used(some)) for some in truths])
    most = np.argsort(-boxes, kind="stable")[:count]
    return sorted(most[boxes[most] > 0].tolist())


def report(figures: dict[str, Any]) -> Iterator[str]:
    """Say the figures of ``evaluate`` in lines."""
    yield (
        f"{figures['samples']:,} frames, network of iteration {figures['iteration']}; "
        f"reconstruction's share of the loss: {figures['reconstruction']:.4f} of "
        f"{figures['loss']:.4f}"
    )
    yield from evaluation.report(figures)
    yield "Pictures: curves.png, storms.png, reconstruction.png, in the run's folder."
