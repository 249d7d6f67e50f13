"""Training on ranks that are not there: what is learnt is real, and so is staleness; time is not.

Every rank of a ``VirtualCluster`` runs the one ``Training`` with its own network and its own
strategy. By the virtual clock, computing takes a layer's operations over the machine's rate, an
update the layer's bytes over its memory's rate, and messages what the machine says, those of the
log included. Nothing is taken by reading data, by validation's arithmetic, and by writing files.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .checkpoint import State
from .errors import AgreedError
from .objective import Batch
from .parallel.virtual import Death, Machine, Stragglers, VirtualCluster
from .parallel.virtual.ghost import TimedObjective, TimedOptimizer
from .parallel.written_out import summing_by
from .recovery import made_ready
from .settings import Settings
from .stopwatch import Stopwatch
from .summary import summarize
from .train import Training
from .virtual import Virtual


@dataclass(kw_only=True)
class VirtualTraining(Training):
    """Training as one virtual rank does it."""

    comm: Any  # with a clock
    machine: Machine
    stragglers: Stragglers
    virtual = True

    def objective(self) -> TimedObjective:
        """Take time for every sample, layer by layer."""
        rows = [row for row in summarize(self.network, self.shape) if row.parameters]
        return TimedObjective(
            super().objective(),
            self.comm.compute,
            [row.forward / self.machine.flops for row in rows],
            [(row.training - row.forward) / self.machine.flops for row in rows],
            self.stragglers.of(self.comm.rank),
            lambda batches: samples_in(batches) + len(batches) * self.machine.half_batch,
        )

    def make_optimizer(self) -> Callable[[np.ndarray], TimedOptimizer]:
        """Take time for every byte."""
        make = super().make_optimizer()
        return lambda parameters: TimedOptimizer(
            make(parameters), self.comm.compute, self.machine.update_time(parameters.nbytes)
        )

    def read(self, items: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Yield items as they are asked for: all ranks share a thread."""
        return items

    def place(self) -> dict[str, Any]:
        """What the log says about the machine."""
        stragglers = {
            name: value for name, value in asdict(self.stragglers).items() if name != "seed"
        }
        return {"virtual": {"machine": asdict(self.machine), **stragglers}}


def samples_in(batches: Sequence[Batch]) -> int:
    """Count them."""
    return sum(len(x) for x, _ in batches)


def train_on_virtual_ranks(
    virtual: Virtual,
    machine: Machine,
    settings: Settings,
    module: Any,
    state: State | None,
    carry_out: Callable[[Training], None],
) -> float:
    """Call ``carry_out(training)`` on every rank; return how many virtual seconds that took."""
    assert virtual.virtual_ranks is not None
    stragglers = Stragglers(virtual.jitter, virtual.slow_share, virtual.slow_factor, settings.seed)

    def program(comm: Any) -> None:
        try:
            carry_out(
                made_ready(
                    summing_by(settings.all_reduce, comm),
                    VirtualTraining,
                    settings=settings,
                    model=module,
                    stopwatch=Stopwatch(comm.clock),
                    machine=machine,
                    stragglers=stragglers,
                    state=state,
                )
            )
        except AgreedError as error:
            if str(error):  # else another rank is about to speak, which this one must not prevent
                raise

    deaths = {rank: Death(time=seconds) for rank, seconds in virtual.deaths().items()}
    cluster = VirtualCluster(virtual.virtual_ranks, machine, deaths=deaths)
    cluster.run(program)
    return max(rank.clock for rank in cluster.ranks)
