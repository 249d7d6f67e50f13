"""The engines of minidl, and the product of matrices that they are held against."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..data import CHANCES
from ..errors import UserError
from ..layers import Conv2d, ConvTranspose2d, Layer
from ..layers.strips import parts
from ..model import Model
from ..objective import Batch
from ..threads import use_threads
from .problem import Problem
from .turns import Answer, Turn

Function = Callable[..., Any]

SIDE = 2048  # of the product's square matrices


def step(problem: Problem) -> Turn:
    """Forward, loss, backward and update; or forward and loss."""
    use_threads(problem.threads)
    loss_of, x, target = problem.chosen.loss, problem.x, problem.target
    network = problem.network()
    layers, optimizers = network.layers(), problem.optimizers(network)

    def infer() -> Answer:
        loss_of(network.forward(x, training=False), target)
        return {}

    def train() -> Answer:
        network.backward(loss_of(network.forward(x), target)[1])
        for layer, optimizer in zip(layers, optimizers, strict=True):
            optimizer.step(layer.gradient)
        return {}

    return infer if problem.inference else train


def layers(problem: Problem, data: Path | None) -> Turn:
    """Take a step whose parts are timed one by one, after reading a batch if there are data.

    Answers with the seconds of ``0 forward``, ``0 backward`` and so on, by number of the part; of
    ``update``, ``load``, and of the ``step``, which is all but ``load``; and with the names of the
    algorithms, ``0 algorithm`` and so on, of convolutions.
    """
    use_threads(problem.threads)
    chosen, network = problem.chosen, problem.network()
    learning, optimizers = network.layers(), problem.optimizers(network)
    batches = read(data, len(problem.x), chosen) if data else repeat((problem.x, problem.target))
    spent: Answer = {}
    for number, part in enumerate(parts(network)):
        for way in ("forward", "backward"):
            setattr(part, way, timed(f"{number} {way}", spent)(getattr(part, way)))

    @timed("load", spent)
    def load() -> Batch:
        return next(batches)

    @timed("update", spent)
    def update() -> None:
        for layer, optimizer in zip(learning, optimizers, strict=True):
            optimizer.step(layer.gradient)

    @timed("step", spent)
    def train(x: np.ndarray, target: Any) -> None:
        network.backward(chosen.loss(network.forward(x), target)[1])
        update()

    def turn() -> Answer:
        train(*load())
        return spent | algorithms(network)

    return turn


def algorithms(network: Layer) -> Answer:
    """Name what has computed every convolution, by number of the part."""
    first = [part.leaves()[0] for part in parts(network)]
    return {
        f"{number} algorithm": str(leaf.convolution.algorithm)
        for number, leaf in enumerate(first)
        if isinstance(leaf, Conv2d | ConvTranspose2d)
    }


def timed(name: str, spent: Answer) -> Callable[[Function], Function]:
    """Wrap a function so that the seconds of its last call are in ``spent``."""

    def wrap(function: Function) -> Function:
        def wrapped(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            spent[name] = time.perf_counter() - start
            return result

        return wrapped

    return wrap


def read(data: Path, batch_size: int, chosen: Model) -> Iterator[Batch]:
    """Read and prepare whole batches in random order, for ever."""
    dataset = chosen.open([data])
    chosen.measure_on(dataset, lambda line: None)
    if len(dataset) < batch_size:
        raise UserError(f"{data}: {len(dataset)} samples are no batch of {batch_size}")
    generator = np.random.default_rng(1)
    while True:
        samples = dataset.read(generator.choice(len(dataset), batch_size, replace=False))
        yield chosen.prepare(samples, generator.random((batch_size, CHANCES)))


def sgemm(threads: int) -> Turn:
    """Multiply two large matrices, as fast as the BLAS can."""
    threadpool_limits(threads)
    a, b = np.random.default_rng(1).standard_normal((2, SIDE, SIDE), np.float32)
    out = np.empty_like(a)

    def turn() -> Answer:
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        return {"flops": 2 * SIDE**3 / (time.perf_counter() - start)}

    return turn
