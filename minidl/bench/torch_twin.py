"""PyTorch's own version of a network of minidl's, with the same weights, and a check that it is.

Imports PyTorch, and so is imported only where PyTorch is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import UserError
from ..layers import (
    Branches,
    Conv2d,
    ConvTranspose2d,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Strips,
)

# Differences that are allowed, of a tensor's norm. Sums of float32 in another order differ by a
# millionth. But among millions of numbers a few are then on the other side of a ReLU's zero: a
# share e of them changes gradients by the root of e, as random contributions add up. PyTorch's own
# gradients differed by 0.8 % in single and in double precision, for a frame of 640 x 640.
OUTPUTS, GRADIENTS = 1e-3, 5e-2


class SideBySide(nn.ModuleList):
    """Several modules on the same input; their outputs form a tuple."""

    def forward(self, x: torch.Tensor) -> tuple:
        """Apply every one to x."""
        return tuple(module(x) for module in self)


def twin(layer: Layer, *, in_place: bool = False) -> nn.Module:
    """Build PyTorch's version of a layer. A ReLU that follows in ``Strips`` works in place.

    Raises
    ------
    UserError
        If none is known.
    """
    windows = getattr(layer, "windows", None)
    geometry = (windows.kernel, windows.stride, windows.padding) if windows else ()
    match layer:
        case Sequential():
            together = isinstance(layer, Strips)
            return nn.Sequential(*(twin(child, in_place=together) for child in layer.children))
        case Branches():
            return SideBySide(twin(child) for child in layer.children)
        case Conv2d():
            return filled(nn.Conv2d(*layer.weight.shape[2:], *geometry), layer)
        case ConvTranspose2d():
            channels = layer.weight.shape[:1:-1]
            return filled(nn.ConvTranspose2d(*channels, *geometry, layer.more), layer)
        case Linear():
            return filled(nn.Linear(*layer.weight.shape), layer)
        case MaxPool2d():
            return nn.MaxPool2d(*geometry)
        case ReLU():
            return nn.ReLU(in_place or layer.inplace)
        case GlobalAvgPool2d():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    raise UserError(f"--against torch knows no counterpart of {layer.name}, {type(layer).__name__}")


def filled(module: Any, layer: Conv2d | ConvTranspose2d | Linear) -> Any:
    """Copy the layer's weights."""
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(channels_first(layer.weight).copy()))
        module.bias.copy_(torch.from_numpy(layer.bias))
    return module


def channels_first(weight: np.ndarray) -> np.ndarray:
    """View weights in PyTorch's order: channels before the window, those that go out before all."""
    return weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T


def tensor(array: np.ndarray, layout: torch.memory_format = torch.channels_last) -> torch.Tensor:
    """Turn an array into a tensor; images (N, H, W, C) go channel first and get this layout."""
    made = torch.from_numpy(array)
    return made.permute(0, 3, 1, 2).contiguous(memory_format=layout) if array.ndim == 4 else made


def flat(output: Any) -> Iterator[Any]:
    """Yield the arrays, or tensors, of an output that may be a tuple of outputs."""
    if not isinstance(output, tuple):
        yield output
        return
    for part in output:
        yield from flat(part)


def check(
    modules: list[nn.Module],
    network: Layer,
    x: np.ndarray,
    outputs: list[np.ndarray],
    dy: list[np.ndarray],
) -> None:
    """Compare all outputs and gradients of PyTorch's version with those of minidl's.

    Parameters
    ----------
    modules : list of Module
        One after the other. They keep their weights, and get no gradients.
    network : Layer
        Its layers have the gradients.
    x : np.ndarray, shape (N, H, W, C)
    outputs, dy : list of np.ndarray
        What the network made of ``x``, and the gradients by it that it was then given.

    Raises
    ------
    UserError
        If they are not the same, up to rounding.
    """
    theirs = list(flat(nn.Sequential(*modules)(tensor(x))))
    for number, (y, their_y) in enumerate(zip(outputs, theirs, strict=True)):
        compare(f"output {number}", tensor(y), their_y, OUTPUTS)
    parameters = [each for module in modules for each in module.parameters()]
    found = iter(torch.autograd.grad(theirs, parameters, [tensor(part) for part in dy]))
    for layer in network.layers():
        weight, bias = layer.views(layer.gradient).values()
        for name, mine in (("weight", channels_first(weight)), ("bias", bias)):
            what = f"{layer.name}'s gradient by its {name}"
            compare(what, torch.from_numpy(mine), next(found), GRADIENTS)


def compare(what: str, mine: torch.Tensor, theirs: torch.Tensor, allowed: float) -> None:
    """Raise ``UserError`` unless these tensors are the same, up to rounding."""
    difference = torch.linalg.vector_norm(mine - theirs.detach()).item()
    norm = torch.linalg.vector_norm(mine).item()
    if not difference <= allowed * norm:
        raise UserError(
            f"minidl and PyTorch do not compute the same: {what} differs by {difference:.2g}, "
            f"where its norm is {norm:.2g}"
        )
