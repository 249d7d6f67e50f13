"""The settings of a run: the flags of ``minidl train``, and what is kept with the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter

from . import optim
from .errors import UserError
from .layers.algorithms import AlgorithmName
from .roles import Roles

NO_SETTINGS = ("model", "virtual", "measured")  # but beside them in a run's settings.json


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
        serial: one rank; sync: all ranks sum their gradients and make the same update; async:
        parameter servers update for each worker by itself; hybrid: for each group of workers.
    groups
        Of hybrid: groups of workers, equal in size (2 unless given).
    servers
        Of async and hybrid: the last ranks hold the layers, dealt by size (1 unless given).
    staleness_bound
        Of async and hybrid: no gradient is applied after more updates by others than this.
    scale_by_staleness
        Of async and hybrid: multiply an update's learning rate by 1 / (1 + its staleness).
    all_reduce
        Sums over ranks: by the MPI library, or by an algorithm as minidl/parallel/allreduce.py
        writes it out. Virtual ranks take the time of its messages then.
    epochs
        Length of the run: times through the data.
    iterations
        Length of the run in updates, instead of epochs.
    batch_size
        Samples per worker and pass; an update sees as many from every worker of a group.
    accumulate
        Passes whose gradients add up to one update.
    clip
        Largest norm of a worker's gradient; a longer one is scaled down before it is sent.
    optimizer
        adam, or sgd with momentum.
    learning_rate
        At the start, before --schedule and --scale-by-ranks.
    momentum
        Of sgd; Adam's beta1. auto: 0.9 less what the asynchrony of G groups adds, 1 - 1/G.
    nesterov
        Nesterov's momentum, for sgd.
    weight_decay
        Added to the gradient, times the parameters.
    schedule
        constant; step: a tenth after each third of the run; cosine: down to zero.
    scale_by_ranks
        Multiply the learning rate by the number of ranks that an update sums over.
    warmup
        Updates over which that is reached.
    width
        For small machines: filters of each convolution (hep: 128), or of the first (climate: 128).
    algorithm
        Of convolutions; auto: the fastest for each layer's shape. im2col rounds the least.
    threads
        Of each rank, for convolutions. A rank a core is faster than threads.
    seed
        Of initial weights, order and augmentation.
    watchdog
        Seconds that one thing may take, a layer's gradient or a batch's reading: a rank that hangs
        says where, and ends all. Measuring the data, and having nothing to do as a server, may
        take any time. Not for virtual ranks.
    on_divergence
        Where numbers stop being finite, or the loss is 10,000 times what it was at first: stop; or
        go back to the last checkpoint and halve the learning rate, at most five times.
    checkpoint_every
        Iterations between checkpoints, for which all groups wait for each other.
    options
        Of the model's own, by name.
    """

    data: tuple[Path, ...] = ()
    validation: tuple[Path, ...] = ()
    strategy: Literal["serial", "sync", "async", "hybrid"] = "sync"
    groups: int | None = None
    servers: int | None = None
    staleness_bound: int | None = None
    scale_by_staleness: bool = False
    all_reduce: Literal["mpi", "naive", "tree", "ring", "recursive_doubling", "rabenseifner"] = (
        "mpi"
    )
    epochs: int | None = None
    iterations: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    clip: float | None = None
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    momentum: float | Literal["auto"] = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: Literal["constant", "step", "cosine"] = "constant"
    scale_by_ranks: bool = False
    warmup: int = 0
    width: int | None = None
    algorithm: AlgorithmName = "auto"
    threads: int = 1
    seed: int = 1
    watchdog: float = 600.0
    on_divergence: Literal["stop", "back"] = "stop"
    checkpoint_every: int = 100
    # Each is a flag of its own, which ``minidl train`` takes as it takes those of this page.
    options: Annotated[dict[str, Any], Parameter(parse=False)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (
            "epochs", "iterations", "batch_size", "accumulate", "width", "checkpoint_every",
            "groups", "servers", "threads",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{flag(name)} must be at least 1, got {value}")
        for name in ("warmup", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{flag(name)} must not be negative, got {getattr(self, name)}")
        if not 0 < self.learning_rate < np.inf:
            raise UserError(f"--learning-rate must be a positive number, got {self.learning_rate}")
        if self.momentum != "auto" and not 0 <= self.momentum < 1:
            raise UserError(f"--momentum must lie in [0, 1) or be auto, got {self.momentum}")
        if not 0 < self.watchdog < np.inf:
            raise UserError(f"--watchdog must be a positive number, got {self.watchdog}")
        if self.clip is not None and not 0 < self.clip < np.inf:
            raise UserError(f"--clip must be a positive number, got {self.clip}")
        if self.nesterov and self.optimizer != "sgd":
            raise UserError("--nesterov goes with --optimizer sgd")
        if self.epochs and self.iterations:
            raise UserError("--epochs and --iterations both give the length of a run; give one")
        for name in ("groups", "servers", "staleness_bound", "scale_by_staleness"):
            users = ("hybrid",) if name == "groups" else ("async", "hybrid")
            if getattr(self, name) and self.strategy not in users:
                raise UserError(
                    f"{flag(name)} goes with --strategy {' or '.join(users)}, "
                    f"not with {self.strategy}"
                )

    def roles(self, ranks: int) -> Roles:
        """Deal so many ranks to the roles that the strategy has.

        Raises
        ------
        UserError
            If that is not possible, or no run with so many groups stays within --staleness-bound.
        """
        if self.strategy in ("serial", "sync"):
            return Roles(ranks, groups=1, servers=0)
        servers = self.servers or 1
        if ranks <= servers:
            raise UserError(
                f"--strategy {self.strategy} with {servers} of {ranks} ranks as parameter servers "
                f"leaves no worker; start more, as mpiexec -n {servers + 2} "
                f"(or --virtual-ranks {servers + 2})"
            )
        groups = (self.groups or 2) if self.strategy == "hybrid" else ranks - servers
        roles = Roles(ranks, groups, servers)
        if self.staleness_bound is not None and self.staleness_bound < groups - 1:
            raise UserError(
                f"--staleness-bound {self.staleness_bound} is too small for {groups} groups: they "
                f"start together, and the last of their first gradients is {groups - 1} updates "
                f"stale; expected at least {groups - 1}"
            )
        return roles

    def iterations_of(self, per_epoch: int) -> int:
        """Length of the run in iterations of every group; one epoch unless told."""
        return self.iterations or (self.epochs or 1) * per_epoch

    def staleness_options(self) -> dict[str, Any]:
        """What the strategy is given if it has servers."""
        if self.strategy in ("serial", "sync"):
            return {}
        return {
            "staleness_bound": self.staleness_bound, "scale_by_staleness": self.scale_by_staleness
        }  # fmt: skip

    def network_options(self) -> dict[str, Any]:
        """What the model's ``network`` is given besides the images' shape."""
        return {} if self.width is None else {"width": self.width}

    def schedule_for(self, updates: int, ranks: int) -> optim.Schedule:
        """Learning rate of a run of so many updates, each summed over so many ranks."""
        schedule = {
            "constant": optim.constant(self.learning_rate),
            "step": optim.step_decay(self.learning_rate, max(1, updates // 3)),
            "cosine": optim.cosine(self.learning_rate, updates),
        }[self.schedule]
        return (
            optim.linear_scaling(schedule, ranks, self.warmup) if self.scale_by_ranks else schedule
        )

    def momentum_for(self, groups: int) -> float:
        """The momentum that optimisers are given, where so many groups update."""
        return optim.explicit_momentum(groups) if self.momentum == "auto" else self.momentum

    def optimizer_for(
        self, schedule: optim.Schedule, groups: int
    ) -> Callable[[np.ndarray], optim.Optimizer]:
        """Return a function (parameters) -> optimiser."""
        common: dict[str, Any] = {
            "learning_rate": schedule,
            "momentum": self.momentum_for(groups),
            "weight_decay": self.weight_decay,
        }
        if self.optimizer == "sgd":
            return partial(optim.SGD, nesterov=self.nesterov, **common)
        return partial(optim.Adam, **common)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """Settings as ``to_json`` wrote them, whatever else is among the values.

        Raises
        ------
        TypeError
            If there are unknown ones.
        """
        own = {name: value for name, value in values.items() if name not in NO_SETTINGS}
        files = {name: tuple(map(Path, own.get(name, ()))) for name in ("data", "validation")}
        return cls(**(own | files))

    def to_json(self) -> dict[str, Any]:
        """As plain values; files by their full path, so that the run can be repeated anywhere."""
        values = asdict(self)
        for name in ("data", "validation"):
            values[name] = [str(path.resolve()) for path in values[name]]
        return values


def flag(name: str) -> str:
    """How a setting is called on the command line."""
    return "--" + name.replace("_", "-")
