"""Is a network still sound? Numbers that are none any more, and where they came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from .layers import Layer
from .layers.strips import parts

EXPLODED = 10_000  # times the first loss, or times 1 where that is less


class Losses:
    """Tells sound losses of a run from others: such as are finite, and have not exploded."""

    def __init__(self) -> None:
        self.most = math.inf

    def sound(self, loss: float) -> bool:
        """Whether a mean loss is; the first of all decides how much is too much."""
        if not math.isfinite(loss) or loss > self.most:
            return False
        if self.most == math.inf:
            self.most = EXPLODED * max(loss, 1.0)
        return True


def origin(network: Layer, inputs: Sequence[np.ndarray]) -> str:
    """Say where numbers of forward passes stop being finite: in a layer's parameters or output.

    Where none does, it says which output is largest.

    The passes are made again, part by part: a convolution with what ``Strips`` computes together
    with it is one part, and has its name.
    """
    layer = unsound_layer(network)
    if layer:
        return described(layer)
    sizes = []
    for part, output in chain.from_iterable(outputs(network, x) for x in inputs):
        if not np.isfinite(output).all():
            return f"the output of {part.leaves()[0].name} was the first that was not finite"
        sizes.append((float(np.abs(output).max(initial=0)), part.leaves()[0].name))
    size, name = max(sizes)
    return f"all outputs are finite, the largest is {size:.2g} in {name}"


def origin_of_gradient(network: Layer, layer: Layer) -> str:
    """Say it of a backward pass that came to ``layer`` and found its gradient not finite."""
    unsound = unsound_layer(network)
    if unsound:
        return described(unsound)
    return f"the gradient of {layer.name} was the first that was not finite"


def unsound_layer(network: Layer) -> Layer | None:
    """The first layer with parameters that are not finite."""
    unsound = (layer for layer in network.layers() if not np.isfinite(layer.parameters).all())
    return next(unsound, None)


def described(layer: Layer) -> str:
    """Say of a layer that it is not sound."""
    return f"the parameters of {layer.name} were not finite any more"


def outputs(network: Layer, x: np.ndarray) -> list[tuple[Layer, np.ndarray]]:
    """Every part of a network with a copy of what it puts out, in the order of computation."""
    found: list[tuple[Layer, np.ndarray]] = []

    def watch(part: Layer) -> None:
        forward = part.forward

        def forward_and_keep(*arguments: Any) -> Any:
            y = forward(*arguments)
            found.append((part, np.array(y)))
            return y

        part.forward = forward_and_keep  # type: ignore[assignment, method-assign]

    watched_parts = parts(network)
    for part in watched_parts:
        watch(part)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            network.forward(x, False)
    finally:
        for part in watched_parts:
            del part.forward
    return found
