"""Images of events: the detector's cylinder, unrolled along the beam (eta) and around it (phi)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .detector import Hits

ETA = 2.5  # images reach to +-ETA along the beam, and once around it
CHANNELS = ("electromagnetic", "hadronic", "tracks")


def draw(calorimeters: Sequence[Hits], tracks: Hits, size: int) -> np.ndarray:
    """Add up what is in each pixel.

    Parameters
    ----------
    calorimeters : (Hits, Hits)
        The electromagnetic and the hadronic one.
    tracks : Hits
    size : int
        Pixels along each axis.

    Returns
    -------
    np.ndarray of float32, shape (3, size, size)
        Axes: channel, eta, phi. Channels: transverse energy (GeV) in the electromagnetic and in
        the hadronic calorimeter, and the number of tracks. Phi is periodic: the last column
        touches the first.
    """
    energies = [histogram(hits, hits.value / np.cosh(hits.eta), size) for hits in calorimeters]
    return np.stack([*energies, histogram(tracks, tracks.value, size)])


def histogram(hits: Hits, value: np.ndarray, size: int) -> np.ndarray:
    """Sum ``value`` (hits,) in each pixel; shape (size, size) for (eta, phi)."""
    row = np.floor((hits.eta + ETA) / (2 * ETA) * size).astype(int)
    column = np.floor((hits.phi + np.pi) / (2 * np.pi) * size).astype(int) % size
    inside = (row >= 0) & (row < size)
    pixel = (row * size + column)[inside]
    return np.bincount(pixel, value[inside], size * size).reshape(size, size).astype(np.float32)
