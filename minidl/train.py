"""What every strategy shares: the loop around a step, with its log, validation and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from mpi4py import MPI

from . import checkpoint, health, record, snapshot
from .data import Batches, prepared_in_parts, read_ahead
from .errors import AgreedError, UserError
from .layers import Layer
from .layers.algorithms import use_algorithm
from .log import Event, Log
from .model import Model
from .objective import Batch, Objective
from .parallel import async_ps, hybrid, sync
from .parallel.agreement import from_one, lowest, together
from .parallel.failure import DeathError, is_death, meet
from .parallel.served import UPDATE
from .roles import Roles
from .run import Run
from .settings import Settings
from .stopwatch import Stopwatch
from .validation import Validation


class DivergedError(AgreedError):
    """On every rank, when all have met: numbers have stopped being finite."""


STRATEGIES: dict[str, ModuleType] = {
    "serial": sync,
    "sync": sync,
    "async": async_ps,
    "hybrid": hybrid,
}


@dataclass
class Stop:
    """What a rank has been asked for by signals, if it listens to them."""

    asked: bool = False
    listening: bool = False


@dataclass
class Training:
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
        self.log = Log(comm, self.roles.groups)
        self.stopped = False
        self.begun = False  # with the same network on all ranks
        self.saving = 0.0  # seconds for which checkpoints have kept it from training
        self.done = [0] * roles.groups  # iterations that every group has made
        self.made = 0  # and this rank
        self.meetings: list[list[int]] = []  # and had made whenever all met
        if self.state:
            self._go_on_from(self.state)

    def _go_on_from(self, state: checkpoint.State) -> None:
        """Put everything where an earlier run left it."""
        with together(self.comm):
            checkpoint.fill(self.network, state, Path("the checkpoint"))
        snapshot.restore(self.comm, self.strategy, state)
        self.done = snapshot.places(state, self.roles.groups, self.batches.per_epoch)
        if self.done == state.iterations:
            self.meetings = list(state.meetings)
        else:
            made = max(layer.updates for layer in state.layers.values())
            self.ahead = sum(self.done) - made

    def _measure(self) -> None:
        """Have rank 0 measure what the model has to know about the data, unless it is known."""
        if self.state:
            self.model.measured = self.state.asked.get("measured", {})
            return
        with self.stopwatch("idle"):  # nobody knows how long that takes
            with together(self.comm):
                if self.comm.rank == 0:
                    self.model.measure_on(self.dataset, self.tell)
            self.model.measured = from_one(self.comm, self.model.measured)

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

    def place(self) -> dict[str, Any]:
        """What the log says about where the run is."""
        return {"mpi": MPI.Get_library_version().splitlines()[0].strip("\0")}

    def run(self, run: Run | None, tell: Callable[[Event], None]) -> record.Record | None:
        """Train to the end.

        Parameters
        ----------
        run : Run or None
            Where to write; on rank 0 only.
        tell : function (event)
            Is shown what the log is shown.

        Returns
        -------
        Record or None
            What happened; on rank 0 only.

        Raises
        ------
        DivergedError
            On every rank, if a loss or a parameter stops being a finite number.

        Where rank 0 is asked to ``stop``, all ranks make a checkpoint and have ``stopped`` then.
        """
        comm, strategy, watch, log = self.comm, self.strategy, self.stopwatch, self.log
        log.run, log.tell = run, tell
        if self.state:
            log.samples = self.state.samples
        with watch("wait"):
            strategy.start()
            comm.Barrier()
        self.made = 0 if self.group < 0 else self.done[self.group]
        self.begun = True
        watch.restart(self.state.seconds if self.state else 0.0)
        if self.lost and health.unsound_layer(self.network):  # on all ranks, or on none
            raise DivergedError("the network that those had who are left is not finite any more")
        if not self.state or self.lost:  # what those who are left have is on no disk
            self._save(run, log)
        # What overflows is reported in one line.
        with (
            closing(self.batches_from(self.made)) as batches,
            np.errstate(over="ignore", invalid="ignore"),
        ):
            while min(self.done) < self.iterations and not self.stopped:
                diverged = self._go_on(batches, log)
                if self.stopped and self.group > 0 and strategy.group.rank == 0:
                    log.hear_stop()
                if diverged:
                    raise DivergedError(self._what_diverged(run, log))
                self._save(run, log)
        if self.validation and not self.stopped:
            event = self._validated(comm, self.iterations)
            if comm.rank == 0:
                log.write(event)
        if run:
            run.checkpoints.wait()
        return self._record(log)

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

    def _go_on(self, batches: Iterator[list[Batch]], log: Log) -> bool:
        """Play this rank's part until all meet: every so many iterations, and when they stop.

        Returns whether numbers have stopped being finite, on any rank.
        """
        strategy, every = self.strategy, self.settings.checkpoint_every
        if self.group < 0:
            strategy.serve()
        else:
            until = min(self.iterations, min(self.done) // every * every + every)
            try:
                self._work(batches, until, log)
                strategy.stop()
                self._check_alike()
            except MPI.Exception as error:
                if is_death(self.comm, error):
                    with self.stopwatch("idle"):
                        strategy.survive(error)
                raise
        with self.stopwatch("wait"):
            try:
                meet(self.comm)
            except DeathError:
                log.hear_the_rest()
                raise
            if self.group >= 0 and strategy.group.rank == 0:
                log.settle()
            if self.roles.servers:
                strategy.finish()
        if self.comm.rank == 0 and not log.diverged:
            layer = health.unsound_layer(self.network)
            if layer:
                self._tell_diverged(self.made, health.described(layer), log)
        return self._tell_all(bool(log.diverged))

    def _tell_all(self, diverged: bool) -> bool:
        """Tell all ranks how far every group is, and whether any was asked to stop or diverged."""
        known = np.zeros(self.roles.groups + 2, np.int64)
        if self.group >= 0 and self.strategy.group.rank == 0:
            known[self.group], known[-2] = self.made, self.stopped
        known[-1] = diverged
        with self.stopwatch("wait"):
            self.comm.Allreduce(MPI.IN_PLACE, known)
        *self.done, stopped, not_finite = known.tolist()
        self.stopped = stopped > 0
        self.meetings.append(self.done)
        return not_finite > 0

    def _work(self, batches: Iterator[list[Batch]], until: int, log: Log) -> None:
        """Be a worker: the iterations of this rank's group up to ``until``, or to a stop."""
        goes_on = True
        while goes_on and self.made < until:
            goes_on = self._iterate(self.made + 1, batches, log)
            self.made += 1

    def _iterate(self, iteration: int, batches: Iterator[list[Batch]], log: Log) -> bool:
        """Make an iteration; return whether others may follow."""
        strategy, watch, per_epoch = self.strategy, self.stopwatch, self.batches.per_epoch
        is_root, before = strategy.group.rank == 0, watch.seconds.copy()
        with watch("load"):
            mine = next(batches)
        watch.iteration = iteration
        if is_root and (self.stop.asked or log.diverged or log.asked_to_stop()):
            strategy.objective.asked_to_stop = True
        samples = self.batches.count(iteration - 1, self.roles.members(self.group))
        if samples:  # the last batch of an epoch may leave nothing for a group
            loss = strategy.step(mine)
            spent = {name: watch.seconds[name] - before[name] for name in watch.seconds}
            event = {
                "event": "iteration",
                "group": self.group,
                "iteration": iteration,
                "epoch": iteration / per_epoch,
                "samples": samples,
                "seconds": watch.now(),
                "loss": loss,
                **self._terms(),
                "learning_rate": self.schedule((iteration - 1) * self.roles.groups),
                "computing": spent.get("compute", 0.0) + spent.get("send", 0.0),
                "waiting": spent.get("wait", 0.0),
                "loading": spent.get("load", 0.0),
            }
            if is_root:
                with watch("write"):
                    log.write(event)
            if not math.isfinite(loss):
                self._find_origin(iteration, mine, log)
                if self.group == 0:  # else rank 0 hears of it
                    self._stop_all(log)
                return False
        turn = iteration // per_epoch % self.roles.groups
        epoch_ends = iteration % per_epoch == 0 and iteration < self.iterations
        if self.validation and epoch_ends and turn == self.group:
            # The groups take turns, so that none falls behind the others.
            strategy.gather()
            event = self._validated(strategy.group, iteration)
            if is_root:
                with watch("write"):
                    log.write(event)
        if samples and strategy.total[2]:
            self._stop_all(log)
            return False
        return True

    def _stop_all(self, log: Log) -> None:
        self.stopped = True
        if self.comm.rank == 0:
            log.ask_to_stop([self.roles.root(group) for group in self.roles.others(0)])

    def _terms(self) -> dict[str, Any]:
        """The terms of the last step's loss, if it is a sum, as the log has them."""
        samples, _, *sums = self.strategy.total[1:].tolist()
        terms = self.strategy.objective.terms
        values = (total / samples for total in sums)
        return {"terms": dict(zip(terms, values, strict=True))} if terms else {}

    def _validated(self, comm: MPI.Intracomm, iteration: int) -> Event:
        assert self.validation is not None
        figures = self.validation.figures(comm, self.network, self.read, self.stopwatch)
        seconds = self.stopwatch.now()
        place = {"group": self.group, "iteration": iteration, "seconds": seconds}
        return {"event": "validation", **place, **figures}

    def _check_alike(self) -> None:
        group = self.strategy.group
        difference = health.differing(group, self.strategy.layers, self.roles.root(self.group))
        if difference and group.rank == 0:  # it ends all, as other groups know nothing of it
            raise UserError(difference)

    def _save(self, run: Run | None, log: Log) -> None:
        """Begin to write a checkpoint, where all ranks have met."""
        began, per_epoch = self.stopwatch.now(), self.batches.per_epoch
        with self.stopwatch("wait"):
            state = snapshot.gather(
                self.comm, self.strategy, self.make_optimizer(), self.done, per_epoch
            )
        with self.stopwatch("write"):
            if run and state:
                state.seconds, state.samples = self.stopwatch.now(), log.samples
                state.asked, state.meetings = run.asked, list(self.meetings)
                run.checkpoints.write(state)
                if self.virtual:  # all ranks are in one process, whose disk outlives them
                    run.checkpoints.wait()
        self.saving += self.stopwatch.now() - began

    def _record(self, log: Log) -> record.Record | None:
        """Bring what every rank did to rank 0; log how stale each layer's updates were."""
        updates: list[tuple[int, int, int, int]] = []
        if self.group < 0:
            updates = [row for served in self.strategy.served.values() for row in served.updates]
        layers = [layer.name for layer in self.strategy.layers]
        groups = [self.roles.group(rank) for rank in range(self.comm.size)]
        spans = self.stopwatch.spans()
        with self.stopwatch("wait"):
            whole = record.gather(self.comm, layers, groups, spans, np.array(updates, UPDATE))
        if whole is not None:
            whole.virtual, whole.meetings = self.virtual, self.meetings
            whole.began = self.state.seconds if self.state else 0.0
            for name, histogram in whole.histograms():
                log.write({"event": "staleness", "layer": name, "updates": histogram})
        return whole

    def _find_origin(self, iteration: int, batches: Sequence[Batch], log: Log) -> None:
        """Say on which rank of the group and in which layer numbers stopped being finite."""
        group = self.strategy.group
        # The group's root where only the sum of all is too large.
        first = lowest(group, not self.strategy.objective.sound) % group.size
        origin = health.origin(self.network, batches[-1][0]) if group.rank == first else None
        origin = from_one(group, origin, root=first)
        if group.rank == 0:
            self._tell_diverged(iteration, origin, log, self.comm.rank + first)

    def _tell_diverged(self, iteration: int, origin: str, log: Log, rank: int = 0) -> None:
        log.write(
            {
                "event": "diverged",
                "iteration": iteration,
                "rank": rank,
                "origin": origin,
                "learning_rate": self.settings.learning_rate,
            }
        )

    def _what_diverged(self, run: Run | None, log: Log) -> str:
        event = log.diverged
        if event is None:
            return ""  # rank 0 speaks
        saved = f"; the last good state is {run.saved()}" if run else ""
        return (
            f"the loss is not a finite number any more, at iteration {event['iteration']} on "
            f"rank {event['rank']}: {event['origin']}; try a smaller --learning-rate than "
            f"{event['learning_rate']:g}, or --warmup{saved}"
        )
