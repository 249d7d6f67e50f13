"""What is computed: a model's network, and a batch of random images for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..layers import Layer, Sequential
from ..layers.layer import Shape
from ..layers.strips import parts
from ..model import Model, load, random_target
from ..optim import Optimizer
from ..settings import Settings
from ..summary import build, training_flops
from .torch_engines import TorchProblem


@dataclass(frozen=True)
class Problem:
    """What every engine gets; it builds the rest itself.

    Attributes
    ----------
    model : str
        Name of a model.
    width : int or None
        Of its network; its own if None.
    x : np.ndarray, shape (N, H, W, C)
    target : what the model's loss takes
    threads : int
        Of an engine.
    inference : bool
        Whether there is no backward and no update.
    options : dict
        Of the model's own.
    """

    model: str
    width: int | None
    x: np.ndarray
    target: Any
    threads: int
    inference: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> Model:
        """The model, with its options."""
        return Model(load(self.model), self.options)

    def network(self) -> Layer:
        """Build the network, with the same weights every time."""
        return build(self.chosen, self.x.shape[1:], self.width, np.float32)

    def settings(self) -> Settings:
        """The settings that a run has unless told otherwise."""
        return Settings(**getattr(self.chosen, "DEFAULTS", {}))

    def optimizers(self, network: Layer) -> list[Optimizer]:
        """Make the model's optimiser for every layer, in forward order."""
        settings = self.settings()
        make = settings.optimizer_for(settings.schedule_for(updates=1, ranks=1), groups=1)
        return [make(layer.parameters) for layer in network.layers()]

    def flops(self) -> int:
        """Floating-point operations of a step, by direct convolution."""
        traced = self.network().trace(self.x.shape[1:])
        return len(self.x) * sum(
            leaf.flops(entering) if self.inference else training_flops(leaf, entering)
            for leaf, entering, _ in traced
        )

    def for_torch(self) -> TorchProblem:
        """Say the same for PyTorch, after one step of both: they have to compute the same.

        Raises
        ------
        UserError
            If it is not installed, the network is of a kind that is not known there, or the two do
            not compute the same.
        """
        if find_spec("torch") is None:
            raise UserError("--against torch needs PyTorch: pip install 'minidl[torch]'")
        from . import torch_twin

        network, settings = self.network(), self.settings()
        pieces = parts(network) if is_chain(network) else [network]
        modules = [torch_twin.twin(piece) for piece in pieces]
        output = network.forward(self.x.copy())
        dy = self.chosen.loss(output, self.target)[1]
        # Copies: layers may write over what backward is given, and that may be the output itself.
        outputs, slopes = ([part.copy() for part in torch_twin.flat(each)] for each in (output, dy))
        network.backward(dy)
        torch_twin.check(modules, network, self.x, outputs, slopes)
        return TorchProblem(
            modules,
            self.x,
            slopes,
            settings.optimizer,
            settings.momentum_for(groups=1),
            self.threads,
            self.inference,
        )


def is_chain(layer: Layer) -> bool:
    """Whether layers follow each other, without branches or shortcuts."""
    return not layer.children or (
        isinstance(layer, Sequential) and all(is_chain(child) for child in layer.children)
    )


def make_problem(
    name: str,
    shape: Shape,
    batch_size: int,
    width: int | None = None,
    threads: int = 1,
    inference: bool = False,
    options: dict[str, Any] | None = None,
) -> Problem:
    """Draw images of ``shape``, (H, W, C), and targets.

    Raises
    ------
    UserError
        If there is no such model, or it has no network for such images.
    """
    for flag, value in (("--batch-size", batch_size), ("--threads", threads)):
        if value < 1:
            raise UserError(f"{flag} must be at least 1, got {value}")
    chosen = Model(load(name), options)
    generator = np.random.default_rng(1)
    x = generator.standard_normal((batch_size, *shape), np.float32)
    output = build(chosen, shape, width, np.float32).forward(x.copy(), training=False)
    target = random_target(chosen, output, generator)
    return Problem(name, width, x, target, threads, inference, chosen.options)


def image_shape(name: str, data: Path) -> Shape:
    """(H, W, C) of a file's images, which has to be one of the model's."""
    chosen = Model(load(name))
    shape: Shape = chosen.shape(chosen.open([data]))
    return shape
