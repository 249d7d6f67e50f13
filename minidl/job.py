"""A run made ready: data opened and measured, network built, strategy chosen."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from mpi4py import MPI

from . import checkpoint, snapshot
from .data import Batches, prepared_in_parts, read_ahead
from .hdf5 import readable
from .layers import Layer
from .layers.algorithms import use_algorithm
from .log import Log
from .model import Model
from .objective import Batch, Objective
from .parallel import async_ps, hybrid, sync
from .parallel.agreement import from_one, together
from .roles import Roles
from .settings import Settings
from .stop import Stop
from .stopwatch import Stopwatch
from .validation import Validation

STRATEGIES: dict[str, ModuleType] = {
    "serial": sync,
    "sync": sync,
    "async": async_ps,
    "hybrid": hybrid,
}


@dataclass
class Job:
    """A run that is ready to start: data opened and measured, network built, strategy chosen.

    Attributes
    ----------
    model : Model
        Given as its module; its options are the settings'.
    tell : function (line)
        Is told, on rank 0, how getting ready goes.
    state : State or None
        Where an earlier run is to go on from; the same on every rank.
    setback : str
        Why it goes on from there, if nobody asked for that.
    dealt : Roles or None
        Where ranks have died; else they are dealt as the settings say.
    lost : list of int
        The ranks that have died last.
    stop : Stop
        Whether this rank was asked to end the run.

    Raises
    ------
    AgreedError
        On every rank, if the data cannot be used, there are fewer samples than ranks, or the
        ranks cannot be dealt to the roles that the strategy has.
    """

    comm: MPI.Intracomm
    settings: Settings
    model: Any
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    tell: Callable[[str], None] = print
    state: checkpoint.State | None = None
    setback: str = ""
    dealt: Roles | None = None
    lost: list[int] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    virtual: ClassVar[bool] = False  # whether its seconds are not real ones

    def __post_init__(self) -> None:
        comm, settings = self.comm, self.settings
        with together(comm):
            self.roles = roles = self.dealt or settings.roles(comm.size)
            self.group = roles.group(comm.rank)
            self.model = Model(self.model, settings.options)
            self.dataset = self.model.open(settings.data)
            self.shape = self.model.shape(self.dataset)
            self.batches = Batches(
                len(self.dataset),
                settings.batch_size * settings.accumulate,
                comm.rank,
                roles.workers,
                settings.seed,
            )
            self.validation = None
            if settings.validation:
                self.validation = Validation(
                    self.model, settings.validation, settings.batch_size, comm.size
                )
            self.network: Layer = self.model.network(
                self.shape, np.random.default_rng(settings.seed), **settings.network_options()
            )
            use_algorithm(self.network, settings.algorithm)
            if not self.dealt:
                roles.check([layer.parameters.size for layer in self.network.layers()])
        self._measure()
        self.iterations = settings.iterations_of(self.batches.per_epoch)
        self.ahead = 0  # of its updates, as the schedule counts them
        self.schedule = settings.schedule_for(
            updates=self.iterations * roles.groups, ranks=roles.group_size
        )
        self.strategy = STRATEGIES[settings.strategy].Strategy(
            comm,
            roles,
            self.objective(),
            self.make_optimizer(),
            self.stopwatch,
            **settings.staleness_options(),
        )
        self.log = Log(comm, roles.groups)
        self.done = [0] * roles.groups  # iterations that every group has made
        self.meetings: list[list[int]] = []  # and had made whenever all met
        if self.state:
            self._go_on_from(self.state)

    def _measure(self) -> None:
        """Have rank 0 measure what the model has to know about the data, unless it is known."""
        if self.state:
            self.model.measured = self.state.asked.get("measured", {})
            return
        with self.stopwatch("measure"):
            with together(self.comm):
                if self.comm.rank == 0:
                    self.model.measure_on(self.dataset, self.tell)
            self.model.measured = from_one(self.comm, self.model.measured)

    def _go_on_from(self, state: checkpoint.State) -> None:
        """Put everything where an earlier run left it."""
        what = "the checkpoint"
        with together(self.comm), readable(f"{what} does not fit the run"):
            checkpoint.fill(self.network, state, Path(what))
            snapshot.restore(self.comm, self.strategy, state)
        self.done = snapshot.places(state, self.roles.groups, self.batches.per_epoch)
        if self.done == state.iterations:
            self.meetings = list(state.meetings)
        else:
            made = max(layer.updates for layer in state.layers.values())
            self.ahead = sum(self.done) - made

    def objective(self) -> Any:
        """What the strategy computes with."""
        return Objective(self.network, self.model.loss, self.settings.clip)

    def make_optimizer(self) -> Callable[[np.ndarray], Any]:
        """What the strategy makes updates with: a function (parameters) -> optimiser."""
        return self.settings.optimizer_for(self.rate_of_update, self.roles.groups)

    def rate_of_update(self, updates: int) -> float:
        """The learning rate of a layer's next update; where ranks have changed, of its place."""
        return self.schedule(updates + self.ahead)

    def read(self, items: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Yield what is prepared, before it is asked for."""
        return read_ahead(items)

    def batches_from(self, iteration: int) -> Generator[list[Batch], None, None]:
        """What this rank, if it is a worker, computes on in every iteration after ``iteration``."""
        last = self.iterations if self.group >= 0 else iteration
        return self.read(
            prepared_in_parts(
                self.dataset,
                self.batches,
                self.model.prepare,
                iteration,
                last,
                self.settings.accumulate,
            )
        )

    def place(self) -> dict[str, Any]:
        """What the log says about where the run is."""
        return {"mpi": MPI.Get_library_version().splitlines()[0].strip("\0")}
