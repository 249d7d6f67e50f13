"""Fully connected layer, and the reshaping that leads to it."""

from __future__ import annotations

import numpy as np

from .initialize import glorot_uniform
from .layer import Announce, Layer, Require, Shape


class Linear(Layer):
    """Every output is a weighted sum of every input. Shapes: (N, C) -> (N, K).

    Weights start as Glorot and Bengio propose, biases at zero.

    Parameters
    ----------
    inputs, outputs : int
        C and K.
    generator : np.random.Generator
        Draws the initial weights.
    input_gradient : bool
        Whether ``backward`` computes ``dx``; a network's first layer can do without.
    dtype : dtype
        Of parameters and of all that goes in and out.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        generator: np.random.Generator,
        input_gradient: bool = True,
        dtype: np.typing.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.input_gradient = input_gradient
        self._learn(dtype, weight=(inputs, outputs), bias=(outputs,))
        self.weight, self.bias = self.views(self.parameters).values()
        self.dweight, self.dbias = self.views(self.gradient).values()
        glorot_uniform(self.weight, inputs, outputs, generator)

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Compute y = x W + b."""
        if x.ndim != 2 or x.shape[1] != len(self.weight) or x.dtype != self.weight.dtype:
            raise ValueError(
                f"{self.name}: expected {self.weight.dtype} of shape (N, {len(self.weight)}), "
                f"got {x.dtype} of shape {x.shape}"
            )
        if require:
            require(self)
        self._saved = x if training else None
        y = self._buffer("y", (len(x), len(self.bias)), x.dtype)
        np.matmul(x, self.weight, out=y)
        y += self.bias
        return y

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray | None:
        """Compute dW = x' dy, db = sum of dy, dx = dy W'."""
        x = self._recall()
        np.matmul(x.T, dy, out=self.dweight)
        np.sum(dy, axis=0, out=self.dbias)
        if announce:
            announce(self)
        return dy @ self.weight.T if self.input_gradient else None

    def output_shape(self, shape: Shape) -> Shape:
        """(C,) -> (K,)."""
        self._expect_shape(shape, len(self.weight))
        return self.bias.shape

    def flops(self, shape: Shape) -> int:
        """Two a multiply-add."""
        return 2 * self.weight.size


class Flatten(Layer):
    """Lay each sample out as one vector. Shapes: (N, ...) -> (N, product of the rest)."""

    def forward(
        self, x: np.ndarray, training: bool = True, require: Require | None = None
    ) -> np.ndarray:
        """Reshape; pixels stay in the order row, column, channel."""
        self._saved = x.shape if training else None
        return x.reshape(len(x), int(np.prod(x.shape[1:])))

    def backward(self, dy: np.ndarray, announce: Announce | None = None) -> np.ndarray:
        """Reshape back."""
        return dy.reshape(self._recall())

    def output_shape(self, shape: Shape) -> Shape:
        """(...) -> (product,)."""
        return (int(np.prod(shape)),)
