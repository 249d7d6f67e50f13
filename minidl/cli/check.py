"""``minidl check``: all gradients of a model against differences, by layer and as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from ..errors import UserError
from ..gradients.gradcheck import check_layer, check_network
from ..gradients.gradient_report import TensorReport
from ..layers.layer import Shape
from ..model import random_target
from ..summary import build
from ..tables import plain_table, times

SAMPLES = 3  # more than one, so that sums over the batch are checked, and no power of two
SHIFT = 0.1  # of the parameters, from where training starts


def print_check(module: Any, shape: Shape, width: int | None, seed: int, console: Console) -> bool:
    """Check a model's gradients on random data, in double precision; print the verdicts.

    First each layer by itself, on random numbers of the shape that it meets in the network: there
    an error shows where it is made. Then the network with the model's loss, which also shows
    layers that do not fit together.

    Parameters
    ----------
    module : module or Model
        A model as ``minidl/model.py`` describes one.
    shape : (int, int, int)
        H, W, C of the images.
    width : int or None
        Width of the network; the model's own if None.
    seed : int
        Of weights and data.
    console : Console

    Returns
    -------
    bool
        Whether every gradient is right.

    Raises
    ------
    UserError
        If there is no such network, or its loss cannot be computed.
    """
    alone, whole = check_model(module, shape, width, seed)
    print_reports("Each layer by itself", alone, console)
    print_reports("The network with its loss", whole, console)
    failures = [report for report in (*alone, *whole) if report.failure]
    for report in failures:
        _, *explanation = report.lines()
        console.print(f"{report.layer}.{report.tensor}:", style="red", markup=False)
        console.print("\n".join(explanation), markup=False)
    if failures:
        console.print(f"{len(failures)} of {len(alone) + len(whole)} gradients are wrong.")
    else:
        console.print("All gradients are right.")
    return not failures


def check_model(
    module: Any, shape: Shape, width: int | None, seed: int
) -> tuple[list[TensorReport], list[TensorReport]]:
    """Check every layer of a model by itself, then the whole network with its loss."""
    network = build(module, shape, width, np.float64, seed)
    generator = np.random.default_rng([seed, 1])  # not the numbers that the weights are made of
    for layer in network.layers():
        # Biases start at zero, which is where a ReLU behind dead ones has its kink.
        layer.parameters += SHIFT * generator.standard_normal(layer.parameters.size)
    alone: list[TensorReport] = []
    try:
        for leaf, entering, _ in network.trace(shape):
            x = generator.standard_normal((SAMPLES, *entering))
            alone += check_layer(leaf, x, generator).tensors
        x = generator.standard_normal((SAMPLES, *shape))
        target = random_target(module, network.forward(x.copy(), training=False), generator)
        whole = check_network(network, module.loss, x, target, generator)
    except ValueError as error:
        raise UserError(
            f"{module.__name__} cannot be checked: {error}; if it is the loss that fails, add "
            "random_target(output, generator) -> target to the module (see minidl/model.py)"
        ) from None
    return alone, list(whole.tensors)


def print_reports(title: str, reports: list[TensorReport], console: Console) -> None:
    """Print a line a tensor."""
    table = plain_table("gradient by", "shape", ">slopes", ">largest error", "verdict")
    for report in reports:
        table.add_row(
            escape(f"{report.layer}.{report.tensor}"),
            times(report.shape),
            f"{report.slopes}",
            f"{report.error:.0e}",
            "[red]WRONG[/red]" if report.failure else "ok",
        )
    console.print(f"{title}:\n")
    console.print(table)
    console.print()
