"""What every strategy shares: the loop around a step, with its log, validation and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from mpi4py import MPI

from . import health, record, snapshot, soundness
from .errors import DivergedError, UserError
from .job import Job
from .log import Event, Log
from .objective import Batch
from .parallel.agreement import from_one, lowest
from .parallel.failure import is_death, meet
from .parallel.served import UPDATE
from .run import Run


class Training(Job):
    """A job that is carried out: iterations, until all have made theirs.

    Attributes
    ----------
    stopped : bool
        Whether it has ended before, as somebody wanted.
    begun : bool
        Whether all ranks have had the same network.
    made : int
        Iterations of this rank's group.
    losses : Losses
        What is taken for a sound loss.
    origin : tuple of int and str, or None
        Where on this rank a gradient stopped being finite: in which iteration, and what there.
    saves, saving : int, float
        Checkpoints, and seconds for which they have kept it from training.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stopped = self.begun = False
        self.made = 0
        self.losses = soundness.Losses()
        self.origin: tuple[int, str] | None = None
        self.saves, self.saving = 0, 0.0

    def run(self, run: Run | None, tell: Callable[[Event], None]) -> record.Record | None:
        """Train to the end; or, where rank 0 is asked to ``stop``, to a checkpoint of all ranks.

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
            On every rank, if a loss or a parameter stops being a finite number, or a loss explodes.
        UserError
            If ranks' copies differ, or something cannot be written.
        DeathError, MPI.Exception
            If a rank has died, where that is tolerated.
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
        if self.lost and soundness.unsound_layer(self.network):  # on all ranks, or on none
            why = "the network that those had who are left is not finite any more"
            raise DivergedError(why if comm.rank == 0 else "")
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
                    raise DivergedError(
                        health.what_diverged(log.diverged, run.saved() if run else "")
                    )
                self._save(run, log)
        if self.validation and not self.stopped:
            event = self._validated(comm, self.iterations)
            if comm.rank == 0:
                log.write(event)
        if run:
            run.checkpoints.wait()
        return self._record(log)

    def _go_on(self, batches: Iterator[list[Batch]], log: Log) -> bool:
        """Play this rank's part until all meet: every so many iterations, and when they stop.

        Returns whether numbers are not sound any more, on any rank.
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
            meet(self.comm)
            if self.group >= 0 and strategy.group.rank == 0:
                log.settle()
            if self.roles.servers:
                strategy.finish()
        if self.comm.rank == 0 and not log.diverged:
            layer = soundness.unsound_layer(self.network)
            if layer:
                self._tell_diverged(self.made, soundness.described(layer), log)
        diverged = self._tell_all(bool(log.diverged))
        if diverged:
            self._trace_back(log)
        return diverged

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
        strategy, watch = self.strategy, self.stopwatch
        is_root, before = strategy.group.rank == 0, watch.seconds.copy()
        with watch("load"):
            mine = next(batches)
        watch.iteration = iteration
        if is_root and (self.stop.asked or log.diverged or log.asked_to_stop()):
            strategy.objective.asked_to_stop = True
        samples = self.batches.count(iteration - 1, self.roles.members(self.group))
        if samples:  # the last batch of an epoch may leave nothing for a group
            loss = strategy.step(mine)
            self._write(log, self._iterated(iteration, samples, loss, before))
            if strategy.objective.origin and not self.origin:
                self.origin = iteration, strategy.objective.origin
            if not self.losses.sound(loss):
                self._find_origin(iteration, loss, mine, log)
                if self.group == 0:  # else rank 0 hears of it
                    self._stop_all(log)
                return False
        if self._shall_validate(iteration):
            strategy.gather()
            self._write(log, self._validated(strategy.group, iteration))
        if samples and strategy.total[2]:
            self._stop_all(log)
            return False
        return True

    def _write(self, log: Log, event: Event) -> None:
        """Have the group's root write an event."""
        if self.strategy.group.rank == 0:
            with self.stopwatch("write"):
                log.write(event)

    def _iterated(
        self, iteration: int, samples: int, loss: float, before: dict[str, float]
    ) -> Event:
        """What the log says of an iteration; ``before`` it, the stopwatch showed so much."""
        watch = self.stopwatch
        spent = {name: watch.seconds[name] - before[name] for name in watch.seconds}
        return {
            "event": "iteration",
            "group": self.group,
            "iteration": iteration,
            "epoch": iteration / self.batches.per_epoch,
            "samples": samples,
            "seconds": watch.now(),
            "loss": loss,
            **self._terms(),
            "learning_rate": self.schedule((iteration - 1) * self.roles.groups),
            "computing": spent.get("compute", 0.0) + spent.get("send", 0.0),
            "waiting": spent.get("wait", 0.0),
            "loading": spent.get("load", 0.0),
        }

    def _shall_validate(self, iteration: int) -> bool:
        """Whether an epoch ends here and it is the group's turn: so that none falls behind."""
        epoch, more = divmod(iteration, self.batches.per_epoch)
        ends = not more and iteration < self.iterations  # after the last, all validate together
        return bool(self.validation) and ends and epoch % self.roles.groups == self.group

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
        self.saves += 1
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

    def _find_origin(self, iteration: int, loss: float, batches: Sequence[Batch], log: Log) -> None:
        """Say on which rank of the group and in which layer numbers stopped being sound."""
        group = self.strategy.group
        sound = self.losses.sound(self.strategy.objective.own)
        rank, origin = health.origin_in(group, self.network, sound, [x for x, _ in batches])
        if group.rank == 0:
            self._tell_diverged(iteration, origin, log, self.comm.rank + rank, loss)

    def _trace_back(self, log: Log) -> None:
        """Say where it began, if that was a gradient: others noticed by the updates made of it."""
        rank = lowest(self.comm, self.origin is not None)
        if rank < self.comm.size:
            iteration, origin = from_one(self.comm, self.origin, rank)
            if self.comm.rank == 0:
                log.diverged = None
                self._tell_diverged(iteration, origin, log, rank)

    def _tell_diverged(
        self, iteration: int, origin: str, log: Log, rank: int = 0, loss: float = math.nan
    ) -> None:
        log.write(
            {
                "event": "diverged",
                "iteration": iteration,
                "loss": loss,
                "rank": rank,
                "origin": origin,
                "learning_rate": self.settings.learning_rate,
            }
        )
