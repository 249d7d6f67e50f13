"""What a network is made of, layer by layer, and whether its gradients are right."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from .errors import UserError
from .layers import Conv2d, ConvTranspose2d, Layer
from .layers.algorithms import choose
from .layers.layer import Shape
from .tables import plain_table, size_text, times

BATCH = 8  # images, for which an algorithm is chosen


class Row(NamedTuple):
    """A layer as it stands in a network; operations are those of one image."""

    name: str
    kind: str
    algorithm: str  # of a convolution
    output: Shape
    parameters: int
    message: int  # bytes
    forward: int  # floating-point operations
    training: int


def print_summary(module: Any, shape: Shape, width: int | None, console: Console) -> None:
    """Print a model's layers in forward order: algorithms, shapes, parameters, operations.

    Parameters
    ----------
    module : module or Model
        A model as ``minidl/model.py`` describes one.
    shape : (int, int, int)
        H, W, C of an image.
    width : int or None
        Width of the network; the model's own if None.

    Raises
    ------
    UserError
        If the network cannot be built for such images.
    """
    rows = summarize(build(module, shape, width, np.float32), shape)
    table = plain_table(
        "layer", "kind", "algorithm", "output",
        ">parameters", ">forward\nMFLOP", ">training\nMFLOP",
    )  # fmt: skip
    for row in rows:
        work = figures(row.parameters, row.forward, row.training)
        table.add_row(row.name, row.kind, row.algorithm, times(row.output), *work)
    parameters, message, forward, training = (
        sum(column) for column in zip(*(row[4:] for row in rows), strict=True)
    )
    table.add_section()
    table.add_row("sum", "", "", "", *figures(parameters, forward, training))
    console.print(table)
    messages = sum(row.parameters > 0 for row in rows)
    console.print(
        f"\n{parameters:,} parameters, {size_text(message)} in {messages} messages; an image "
        f"of {times(shape)}: {forward / 1e9:.2f} GFLOP forward, {training / 1e9:.2f} GFLOP "
        "training.\n"
        "Counted are matrix products, two operations a multiply-add; training is forward, the "
        "gradient by the weights and the gradient by the input. Algorithms are those for batches "
        f"of {BATCH}."
    )


def figures(parameters: int, forward: int, training: int) -> list[str]:
    """Write a row's numbers; what a layer does not have stays blank."""
    work = [f"{work / 1e6:,.1f}" if work else "" for work in (forward, training)]
    return [f"{parameters:,}" if parameters else "", *work]


def summarize(network: Layer, shape: Shape) -> list[Row]:
    """Collect every leaf of ``network`` in forward order, for one image of ``shape``."""
    return [
        Row(
            leaf.name,
            kind(leaf),
            algorithm(leaf, entering, output),
            output,
            leaf.parameters.size,
            leaf.gradient.nbytes,
            leaf.flops(entering),
            training_flops(leaf, entering),
        )
        for leaf, entering, output in network.trace(shape)
    ]


def training_flops(layer: Layer, shape: Shape) -> int:
    """Floating-point operations of one sample's forward and backward pass through a leaf.

    The gradient by the weights and the gradient by the input each cost as much as the forward
    pass: all three multiply the same pairs of input, weight and output. A network's first layer
    leaves out the last of them.
    """
    passes = 1 + bool(layer.parameters.size) + getattr(layer, "input_gradient", True)
    return passes * layer.flops(shape)


def kind(layer: Layer) -> str:
    """Name a layer's class, and its window and stride where it slides one: ``Conv2d 5x5 /2``."""
    name = type(layer).__name__
    windows = getattr(layer, "windows", None)
    if windows is None:
        return name
    down, right = windows.stride
    stride = f"{down}" if down == right else times(windows.stride)
    return f"{name} {times(windows.kernel)}" + (f" /{stride}" if stride != "1" else "")


def algorithm(layer: Layer, entering: Shape, output: Shape) -> str:
    """Name what computes a convolution of this shape; nothing for other layers."""
    if not isinstance(layer, Conv2d | ConvTranspose2d):
        return ""
    # A transposed convolution is computed as the one that takes its output to its input.
    y_shape = entering if isinstance(layer, ConvTranspose2d) else output
    return str(choose(layer.algorithm, layer.windows, layer.weight.shape, (BATCH, *y_shape)))


def build(
    module: Any, shape: Shape, width: int | None, dtype: np.typing.DTypeLike, seed: int = 0
) -> Layer:
    """Build a model's network for images of ``shape``, or say why that cannot be done."""
    options = {} if width is None else {"width": width}
    try:
        network: Layer = module.network(shape, np.random.default_rng(seed), dtype=dtype, **options)
        network.output_shape(shape)
    except ValueError as error:
        raise UserError(
            f"{module.__name__} has no network for images of {times(shape)}: {error}; "
            "see --size, --channels and --width"
        ) from None
    return network
