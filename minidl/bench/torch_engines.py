"""The engines of PyTorch: a step of its own version of a network of minidl's.

A process that runs one of them is to hold little else, for its memory is compared. So PyTorch is
imported where it is used, and its network comes ready-made, without the model and its loss. What
PyTorch sends backward is a fixed gradient by the outputs, which the model's loss gave once: the
loss itself is no part of PyTorch's time, in PyTorch's favour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .turns import Answer, Turn, UnavailableError

# How PyTorch can be used, by what tables call it.
Way = Literal["NCHW", "NHWC", "compiled"]


@dataclass(frozen=True)
class TorchProblem:
    """A network of PyTorch's, and a batch for it; see ``Problem``.

    Attributes
    ----------
    modules : list of Module
        One after the other, they are the network.
    dy : list of np.ndarray
        The loss's gradient by each output.
    optimizer : "adam" or "sgd"
    momentum : float
        Of sgd.
    """

    modules: list[Any]
    x: np.ndarray
    dy: list[np.ndarray]
    optimizer: str
    momentum: float
    threads: int
    inference: bool = False


def step(problem: TorchProblem, way: Way) -> Turn:
    """Forward, backward and update; or forward."""
    import torch

    from .torch_twin import flat

    torch.set_num_threads(problem.threads)
    modules, x, dy = prepare(problem, channels_last=way == "NHWC")
    network = torch.nn.Sequential(*modules)
    optimizer = make_optimizer(problem, network.parameters())
    run = compiled(network, x, dy, problem.inference) if way == "compiled" else network

    def infer() -> Answer:
        with torch.inference_mode():
            run(x)
        return {}

    def train() -> Answer:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([*flat(run(x))], dy)
        optimizer.step()
        return {}

    return infer if problem.inference else train


def layers(problem: TorchProblem, way: Way) -> Turn:
    """Take a step module by module; answers as ``engines.layers`` does.

    Each gets its input cut off from what made it, so that its backward is its own.
    """
    import torch

    torch.set_num_threads(problem.threads)
    modules, x, (last,) = prepare(problem, channels_last=way == "NHWC")
    parameters = [each for module in modules for each in module.parameters()]
    optimizer = make_optimizer(problem, parameters)

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
        dy = last
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


def prepare(problem: TorchProblem, channels_last: bool) -> tuple[list[Any], Any, list[Any]]:
    """Return the modules, the images and the gradients by the outputs, in this layout."""
    import torch

    from .torch_twin import tensor

    layout = torch.channels_last if channels_last else torch.contiguous_format
    modules = [module.to(memory_format=layout) for module in problem.modules]
    return modules, tensor(problem.x, layout), [tensor(part, layout) for part in problem.dy]


def make_optimizer(problem: TorchProblem, parameters: Iterable[Any]) -> Any:
    """Make PyTorch's optimiser of this kind."""
    import torch

    if problem.optimizer == "adam":
        return torch.optim.Adam(parameters)
    return torch.optim.SGD(parameters, momentum=problem.momentum)


def compiled(network: Any, x: Any, dy: list[Any], inference: bool) -> Callable[[Any], Any]:
    """Compile a network for such images.

    Raises
    ------
    UnavailableError
        If that does not work here.
    """
    import torch

    from .torch_twin import flat

    run = torch.compile(network)
    try:
        if inference:
            with torch.inference_mode():
                run(x)
        else:
            torch.autograd.backward([*flat(run(x))], dy)
    except Exception as error:  # of whatever kind: the compiler's, or that there is none
        raise UnavailableError(f"torch.compile does not work here: {first_line(error)}") from None
    return run


def first_line(error: Exception) -> str:
    """Say what went wrong, in a line."""
    return next(filter(None, str(error).splitlines()), type(error).__name__)
