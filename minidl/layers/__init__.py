"""Layers in NumPy: one kind a file, forward directly above backward, in the same symbols."""

from .activation import LeakyReLU, ReLU, Sigmoid, Tanh
from .container import Branches, Residual, Sequential
from .conv import Conv2d
from .deconv import ConvTranspose2d
from .dropout import Dropout
from .layer import Announce, Layer, Require
from .linear import Flatten, Linear
from .norm import BatchNorm2d
from .pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from .strips import Strips

__all__ = [
    "Announce",
    "AvgPool2d",
    "BatchNorm2d",
    "Branches",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Require",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Strips",
    "Tanh",
]
