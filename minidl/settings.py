"""The settings of a run: the flags of ``minidl train``, and what is kept with the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from . import optim
from .errors import UserError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides the outcome of a run, but the number of ranks.

    Parameters
    ----------
    data
        HDF5 files to train on; several count as one set.
    validation
        HDF5 files to measure loss and accuracy on after every epoch.
    strategy
        serial: one rank; sync: all ranks sum their gradients and make the same update.
    epochs
        Length of the run: times through the data.
    iterations
        Length of the run in updates, instead of epochs.
    batch_size
        Samples per rank; an update sees as many from every rank.
    optimizer
        adam, or sgd with momentum.
    learning_rate
        At the start, before --schedule and --scale-by-ranks.
    momentum
        Of sgd; Adam's beta1.
    nesterov
        Nesterov's momentum, for sgd.
    weight_decay
        Added to the gradient, times the parameters.
    schedule
        constant; step: a tenth after each third of the run; cosine: down to zero.
    scale_by_ranks
        Multiply the learning rate by the number of ranks.
    warmup
        Updates over which that is reached.
    width
        Scales the network down for small machines; hep: filters of each convolution (128).
    seed
        Of initial weights, order and augmentation.
    checkpoint_every
        Iterations between saves of the network.
    """

    data: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    strategy: Literal["serial", "sync"] = "sync"
    epochs: int | None = None
    iterations: int | None = None
    batch_size: int = 8
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Literal["constant", "step", "cosine"] = "constant"
    scale_by_ranks: bool = False
    warmup: int = 0
    width: int | None = None
    seed: int = 1
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in ("epochs", "iterations", "batch_size", "width", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{flag(name)} must be at least 1, got {value}")
        for name in ("warmup", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{flag(name)} must not be negative, got {getattr(self, name)}")
        if not 0 < self.learning_rate < np.inf:
            raise UserError(f"--learning-rate must be a positive number, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise UserError(f"--momentum must lie in [0, 1), got {self.momentum}")
        if self.nesterov and self.optimizer != "sgd":
            raise UserError("--nesterov goes with --optimizer sgd")
        if self.epochs and self.iterations:
            raise UserError("--epochs and --iterations both give the length of a run; give one")

    def updates(self, per_epoch: int) -> int:
        """Length of the run in updates; one epoch unless told."""
        return self.iterations or (self.epochs or 1) * per_epoch

    def network_options(self) -> dict[str, Any]:
        """What the model's ``network`` is given besides the images' shape."""
        return {} if self.width is None else {"width": self.width}

    def optimizer_for(self, updates: int, ranks: int) -> Callable[[np.ndarray], optim.Optimizer]:
        """Return a function (parameters) -> optimiser, for a run of so many updates."""
        schedule = {
            "constant": optim.constant(self.learning_rate),
            "step": optim.step_decay(self.learning_rate, max(1, updates // 3)),
            "cosine": optim.cosine(self.learning_rate, updates),
        }[self.schedule]
        if self.scale_by_ranks:
            schedule = optim.linear_scaling(schedule, ranks, self.warmup)
        common: dict[str, Any] = {
            "learning_rate": schedule,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
        }
        if self.optimizer == "sgd":
            return partial(optim.SGD, nesterov=self.nesterov, **common)
        return partial(optim.Adam, **common)

    def to_json(self) -> dict[str, Any]:
        """As plain values; files by their full path, so that the run can be repeated anywhere."""
        values = asdict(self)
        for name in ("data", "validation"):
            values[name] = [str(path.resolve()) for path in values[name]]
        return values


def flag(name: str) -> str:
    """How a setting is called on the command line."""
    return "--" + name.replace("_", "-")
