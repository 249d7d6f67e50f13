"""Supervised: is a collision event signal (gluino pairs) or background (QCD)?

The paper's section II: images of 224 x 224 x 3, the calorimeters' electromagnetic and hadronic
energy and the number of tracks, unrolled along the beam (eta) and around it (phi).
This file is the model as ``minidl/model.py`` describes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data import Dataset, Samples, check_images, check_labels
from minidl.losses import softmax_cross_entropy

from . import evaluation
from .network import network
from .published import PUBLISHED
from .selection import FEATURES, select

__all__ = [
    "DEFAULTS",
    "FIELDS",
    "PUBLISHED",
    "evaluate",
    "loss",
    "metrics",
    "network",
    "prepare",
    "report",
    "shape",
]

FIELDS = ("data", "label")
CHANNELS = 3
CLASSES = 2

DEFAULTS = {"batch_size": 8, "optimizer": "adam", "learning_rate": 1e-3, "momentum": 0.9}


def shape(dataset: Dataset) -> tuple[int, int, int]:
    """Check that these are images of three channels, of two classes; return (H, W, C)."""
    check_labels(dataset, "label", CLASSES)
    return check_images(dataset, "data", CHANNELS)


def prepare(samples: Samples, chances: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Compress energies to their logarithm; turn and mirror events, which changes no physics.

    The detector looks the same from every angle phi around the beam and from both of its ends:
    an image may be rolled along phi, and mirrored in phi and in eta.

    Shapes: data (N, C, eta, phi) -> x (N, eta, phi, C); label (N,).
    """
    x = np.log1p(np.maximum(samples["data"].transpose(0, 2, 3, 1), 0))
    if chances is not None:
        for image, (turn, mirror_eta, mirror_phi, *_) in zip(x, chances, strict=True):
            image[...] = np.roll(image, int(turn * image.shape[1]), axis=1)
            if mirror_eta < 0.5:
                image[...] = image[::-1].copy()
            if mirror_phi < 0.5:
                image[...] = image[:, ::-1].copy()
    return np.ascontiguousarray(x), samples["label"].astype(np.int64)


def loss(output: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Softmax cross-entropy of logits (N, 2) and labels (N,)."""
    return softmax_cross_entropy(output, target)


def metrics(output: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Share of events that are classified right."""
    return {"accuracy": float(np.mean(output.argmax(axis=1) == target)) if len(target) else 0.0}


def evaluate(
    batches: Iterator[tuple[np.ndarray, Any]], dataset: Dataset, folder: Path
) -> dict[str, Any]:
    """Compare the network with the physicist's cuts; draw the ROC curve and some events.

    Parameters
    ----------
    batches : iterator of (output of shape (N, 2), target)
        All events of the data set, in order.
    dataset : Dataset
        Files without ``weight`` are taken as unweighted; without the jets' features, the flag
        ``psr`` says who passes the cuts; without either, there is no comparison.
    folder : Path
        Where ``roc.png`` and ``events.png`` go.
    """
    from . import pictures  # Matplotlib is slow to load, and training does not need it.

    parts = [(output[:, 1] - output[:, 0]).astype(np.float64) for output, _ in batches]
    scores = np.concatenate(parts)
    labels = dataset.column("label")
    has = set.intersection(*(set(file) for file in dataset.files))
    weights = (
        dataset.column("weight").astype(np.float64) if "weight" in has else np.ones(len(scores))
    )
    curve = evaluation.roc(scores, labels, weights)
    figures: dict[str, Any] = {"auc": evaluation.area(*curve)}
    passed = {}
    if has.issuperset(FEATURES):
        passed = select({name: dataset.column(name) for name in FEATURES})
    elif "psr" in has:
        passed = {"SR": dataset.column("psr") > 0}
    # Where the cuts keep no signal there is nothing to be compared with.
    if passed and passed["SR"][labels == 1].any():
        generator = np.random.default_rng(0)
        figures |= evaluation.compare(scores, labels, weights, passed["SR"], generator)
    points = {
        name: evaluation.working_point(selected, labels, weights)
        for name, selected in passed.items()
    }
    pictures.plot_roc(*curve, points, folder / "roc.png")
    pictures.plot_events(extremes(scores, labels, dataset), folder / "events.png")
    return figures


def extremes(
    scores: np.ndarray, labels: np.ndarray, dataset: Dataset, each: int = 2
) -> list[tuple[str, np.ndarray]]:
    """The events that the network was surest of, rightly and wrongly, as (title, image)."""
    events = []
    for label, name in ((1, "signal"), (0, "background")):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(scores[members])]
        right, wrong = (ranked[::-1], ranked) if label else (ranked, ranked[::-1])
        for verdict, chosen in (("surest", right[:each]), ("most wrong", wrong[:each])):
            for index in chosen:
                title = f"{name}, {verdict}\nscore {scores[index]:+.1f}"
                events.append((title, dataset.read(np.array([index]))["data"][0]))
    return events


def report(figures: dict[str, Any]) -> Iterator[str]:
    """Say the figures of ``evaluate`` in lines."""
    yield (
        f"{figures['samples']:,} events, network of iteration {figures['iteration']}: "
        f"accuracy {figures['accuracy']:.4f} (unweighted), area under the ROC {figures['auc']:.5f}"
    )
    if "ratio" not in figures:
        yield "No comparison with the cuts: the files lack jets' features and psr, or none passes."
        return
    rate, cuts, network, ratio = (
        figures[name] for name in ("background_rate", "cuts", "network", "ratio")
    )
    yield (
        f"cuts (SR4J or SR5J):  efficiency {cuts[0]:.3f} +- {cuts[1]:.3f} at a background rate of "
        f"{rate[0]:.1e} +- {rate[1]:.1e} ({figures['background_events']} events)"
    )
    yield f"network, same rate:   efficiency {network[0]:.3f} +- {network[1]:.3f}"
    yield (
        f"network over cuts:    {ratio[0]:.2f} +- {ratio[1]:.2f}   (the paper: "
        f"{evaluation.PAPER['network']:.2f} / {evaluation.PAPER['cuts']:.2f} = "
        f"{evaluation.PAPER['ratio']} at {evaluation.PAPER['background_rate']:.0e})"
    )
