"""A gallery of wrong gradients, each with the cause that the checker has to name."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from broken_layers import (
    IMAGES,
    VECTORS,
    Accumulating,
    Biasless,
    DropsAgain,
    EveryoneWins,
    ForgetsLastRow,
    ForgetsStride,
    KeepsPadding,
    NormWithoutMoments,
    ShiftedPadding,
    ShiftedPatches,
    change,
    conv,
    linear,
    loss,
    set_dx,
    set_gradient,
)

from minidl.layers import AvgPool2d, BatchNorm2d, GlobalAvgPool2d, Layer, ReLU, Tanh
from minidl.losses import mean_squared_error, softmax_cross_entropy


class Broken(NamedTuple):
    """Something whose gradient by ``tensor`` is wrong, and part of the sentence that says why."""

    name: str
    subject: Layer | Callable
    shape: tuple[int, ...]
    tensor: str
    cause: str


LABELS = np.array([0, 3, 2, 1, 1])
TARGET = np.linspace(-1, 1, 20).reshape(VECTORS)

GALLERY = [
    Broken(
        "weight gradient twice too large",
        change(linear(), set_gradient("weight", lambda dw, x, dy: 2 * dw)),
        VECTORS,
        "weight",
        "2 times the right one everywhere",
    ),
    Broken(
        "weight gradient half as large",
        change(linear(), set_gradient("weight", lambda dw, x, dy: dw / 2)),
        VECTORS,
        "weight",
        "2 times too small everywhere",
    ),
    Broken(
        "wrong by 0.1 %",
        change(linear(), set_gradient("weight", lambda dw, x, dy: 1.001 * dw)),
        VECTORS,
        "weight",
        "1.001 times the right one",
    ),
    Broken(
        "a convolution wrong by 0.1 %",
        change(conv(), set_dx(lambda dx, x, dy: 0.999 * dx)),
        IMAGES,
        "input",
        "times too small everywhere",
    ),
    Broken(
        "sign",
        change(Tanh(), set_dx(lambda dx, x, dy: -dx)),
        VECTORS,
        "input",
        "the sign is wrong",
    ),
    Broken(
        "sum over elements instead of mean",
        loss(mean_squared_error, TARGET, lambda dy, output: dy * dy.size),
        VECTORS,
        "output",
        "20 times too large, which is the number of elements",
    ),
    Broken(
        "missing mean over the batch",
        loss(softmax_cross_entropy, LABELS, lambda dy, output: dy * len(dy)),
        VECTORS,
        "output",
        "5 times too large, which is the batch size",
    ),
    Broken(
        "mean over the batch taken twice",
        loss(softmax_cross_entropy, LABELS, lambda dy, output: dy / len(dy)),
        VECTORS,
        "output",
        "5 times too small, which is the batch size: divided once too often",
    ),
    Broken(
        "mean over the batch taken by the layer too",
        change(linear(), set_gradient("bias", lambda db, x, dy: dy.mean(axis=0))),
        VECTORS,
        "bias",
        "5 times too small, which is the batch size",
    ),
    Broken(
        "window's sum instead of mean",
        change(AvgPool2d((3, 2)), set_dx(lambda dx, x, dy: 6 * dx)),
        IMAGES,
        "input",
        "6 times too large, which is the number of pixels in a window",
    ),
    Broken(
        "image's sum instead of mean",
        change(GlobalAvgPool2d(), set_dx(lambda dx, x, dy: 42 * dx)),
        IMAGES,
        "input",
        "42 times too large, which is the number of pixels",
    ),
    Broken(
        "square weight gradient transposed",
        change(linear(4), set_gradient("weight", lambda dw, x, dy: dy.T @ x)),
        VECTORS,
        "weight",
        "axes 0 and 1 are swapped",
    ),
    Broken(
        "weight gradient transposed and forced into shape",
        change(linear(3), set_gradient("weight", lambda dw, x, dy: (dy.T @ x).reshape(4, 3))),
        VECTORS,
        "weight",
        "axes 0 and 1 are swapped",
    ),
    Broken(
        "kernel flipped",
        change(conv(), set_gradient("weight", lambda dw, x, dy: dw[::-1, ::-1])),
        IMAGES,
        "weight",
        "flipped along axis 0 and 1",
    ),
    Broken(
        "cropped one pixel too far up and left",
        conv(ShiftedPadding),
        IMAGES,
        "input",
        "shifted by one along axis 1 and 2",
    ),
    Broken(
        "patches taken one row too far down",
        conv(ShiftedPatches),
        IMAGES,
        "weight",
        "shifted by one along axis 0",
    ),
    Broken(
        "padding not cropped",
        conv(KeepsPadding),
        IMAGES,
        "input",
        "the gradient has shape (5, 8, 9, 2) for numbers of shape (5, 6, 7, 2)",
    ),
    Broken(
        "stride ignored",
        conv(ForgetsStride, stride=2, padding=0),
        IMAGES,
        "input",
        "zero from index 4 of axis 1 on",
    ),
    Broken(
        "last row of windows forgotten",
        ForgetsLastRow(2),
        IMAGES,
        "input",
        "zero from index 4 of axis 1 on",
    ),
    Broken(
        "bias forgotten in backward",
        change(conv(), set_gradient("bias", lambda db, x, dy: 0)),
        IMAGES,
        "bias",
        "never computed",
    ),
    Broken(
        "bias forgotten in forward",
        linear(kind=Biasless),
        VECTORS,
        "bias",
        "forward leaves it out",
    ),
    Broken(
        "gradient added to the one before",
        linear(kind=Accumulating),
        VECTORS,
        "weight",
        "instead of overwriting it",
    ),
    Broken(
        "first sample only, weights",
        change(linear(), set_gradient("weight", lambda dw, x, dy: np.outer(x[0], dy[0]))),
        VECTORS,
        "weight",
        "only sample 0 of the batch counts",
    ),
    Broken(
        "last sample only, input",
        change(Tanh(), set_dx(lambda dx, x, dy: dx * (np.arange(5) == 4)[:, None])),
        VECTORS,
        "input",
        "only sample 4 of the batch counts",
    ),
    Broken(
        "everyone in the window gets the gradient",
        EveryoneWins(2),
        (3, 4, 6, 2),
        "input",
        "not zero where nothing should arrive",
    ),
    Broken(
        "mask of a ReLU missing",
        change(ReLU(), set_dx(lambda dx, x, dy: dy)),
        VECTORS,
        "input",
        "not zero where nothing should arrive",
    ),
    Broken(
        "mask of a ReLU by dy",
        change(ReLU(), set_dx(lambda dx, x, dy: dy * (dy > 0))),
        IMAGES,
        "input",
        "a mask is made from the wrong array",
    ),
    Broken(
        "mask of a ReLU too strict",
        change(ReLU(), set_dx(lambda dx, x, dy: dx * (x > 0.5))),
        IMAGES,
        "input",
        "zero where something should arrive",
    ),
    Broken(
        "dropout with another mask",
        DropsAgain(),
        IMAGES,
        "input",
        "a mask is made from the wrong array",
    ),
    Broken(
        "softmax without the one-hot target",
        loss(
            softmax_cross_entropy,
            LABELS,
            lambda dy, output: dy + np.eye(4)[LABELS] / len(LABELS),
        ),
        VECTORS,
        "output",
        "the one-hot target is not subtracted",
    ),
    Broken(
        "batch norm takes the mean for a constant",
        NormWithoutMoments(mean=False, variance=True),
        IMAGES,
        "input",
        "the path through the mean is missing",
    ),
    Broken(
        "batch norm takes the variance for a constant",
        NormWithoutMoments(mean=True, variance=False),
        IMAGES,
        "input",
        "the path through the variance is missing",
    ),
    Broken(
        "batch norm takes both for constants",
        NormWithoutMoments(mean=False, variance=False),
        IMAGES,
        "input",
        "the path through the variance is missing",
    ),
    Broken(
        "one channel wrong",
        change(
            BatchNorm2d(2, dtype=np.float64),
            set_dx(lambda dx, x, dy: dx + x**3 * np.array([0, 1])),
        ),
        IMAGES,
        "input",
        "wrong only at index 1 of axis 3",
    ),
    Broken(
        "wrong formula",
        change(Tanh(), set_dx(lambda dx, x, dy: dy * (1 - x**2))),
        VECTORS,
        "input",
        "none of the common mistakes",
    ),
]
