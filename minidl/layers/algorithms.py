"""The algorithms of a convolution by name, and the choice among them."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Literal, get_args

import numpy as np

from .convolution import Algorithm, Convolution
from .im2col import Im2col
from .layer import Layer, Shape
from .space_to_depth import SpaceToDepth, deep_kernel
from .windows import Windows
from .winograd import Winograd

AlgorithmName = Literal["auto", "im2col", "winograd2", "winograd4"]

# Measured on one core of an AMD Zen 4, over forward and backward. What counts is how they compare.
SECONDS_PER_OPERATION = 1 / 95e9  # of a matrix product
SECONDS_PER_NUMBER = 2.5e-9  # that is spread or collected
SECONDS_PER_WEIGHT = 7e-9  # that is prepared, once a batch
LARGEST = 256 * 1024 * 1024  # bytes of prepared weights, of which there are three copies


def named(name: str, windows: Windows) -> Algorithm:
    """Make the algorithm of this name, not "auto", for these windows.

    Raises
    ------
    ValueError
        If there is none of that name, or it cannot take such windows.
    """
    if name == "im2col":
        return Im2col(windows)
    if name not in get_args(AlgorithmName):
        raise ValueError(f"no algorithm {name!r}; there are {', '.join(get_args(AlgorithmName))}")
    KH, KW, _, _ = deep_kernel((*windows.kernel, 1, 1), windows.stride)
    if KH != KW or not 2 <= KH <= 4:
        raise ValueError(
            f"{name} takes square kernels of 2 to 4 times the stride, not {windows.kernel} "
            f"with stride {windows.stride}"
        )
    winograd = Winograd(int(name[-1]), KH)
    return winograd if windows.stride == (1, 1) else SpaceToDepth(windows.stride, winograd)


def use_algorithm(network: Layer, name: AlgorithmName) -> None:
    """Compute the convolutions of a network by this algorithm, those that it can take."""
    for leaf in network.leaves():
        if name != "auto" and getattr(leaf, "algorithm", None) == "auto":
            with suppress(ValueError):
                named(name, leaf.windows)  # type: ignore[attr-defined]
                leaf.algorithm = name  # type: ignore[attr-defined]


def choose(name: str, windows: Windows, weight_shape: Shape, y_shape: Shape) -> Algorithm:
    """Make the algorithm of this name; for "auto" the one that should take the least time.

    Shapes: weight (KH, KW, C, K), y (N, H', W', K).
    """
    if name != "auto":
        return named(name, windows)
    candidates = []
    for candidate in get_args(AlgorithmName)[1:]:
        with suppress(ValueError):
            candidates.append(named(candidate, windows))
    return min(candidates, key=lambda algorithm: seconds(algorithm, weight_shape, y_shape))


def made_ready(
    name: str, windows: Windows, weight: np.ndarray, y_shape: Shape, earlier: Convolution | None
) -> Convolution:
    """Get ready for a batch: the earlier convolution again, if it was for such a batch."""
    algorithm = choose(name, windows, weight.shape, y_shape)
    if earlier is None or (str(earlier.algorithm), earlier.y_shape) != (str(algorithm), y_shape):
        earlier = Convolution(windows, algorithm, weight, y_shape)
    earlier.start(weight)
    return earlier


def counts(algorithm: Algorithm, weight_shape: Shape, y_shape: Shape) -> tuple[int, int, int]:
    """Count operations, numbers and weights of a batch: what the constants above are for."""
    N, H, W, K = y_shape
    P, tiles, Q = algorithm.spread_shape(weight_shape, H, W)
    prepared = P * Q * K if P > 1 else 0  # im2col takes weights as they are
    return N * 3 * 2 * P * tiles * Q * K, N * P * tiles * (Q + K), prepared


def seconds(algorithm: Algorithm, weight_shape: Shape, y_shape: Shape) -> float:
    """Estimate the time of a batch, forward and backward; infinite if there is no room for it."""
    operations, numbers, weights = counts(algorithm, weight_shape, y_shape)
    if 4 * weights > LARGEST:
        return math.inf
    return (
        operations * SECONDS_PER_OPERATION
        + numbers * SECONDS_PER_NUMBER
        + weights * SECONDS_PER_WEIGHT
    )
