"""Layers that are wrong in the ways in which people get them wrong."""

import numpy as np

from minidl.layers import AvgPool2d, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d
from minidl.layers.direct import Direct
from minidl.layers.windows import Windows

GENERATOR = np.random.default_rng(0)
IMAGES, VECTORS = (5, 6, 7, 2), (5, 4)  # no two counts alike, so that none can be mistaken


def linear(outputs=3, kind=Linear):
    return kind(VECTORS[1], outputs, generator=GENERATOR, dtype=np.float64)


def conv(kind=Conv2d, stride=1, padding=1):
    return kind(2, 3, (3, 2), stride=stride, padding=padding, generator=GENERATOR, dtype=np.float64)


def change(layer, spoil):
    """``layer``, with ``spoil(layer, x, dy, dx) -> dx`` at the end of its backward."""
    forward, backward = layer.forward, layer.backward

    def remember(x, training=True):
        layer.seen = x.copy()
        return forward(x, training)

    def spoiled(dy, announce=None):
        kept = dy.copy()
        return spoil(layer, layer.seen, kept, backward(dy, announce))

    layer.forward, layer.backward = remember, spoiled
    return layer


def set_gradient(name, wrong):
    """Replace a parameter's gradient by ``wrong(gradient, x, dy)``."""

    def spoil(layer, x, dy, dx):
        gradient = layer.views(layer.gradient)[name]
        gradient[...] = wrong(gradient, x, dy)
        return dx

    return spoil


def set_dx(wrong):
    """Replace dx by ``wrong(dx, x, dy)``."""
    return lambda layer, x, dy, dx: wrong(dx, x, dy)


def loss(function, target, wrong):
    """The loss with ``wrong(dy, output)`` for a derivative."""

    def spoiled(output):
        value, dy = function(output, target)
        return value, wrong(dy, output)

    return spoiled


class Accumulating(Linear):
    def backward(self, dy, announce=None):
        before = self.gradient.copy()
        dx = super().backward(dy, announce)
        self.gradient += before
        return dx


class Biasless(Linear):
    def forward(self, x, training=True, require=None):
        return super().forward(x, training) - self.bias


def padded_dx(layer, dy, windows):
    """The gradient of a convolution's input with its padding, by the definition."""
    dx = np.empty(layer.windows.padded_shape(IMAGES))
    Direct(windows).backward_input(dy, layer.weight, dx)
    return dx


class KeepsPadding(Conv2d):
    def backward(self, dy, announce=None):
        super().backward(dy, announce)
        return padded_dx(self, dy, self.windows)


class ShiftedPadding(Conv2d):
    def backward(self, dy, announce=None):
        super().backward(dy, announce)
        return padded_dx(self, dy, self.windows)[:, :6, :7]


class ForgetsStride(Conv2d):
    def backward(self, dy, announce=None):
        super().backward(dy, announce)
        dense = Windows(self.windows.kernel, (1, 1), self.windows.padding)
        return padded_dx(self, dy, dense)


class ShiftedPatches(Conv2d):
    def backward(self, dy, announce=None):
        down, right = self.windows.padding
        lower = Windows(self.windows.kernel, self.windows.stride, (down - 1, right))
        self.convolution.windows = lower
        dx = super().backward(dy, announce)
        self.convolution.windows = self.windows
        return dx


class EveryoneWins(MaxPool2d):
    def backward(self, dy, announce=None):
        self._recall()
        return dy.repeat(2, axis=1).repeat(2, axis=2)


class NormWithoutMoments(BatchNorm2d):
    """Backward keeps only some of the three terms of dx."""

    def __init__(self, mean, variance):
        super().__init__(2, dtype=np.float64)
        self.mean, self.variance = mean, variance

    def backward(self, dy, announce=None):
        z, deviation = self._saved
        super().backward(dy, announce)
        dx = dy - self.mean * dy.mean((0, 1, 2))
        dx -= self.variance * z * (dy * z).mean((0, 1, 2))
        return dx * self.scale / deviation


class ForgetsLastRow(AvgPool2d):
    def backward(self, dy, announce=None):
        return super().backward(dy * (np.arange(dy.shape[1]) < 2)[:, None, None], announce)


class DropsAgain(Dropout):
    def __init__(self):
        super().__init__(0.5, generator=np.random.default_rng(1))

    def backward(self, dy, announce=None):
        mask = self._recall()
        return dy * np.roll(mask, 1)
