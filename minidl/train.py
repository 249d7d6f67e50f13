"""What every strategy shares: the loop around a step, with its log, validation and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from mpi4py import MPI

from . import checkpoint
from .data import Batches, Dataset, prepared, read_ahead
from .errors import AgreedError
from .layers import Layer
from .parallel import sync
from .parallel.agreement import together
from .run import Run
from .settings import Settings
from .stopwatch import Stopwatch

STRATEGIES: dict[str, ModuleType] = {"serial": sync, "sync": sync}


@dataclass
class Training:
    """A run that is ready to start: data opened, network built, strategy chosen.

    Raises
    ------
    AgreedError
        On every rank, if the data cannot be used, or there are fewer samples than ranks.
    """

    comm: MPI.Intracomm
    settings: Settings
    model: ModuleType
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        comm, settings = self.comm, self.settings
        with together(comm):
            self.dataset = Dataset(settings.data, self.model.FIELDS)
            self.shape = self.model.shape(self.dataset)
            self.batches = Batches(
                len(self.dataset), settings.batch_size, comm.rank, comm.size, settings.seed
            )
            self.validation = None
            if settings.validation:
                self.validation = Dataset(settings.validation, self.model.FIELDS)
                self.model.shape(self.validation)
                self.validation_batches = Batches(
                    len(self.validation), settings.batch_size, comm.rank, comm.size, None
                )
            self.network: Layer = self.model.network(
                self.shape, np.random.default_rng(settings.seed), **settings.network_options()
            )
        self.iterations = settings.updates(self.batches.per_epoch)
        self.strategy = STRATEGIES[settings.strategy].Strategy(
            comm,
            self.network,
            self.model.loss,
            settings.optimizer_for(self.iterations, comm.size),
            self.stopwatch,
        )

    def run(self, run: Run | None, tell: Callable[[dict[str, Any]], None]) -> None:
        """Train to the end.

        Parameters
        ----------
        run : Run or None
            Where to write; on rank 0 only.
        tell : function (event)
            Is shown what the log is shown.

        Raises
        ------
        AgreedError
            If the loss stops being a finite number.
        """
        settings, watch = self.settings, self.stopwatch
        self.strategy.start()
        self._save(run, 0)
        start, samples = time.perf_counter(), 0
        batches = self.batches_from(0)
        for iteration in range(1, self.iterations + 1):
            before = watch.seconds.copy()
            rate = self.strategy.optimizers[0].learning_rate
            with watch("load"):
                x, target = next(batches)
            # A loss that overflows is reported below, in one line.
            with np.errstate(over="ignore", invalid="ignore"):
                loss = self.strategy.step(x, target)
            samples += self._samples_in(iteration)
            spent = {
                name: watch.seconds[name] - before[name] for name in ("compute", "wait", "load")
            }
            event = {
                "event": "iteration",
                "iteration": iteration,
                "epoch": iteration / self.batches.per_epoch,
                "samples": samples,
                "seconds": time.perf_counter() - start,
                "loss": loss,
                "learning_rate": rate,
                "computing": spent["compute"],
                "waiting": spent["wait"],
                "loading": spent["load"],
            }
            self._report(run, tell, event)
            if not math.isfinite(loss):
                raise self._diverged(run, iteration)
            epoch_ends = iteration % self.batches.per_epoch == 0
            if self.validation and (epoch_ends or iteration == self.iterations):
                event = {"event": "validation", "iteration": iteration, **self.validate()}
                self._report(run, tell, event)
            if iteration % settings.checkpoint_every == 0 or iteration == self.iterations:
                self._save(run, iteration)

    def batches_from(self, iteration: int) -> Iterator[tuple[np.ndarray, Any]]:
        """(x, target) of this rank for every update after ``iteration``, read ahead."""
        return read_ahead(
            prepared(self.dataset, self.batches, self.model.prepare, iteration, self.iterations)
        )

    def validate(self) -> dict[str, float]:
        """Mean loss and metrics over the validation samples of all ranks."""
        assert self.validation is not None
        self.strategy.gather()
        batches = self.validation_batches
        items = prepared(self.validation, batches, self.model.prepare, 0, batches.per_epoch)
        totals: dict[str, float] = {"samples": 0.0, "loss": 0.0}
        for x, target in read_ahead(items):
            output = self.network.forward(x, training=False)
            figures = {"loss": self.model.loss(output, target)[0]}
            if hasattr(self.model, "metrics"):
                figures |= self.model.metrics(output, target)
            totals["samples"] += len(x)
            for name, value in figures.items():
                totals[name] = totals.get(name, 0.0) + value * len(x)
        sums = np.array(list(totals.values()))
        self.comm.Allreduce(MPI.IN_PLACE, sums)
        return dict(zip(list(totals)[1:], (sums[1:] / sums[0]).tolist(), strict=True))

    def _samples_in(self, iteration: int) -> int:
        """Samples of all ranks in the update."""
        total = self.settings.batch_size * self.comm.size
        number = (iteration - 1) % self.batches.per_epoch
        return min(total, self.batches.samples - number * total)

    def _report(
        self, run: Run | None, tell: Callable[[dict[str, Any]], None], event: dict[str, Any]
    ) -> None:
        if run:
            run.log(**event)
            tell(event)

    def _save(self, run: Run | None, iteration: int) -> None:
        self.strategy.gather()
        if run:
            checkpoint.save(run.checkpoint, self.network, iteration)
            run.saved = iteration

    def _diverged(self, run: Run | None, iteration: int) -> AgreedError:
        # The reduced loss is the same number on every rank, so that all arrive here together.
        if run is None:
            return AgreedError("")
        rate = self.settings.learning_rate
        return AgreedError(
            f"the loss is not a finite number any more, at iteration {iteration}; try a smaller "
            f"--learning-rate than {rate:g}, or --warmup; the last good state is "
            f"{run.checkpoint}, of iteration {run.saved}"
        )
