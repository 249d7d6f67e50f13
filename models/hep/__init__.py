"""Supervised: is a collision event signal (gluino pairs) or background (QCD)?

The paper's section II: images of 224 x 224 x 3, the calorimeters' electromagnetic and hadronic
energy and the number of tracks, unrolled along the beam (eta) and around it (phi).
This file is the model as ``minidl/model.py`` describes one.
"""

from __future__ import annotations

import numpy as np

from minidl.data import Dataset, Samples, check_images, check_labels
from minidl.losses import softmax_cross_entropy

from .network import network

__all__ = ["DEFAULTS", "FIELDS", "loss", "metrics", "network", "prepare", "shape"]

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
