"""The engines of PyTorch: its own version of a network of minidl's, with the same weights.

A process that runs one of them is to hold little else, for its memory is compared. So PyTorch is
imported where it is used, and the network comes ready-made, without its model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import UserError
from ..layers import (
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
from .turns import Answer, Turn, UnavailableError

# How PyTorch can be used, by what tables call it.
Way = Literal["NCHW", "NHWC", "compiled"]


@dataclass(frozen=True)
class TorchProblem:
    """A classifier for PyTorch, and a batch for it; see ``Problem``.

    Attributes
    ----------
    parts : list of Layer
        One after the other, they are the network.
    optimizer : "adam" or "sgd"
    """

    parts: list[Layer]
    x: np.ndarray
    target: np.ndarray
    optimizer: str
    threads: int
    inference: bool = False


def step(problem: TorchProblem, way: Way) -> Turn:
    """Forward, loss, backward and update; or forward and loss."""
    import torch

    torch.set_num_threads(problem.threads)
    modules, x, target = prepare(problem, channels_last=way == "NHWC")
    network = torch.nn.Sequential(*modules)
    loss_of = torch.nn.functional.cross_entropy
    make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[problem.optimizer]
    optimizer = make(network.parameters())
    run = compiled(network, x, problem.inference) if way == "compiled" else network

    def infer() -> Answer:
        with torch.inference_mode():
            return {"loss": loss_of(run(x), target).item()}

    def train() -> Answer:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(run(x), target)
        loss.backward()
        optimizer.step()
        return {"loss": loss.item()}

    return infer if problem.inference else train


def layers(problem: TorchProblem, way: Way) -> Turn:
    """Take a step part by part; answers as ``engines.layers`` does.

    Each part gets its input cut off from what made it, so that its backward is its own.
    """
    import torch

    torch.set_num_threads(problem.threads)
    modules, x, target = prepare(problem, channels_last=way == "NHWC")
    parameters = [each for module in modules for each in module.parameters()]
    optimizer = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[problem.optimizer](parameters)

    def turn() -> Answer:
        answer, entering, leaving = {}, [], []
        begin = time.perf_counter()
        y = x
        for number, module in enumerate(modules):
            start = time.perf_counter()
            entering.append(y.detach().requires_grad_(number > 0))
            y = module(entering[-1])
            leaving.append(y)
            answer[f"{number} forward"] = time.perf_counter() - start
        output = y.detach().requires_grad_()
        torch.nn.functional.cross_entropy(output, target).backward()
        dy = output.grad
        for number in reversed(range(len(modules))):
            start = time.perf_counter()
            leaving.pop().backward(dy)
            dy = entering.pop().grad
            answer[f"{number} backward"] = time.perf_counter() - start
        start = time.perf_counter()
        optimizer.step()
        end = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        return {**answer, "update": end - start, "step": end - begin}

    return turn


def prepare(problem: TorchProblem, channels_last: bool) -> tuple[list[Any], Any, Any]:
    """Return PyTorch's version of the parts, the images and the labels, in this layout."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.from_numpy(problem.x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    modules = [twin(part).to(memory_format=layout) for part in problem.parts]
    return modules, x, torch.from_numpy(problem.target)


def compiled(network: Any, x: Any, inference: bool) -> Callable[[Any], Any]:
    """Compile a network for such images.

    Raises
    ------
    UnavailableError
        If that does not work here.
    """
    import torch

    run = torch.compile(network)
    try:
        if inference:
            with torch.inference_mode():
                run(x)
        else:
            run(x).sum().backward()
    except Exception as error:  # of whatever kind: the compiler's, or that there is none
        raise UnavailableError(f"torch.compile does not work here: {first_line(error)}") from None
    return run


def first_line(error: Exception) -> str:
    """Say what went wrong, in a line."""
    return next(filter(None, str(error).splitlines()), type(error).__name__)


def twin(layer: Layer, *, in_place: bool = False) -> Any:
    """Build PyTorch's version of a layer. A ReLU that follows in ``Strips`` works in place.

    Raises
    ------
    UserError
        If none is known.
    """
    from torch import nn

    windows = getattr(layer, "windows", None)
    geometry = (windows.kernel, windows.stride, windows.padding) if windows else ()
    match layer:
        case Sequential():
            together = isinstance(layer, Strips)
            return nn.Sequential(*(twin(child, in_place=together) for child in layer.children))
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
            return nn.ReLU(in_place)
        case GlobalAvgPool2d():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    raise UserError(f"--against torch knows no counterpart of {layer.name}, {type(layer).__name__}")


def filled(module: Any, layer: Conv2d | ConvTranspose2d | Linear) -> Any:
    """Copy the layer's weights, in PyTorch's order: channels first, those that go out before."""
    import torch

    weight = layer.weight
    weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight.copy()))
        module.bias.copy_(torch.from_numpy(layer.bias))
    return module
