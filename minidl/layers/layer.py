"""What every layer is: forward, backward, one flat vector of parameters and one of gradients.

Shapes everywhere in ``minidl.layers`` use one legend, channels last::

    N  samples in the batch        C  channels that come in
    H  height, W  width            K  channels that go out (filters)
    KH, KW  height and width of a kernel

Three rules that hold for every layer:

- ``backward`` *overwrites* the gradient. Whoever wants to accumulate adds it up in plain sight.
- One ``forward`` with ``training=True``, then at most one ``backward``.
- Layers keep their output arrays and write the next batch into them. Copy what must survive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Require = Callable[["Layer"], None]
Announce = Callable[["Layer"], None]
Shape = tuple[int, ...]


class Layer:
    """A differentiable function with parameters.

    Attributes
    ----------
    name : str
        How messages, tables and files call this layer.
    parameters, gradient : np.ndarray, shape (size,)
        All that the layer learns in one vector, and the loss's derivative by it. ``weight``,
        ``bias`` and their gradients are views into the two, so that one layer is one message,
        one call of an optimiser and one data set in a file. Empty where nothing is learnt.
    statistics : np.ndarray, shape (size,)
        What the layer gathers without a gradient (batch normalisation's running moments).
    shapes : dict of str to tuple
        Names and shapes of the tensors inside ``parameters``, in their order.
    children : tuple of Layer
        The layers inside a container.
    """

    def __init__(self) -> None:
        self.name = type(self).__name__.lower()
        self.shapes: dict[str, Shape] = {}
        self.parameters = np.empty(0, np.float32)
        self.gradient = np.empty(0, np.float32)
        self.statistics = np.empty(0, np.float32)
        self.children: tuple[Layer, ...] = ()
        self._buffers: dict[str, np.ndarray] = {}
        self._saved: Any = None

    def forward(self, x: Any, training: bool = True, require: Require | None = None) -> Any:
        """Compute the output for a batch; with ``training``, keep what ``backward`` will need.

        Calls ``require(layer)`` right before the layer's parameters are used: whoever still waits
        for them to arrive need not wait longer than that.
        """
        raise NotImplementedError

    def backward(self, dy: Any, announce: Announce | None = None) -> Any:
        """Turn the loss's derivative by the output, ``dy``, into the one by the input, ``dx``.

        Overwrites ``gradient`` and calls ``announce(layer)`` the moment it is complete: all that
        is needed to communicate one layer's gradient while the next one is being computed. From
        then on it belongs to whoever was told, and may be changed in place.
        """
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Any:
        """Shape of one sample's output for one sample's input of ``shape``, without the batch.

        Raises
        ------
        ValueError
            If the layer takes no such input.
        """
        return shape

    def flops(self, shape: Shape) -> int:
        """Floating-point operations of one sample's forward pass, matrix products only."""
        return 0

    def trace(self, shape: Shape) -> Iterator[tuple[Layer, Shape, Any]]:
        """Every leaf in forward order, with the shapes of one sample that enter and leave it."""
        yield self, shape, self.output_shape(shape)

    def leaves(self) -> list[Layer]:
        """Every layer that is not a container, in forward order."""
        if not self.children:
            return [self]
        return [leaf for child in self.children for leaf in child.leaves()]

    def layers(self) -> list[Layer]:
        """The leaves that learn, in forward order: the one order of messages, files and tests."""
        return [leaf for leaf in self.leaves() if leaf.parameters.size]

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The named tensors inside one of this layer's flat vectors, as views."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            views[name] = flat[start : start + size].reshape(shape)
            start += size
        return views

    def _learn(self, dtype: np.typing.DTypeLike, **shapes: Shape) -> None:
        """Allocate the flat vectors for tensors of these names and shapes."""
        self.shapes = shapes
        size = sum(int(np.prod(shape)) for shape in shapes.values())
        self.parameters = np.zeros(size, dtype)
        self.gradient = np.zeros(size, dtype)

    def _buffer(self, name: str, shape: Shape, dtype: np.typing.DTypeLike) -> np.ndarray:
        """Uninitialised memory that is kept from batch to batch; small batches use its front.

        Fresh memory costs a page fault every 4 KiB, which can take longer than the arithmetic.
        """
        size = int(np.prod(shape))
        flat = self._buffers.get(name)
        if flat is None or flat.size < size or flat.dtype != dtype:
            flat = self._buffers[name] = np.empty(size, dtype)
        return flat[:size].reshape(shape)

    def _expect_shape(self, shape: Shape, *expected: int | str) -> None:
        """Raise ``ValueError`` unless one sample's shape has these numbers; a letter is any."""
        pairs = zip(shape, expected, strict=False)
        if len(shape) != len(expected) or any(n != e for n, e in pairs if isinstance(e, int)):
            wanted = ", ".join(map(str, expected))
            raise ValueError(f"{self.name}: expected samples of shape ({wanted}), got {shape}")

    def _expect_images(self, x: np.ndarray, channels: int, dtype: np.dtype) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of such images."""
        if x.ndim != 4 or x.shape[3] != channels or x.dtype != dtype:
            raise ValueError(
                f"{self.name}: expected {dtype} images of shape (N, H, W, {channels}),"
                f" got {x.dtype} of shape {x.shape}"
            )

    def _recall(self) -> Any:
        """Hand ``backward`` what ``forward`` saved, once."""
        saved, self._saved = self._saved, None
        if saved is None:
            raise RuntimeError(
                f"{self.name}: backward without a forward before it: "
                "call forward(x, training=True) once for every backward"
            )
        return saved


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """``3`` as ``(3, 3)``: height and width alike unless both are given."""
    height, width = value if isinstance(value, tuple) else (value, value)
    return height, width
