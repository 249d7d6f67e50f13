"""One training step of the HEP network, in minidl and in PyTorch, from the same numbers.

An engine is a function (problem) -> (step, update): ``step()`` makes forward, loss and backward
and returns the loss; ``update()`` is the optimiser's. Each imports its library itself, so that a
process which runs one engine holds nothing of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

Problem = Mapping[str, np.ndarray]
Engine = tuple[Callable[[], float], Callable[[], None]]


def minidl_engine(problem: Problem) -> Engine:
    """Build the library's network, with one optimiser a layer as on a synchronous rank."""
    from minidl.losses import softmax_cross_entropy
    from minidl.optim import Adam
    from minidl_models.hep.network import network

    x, labels = problem["x"], problem["labels"]
    net = network(x.shape[1:], np.random.default_rng(1), width=int(problem["width"]))
    for layer in net.layers():
        layer.parameters[...] = problem[layer.name]
    optimizers = [Adam(layer.parameters) for layer in net.layers()]

    def step() -> float:
        loss, dy = softmax_cross_entropy(net.forward(x), labels)
        net.backward(dy)
        return loss

    def update() -> None:
        for layer, optimizer in zip(net.layers(), optimizers, strict=True):
            optimizer.step(layer.gradient)

    return step, update


def torch_engine(problem: Problem, channels_last: bool) -> Engine:
    """Build the same network in PyTorch, eager, pooling before the ReLU and in place as there."""
    import torch
    from torch import nn

    width = int(problem["width"])
    layers: list[nn.Module] = []
    for number, channels in enumerate([3, width, width, width, width], start=1):
        conv = nn.Conv2d(channels, width, 3, padding=1)
        flat = torch.from_numpy(problem[f"conv{number}"])
        with torch.no_grad():
            weight = flat[:-width].reshape(3, 3, channels, width)
            conv.weight.copy_(weight.permute(3, 2, 0, 1))
            conv.bias.copy_(flat[-width:])
        layers += [conv, *([nn.MaxPool2d(2)] if number < 5 else []), nn.ReLU(inplace=True)]
    linear = nn.Linear(width, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(problem["linear"])[:-2].reshape(width, 2).T)
        linear.bias.copy_(torch.from_numpy(problem["linear"])[-2:])
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)

    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    x = torch.from_numpy(problem["x"]).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    labels = torch.from_numpy(problem["labels"])
    optimizer = torch.optim.Adam(net.parameters())

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        return loss.item()

    def update() -> None:
        optimizer.step()

    return step, update


ENGINES: dict[str, Callable[[Problem], Engine]] = {
    "minidl": minidl_engine,
    "torch NCHW": partial(torch_engine, channels_last=False),
    "torch NHWC": partial(torch_engine, channels_last=True),
}


def make_problem(size: int, batch_size: int, width: int) -> dict[str, np.ndarray]:
    """Draw images (N, H, W, C), labels and parameters, and count the step's operations.

    The operations are those of direct convolution, with backward counted as twice forward,
    whatever an engine really does.
    """
    from minidl_models.hep.network import network

    generator = np.random.default_rng(1)
    net = network((size, size, 3), generator, width=width)
    forward = sum(layer.flops(shape) for layer, shape, _ in net.trace((size, size, 3)))
    return {
        "x": generator.standard_normal((batch_size, size, size, 3), np.float32),
        "labels": generator.integers(0, 2, batch_size),
        "width": np.array(width),
        "flops": np.array(3 * batch_size * forward),
        **{layer.name: layer.parameters for layer in net.layers()},
    }
