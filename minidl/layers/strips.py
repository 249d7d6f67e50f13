"""A convolution and what follows it, strip by strip: the large map in between is never there.

After a convolution come layers to which every pixel, or every window of pixels, is a world of its
own: pooling, an activation. Layer after layer, each would write a map of the whole batch to memory
and the next one read it back; the first map of the HEP network is 205 MB. But some rows of it are
enough to pool them. So a strip of a few rows goes through all layers while it is in the cache, and
then the next strip. Backward likewise. The numbers are the same, but for the order of some sums.
"""

from __future__ import annotations

from math import prod
from typing import Protocol, cast

import numpy as np

from .container import Sequential
from .conv import Conv2d
from .layer import Announce, Layer, Require, Shape
from .windows import Strip


class Local(Protocol):
    """A layer of which some output rows need nothing but as many input rows, or a multiple.

    A strip is always one of its input.
    """

    down: int
    """Input rows of an output row."""

    def start(self, shape: Shape, training: bool) -> None:
        """Get ready for the strips of an input of this shape."""

    def forward_strip(self, x: np.ndarray, strip: Strip) -> np.ndarray:
        """Compute the strip's output, over ``x`` or in the workspace."""

    def backward_strip(self, dy: np.ndarray, strip: Strip) -> np.ndarray:
        """Compute the strip's dx, over ``dy`` or in the workspace."""


class Strips(Sequential):
    """One convolution, then layers that are local: ``ReLU``, and ``MaxPool2d`` without overlap.

    Raises
    ------
    ValueError
        If the layers are others.
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        super().__init__(*layers, **named)
        conv, *rest = self.children
        if not isinstance(conv, Conv2d):
            raise ValueError(f"{conv.name}: strips begin with a Conv2d")
        for layer in rest:
            if not getattr(layer, "local", False):
                raise ValueError(f"{layer.name}: its rows need more than the rows at their place")
        self.conv, self.rest = conv, cast(list[Local], rest)
        self.together = prod(layer.down for layer in self.rest)

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Apply the layers to one strip after the other."""
        self.conv.start(x, training, require)
        shape = self.conv.convolution.y_shape
        for layer, child in zip(self.rest, self.children[1:], strict=True):
            layer.start(shape, training)
            shape = (len(x), *child.output_shape(shape[1:]))
        y = self._buffer("y", shape, x.dtype)

        def through(strip: Strip) -> None:
            part = self.conv.forward_strip(x, strip)
            for layer in self.rest:
                part = layer.forward_strip(part, strip)
                strip = strip.narrowed(layer.down)
            y[strip.images, strip.rows] = part

        self.conv.convolution.each_strip(through, self.together)
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray | None:
        """Send every strip back through the layers."""
        x, dx = self.conv.start_back()

        def back(strip: Strip) -> None:
            strips = [strip]
            for layer in self.rest:
                strips.append(strips[-1].narrowed(layer.down))
            last = strips.pop()
            part = dy[last.images, last.rows]
            for layer in self.rest[::-1]:
                part = layer.backward_strip(part, strips.pop())
            self.conv.backward_strip(x, part, strip, dx)

        self.conv.convolution.each_strip(back, self.together)
        self.conv.end_back(announce)
        return dx


def parts(layer: Layer) -> list[Layer]:
    """What is computed together: a layer, or a convolution with what follows it in ``Strips``."""
    if not layer.children or isinstance(layer, Strips):
        return [layer]
    return [part for child in layer.children for part in parts(child)]
