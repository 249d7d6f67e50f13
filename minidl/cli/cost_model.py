"""The constants by which ``layers/algorithms.py`` chooses, fitted to what takes how long here."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from ..layers import Conv2d, algorithms
from ..layers.algorithms import AlgorithmName, counts

NAMES = ("SECONDS_PER_OPERATION", "SECONDS_PER_NUMBER", "SECONDS_PER_WEIGHT")
BATCH, TIMES = 8, 5

# Channels, filters, and height and width of images. Of the first, most of the time goes into
# spreading; of the last, into preparing weights.
SHAPES = ((8, 8, 64), (3, 64, 64), (32, 32, 32), (64, 64, 28), (128, 128, 14), (256, 256, 4))
KINDS: tuple[AlgorithmName, ...] = ("im2col", "winograd2", "winograd4")


class Fit(NamedTuple):
    """The three constants, in seconds, and how far the estimates with them are from the times."""

    constants: np.ndarray
    error: float  # median of |estimate / time - 1|


def fit_constants() -> tuple[Fit, Fit]:
    """Time convolutions on this thread; return the constants in use, and those that fit best."""
    measured = times()
    counts = np.array([count for count, _ in measured], float)
    seconds = np.array([passed for _, passed in measured])
    # Relative errors are what counts where algorithms of one shape are compared.
    best, *_ = np.linalg.lstsq(counts / seconds[:, None], np.ones(len(seconds)))
    in_use = np.array([getattr(algorithms, name) for name in NAMES])
    used, fitted = (
        Fit(constants, float(np.median(abs(counts @ constants / seconds - 1))))
        for constants in (in_use, best)
    )
    return used, fitted


def times() -> list[tuple[tuple[int, int, int], float]]:
    """Forward and backward of 3x3 convolutions: what is to be done, and the seconds that it takes.

    They take turns, and the fastest turn of each counts.
    """
    generator = np.random.default_rng(1)
    cases = []
    for kind in KINDS:
        for C, K, side in SHAPES:
            layer = Conv2d(C, K, 3, padding=1, algorithm=kind, generator=generator)
            cases.append((layer, generator.standard_normal((BATCH, side, side, C), np.float32)))
    fastest = np.full(len(cases), np.inf)
    for _ in range(1 + TIMES):  # the first allocates
        for number, (layer, x) in enumerate(cases):
            start = time.perf_counter()
            layer.backward(layer.forward(x))
            fastest[number] = min(fastest[number], time.perf_counter() - start)
    return [
        (counts(layer.convolution.algorithm, layer.weight.shape, layer.convolution.y_shape), passed)
        for (layer, _), passed in zip(cases, fastest, strict=True)
    ]
