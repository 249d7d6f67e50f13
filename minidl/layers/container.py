"""Layers made of layers: in sequence, side by side, or around a shortcut.

Each passes ``require`` and ``announce`` down, so that a leaf deep inside asks for its parameters
the moment it needs them, and is announced the moment it is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np

from .layer import Announce, Layer, Require, Shape


class _Container(Layer):
    def __init__(self, *layers: Layer, **named: Layer) -> None:
        super().__init__()
        for position, layer in enumerate(layers):
            layer.name = f"{layer.name}{position}"
        for name, layer in named.items():
            layer.name = name
        self.children = (*layers, *named.values())


class Sequential(_Container):
    """One layer after the other. Keywords name them: ``Sequential(conv1=Conv2d(...), ...)``."""

    def forward(self, x: Any, training: bool = True, require: Require | None = None) -> Any:
        """Apply the layers, first to last."""
        for layer in self.children:
            x = layer.forward(x, training, require)
        return x

    def backward(self, dy: Any, announce: Announce | None = None) -> Any:
        """Apply the chain rule, last to first."""
        for layer in reversed(self.children):
            dy = layer.backward(dy, announce)
        return dy

    def output_shape(self, shape: Shape) -> Any:
        """Through all layers."""
        return reduce(lambda shape, layer: layer.output_shape(shape), self.children, shape)

    def trace(self, shape: Shape) -> Iterator[tuple[Layer, Shape, Any]]:
        """Each layer sees what the one before it puts out."""
        for layer in self.children:
            yield from layer.trace(shape)
            shape = layer.output_shape(shape)


class Branches(_Container):
    """Several layers on the same input; their outputs form a tuple.

    None of them may start with an in-place layer, which would change the others' input.
    """

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> tuple:
        """Apply every branch to x."""
        return tuple(layer.forward(x, training, require) for layer in self.children)

    def backward(self, dy: tuple, announce: Announce | None = None) -> np.ndarray:
        """Add up what the branches send back. ``dy`` has one entry a branch."""
        pairs = zip(reversed(self.children), reversed(dy), strict=True)
        return sum_of([layer.backward(part, announce) for layer, part in pairs])

    def output_shape(self, shape: Shape) -> tuple:
        """One shape a branch."""
        return tuple(layer.output_shape(shape) for layer in self.children)

    def trace(self, shape: Shape) -> Iterator[tuple[Layer, Shape, Any]]:
        """Each branch sees the same input."""
        for layer in self.children:
            yield from layer.trace(shape)


class Residual(_Container):
    """A layer with a shortcut around it: y = x + layer(x). The layer must keep the shape.

    It may not start or end with an in-place layer. Source: K. He et al., Deep Residual Learning
    (CVPR 2016), equation 1.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = x + layer(x)."""
        return x + self.children[0].forward(x, training, require)

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Compute dx = dy + what the layer sends back."""
        return dy + self.children[0].backward(dy, announce)

    def trace(self, shape: Shape) -> Iterator[tuple[Layer, Shape, Any]]:
        """The layer inside; the sum needs no row of its own."""
        yield from self.children[0].trace(shape)


def sum_of(arrays: list[np.ndarray]) -> np.ndarray:
    """Sum without changing any of the arrays, which belong to the layers that made them."""
    return reduce(np.add, arrays)
