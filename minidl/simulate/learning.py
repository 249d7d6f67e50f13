"""Learning in virtual time: real samples, gradients and staleness, by the clock of another machine.

What runs is ``sync.Strategy`` or ``hybrid.Strategy`` as under mpiexec, on a rank for every node and
every server. In a group all ranks hold the same parameters, so that its root can compute for all of
them: it takes the samples of all members, whose own part is played by ghosts that take the same
time. Servers hold real parameters.

The clock is charged for another network than the one that computes: the model as it is meant for
(its full width and image size), and a full batch even where an epoch's last is smaller. Messages
and updates are charged by the bytes of the two networks' parameters together: a machine whose
bandwidth, memory and longest eager message are as many times smaller as the network that computes
takes as long for it. Only how the bytes are spread over layers is not charged exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from ..data import prepared_in_parts
from ..errors import UserError
from ..job import STRATEGIES
from ..layers import Layer
from ..model import Model
from ..objective import Batch, Objective
from ..parallel.virtual import Machine, Stragglers, VirtualCluster, cohorts_of
from ..parallel.virtual.ghost import (
    GhostLayer,
    GhostNetwork,
    GhostObjective,
    GhostOptimizer,
    NoStopwatch,
    TimedObjective,
    TimedOptimizer,
)
from ..settings import Settings
from ..stopwatch import Stopwatch
from ..validation import Validation
from .members import GroupBatches, InMemory
from .work import Work

PIECE = 64  # samples that a root computes on at a time: what lies between layers stays small


@dataclass(frozen=True)
class Learnt:
    """What became of a run.

    Attributes
    ----------
    seconds, losses, samples : np.ndarray, shape (updates,)
        Of every group's update, in order of time: when its loss was known, the mean loss over its
        samples, and how many those were.
    staleness : np.ndarray of int, shape (largest + 1,)
        How many of the layers' updates were so stale; one 0 for every update where all are in step.
    validation : dict of str to float
        Figures of the network at the end, if there were data for that.
    """

    seconds: np.ndarray
    losses: np.ndarray
    samples: np.ndarray
    staleness: np.ndarray
    validation: dict[str, float] = field(default_factory=dict)

    @property
    def mean_staleness(self) -> float:
        """Over all updates of all layers."""
        return float(np.average(np.arange(len(self.staleness)), weights=self.staleness))


class Learning:
    """A run to be made.

    Parameters
    ----------
    model : Model
    dataset : InMemory
    settings : Settings
        ``batch_size`` is that of a node; of hybrid, ``groups`` and ``servers`` are given.
    nodes : int
        That compute; servers come on top.
    work : Work
        What an iteration is charged for.
    machine : Machine
        On which it is.

    Raises
    ------
    UserError
        If the network is not one that is charged for, or keeps statistics, of which a group's root
        alone would have others than its members.
    """

    def __init__(
        self,
        model: Model,
        dataset: InMemory,
        settings: Settings,
        nodes: int,
        work: Work,
        machine: Machine,
    ) -> None:
        self.model, self.settings = model, settings
        self.dataset: Any = dataset
        self.roles = settings.roles(nodes + (settings.servers or 0))
        self.roles.check(work.sizes)
        self.shape = model.shape(dataset.dataset)
        network = self.network()
        sizes = [layer.parameters.size for layer in network.layers()]
        if len(sizes) != len(work.sizes):
            raise UserError(
                f"{work.network}: the network has {len(sizes)} layers for these images, and "
                f"{len(work.sizes)} for those that it is meant for; expected as many"
            )
        if any(leaf.statistics.size for leaf in network.leaves()):
            raise UserError(
                f"{work.network}: the network keeps statistics of batches, which cannot be learnt "
                "in virtual time on a part of the nodes; expected one without batch normalisation"
            )
        self.machine = charged(machine, sum(work.sizes) / sum(sizes))
        self.ghosts = GhostNetwork(
            [GhostLayer(name, size) for name, size in zip(work.names, sizes, strict=True)]
        )
        self.forward, self.backward = (
            [machine.compute_time(operations, settings.batch_size) for operations in direction]
            for direction in (work.forward, work.backward)
        )
        self.stragglers = Stragglers(machine.jitter, seed=settings.seed)

    def network(self) -> Layer:
        """Build a network with its first weights."""
        return self.model.network(
            self.shape,
            np.random.default_rng(self.settings.seed),
            **self.settings.network_options(),
        )

    def batches(self, group: int) -> GroupBatches:
        """What a group computes on."""
        return GroupBatches(
            len(self.dataset.read_before), self.settings.batch_size, self.roles.members(group),
            self.roles.workers, self.settings.seed,
        )  # fmt: skip

    def run(self, tell: Callable[[float, float], None] = lambda share, loss: None) -> Learnt:
        """Learn; ``tell(share, loss)`` is told how much of it is done, after each of group 0's."""
        cluster = VirtualCluster(self.roles.ranks, self.machine, cohorts=cohorts_of(self.roles))
        # What overflows is seen in the losses.
        with np.errstate(over="ignore", invalid="ignore"):
            done = cluster.run(partial(self.be_a_rank, tell))
        roots = [done[self.roles.root(group)] for group in range(self.roles.groups)]
        curves = np.concatenate([curve for curve, _ in roots])
        seconds, losses, samples = curves[np.argsort(curves[:, 0], kind="stable")].T
        stale = [made - 1 - read for rows in done[self.roles.workers :] for *_, read, made in rows]
        validation = self.validate(roots[0][1])
        return Learnt(
            seconds, losses, samples, np.bincount(stale or np.zeros(len(losses), int)), validation
        )

    def validate(self, network: Layer) -> dict[str, float]:
        """Figures of the network on data that it has not learnt from."""
        if not self.settings.validation:
            return {}
        validation = Validation(self.model, self.settings.validation, PIECE, 1)
        return validation.figures(MPI.COMM_SELF, network, iter, Stopwatch())

    def be_a_rank(self, tell: Callable[[float, float], None], comm: Any) -> Any:
        """Play a rank's part; a root returns its curve and its network, a server its updates."""
        group, is_root = self.roles.group(comm.rank), self.roles.is_root(comm.rank)
        slowness = self.stragglers.of(comm.ranks)
        network, objective, make_optimizer = (
            self.real(comm, slowness) if is_root or group < 0 else self.ghost(comm, slowness)
        )
        strategy: Any = STRATEGIES[self.settings.strategy].Strategy(
            comm, self.roles, objective, make_optimizer, NoStopwatch()
        )
        strategy.start()
        curve = []
        if group < 0:
            strategy.serve()
        else:
            for share, samples, batches in self.iterations(group, is_root):
                loss = strategy.step(batches)
                curve.append((comm.clock(), loss, samples))
                if comm.rank == 0:
                    tell(share, loss)
            strategy.stop()
        if self.roles.servers:
            strategy.finish()
        if group < 0:
            return [row for served in strategy.served.values() for row in served.updates]
        return (np.array(curve), network) if is_root else None

    def iterations(self, group: int, is_root: bool) -> Iterator[tuple[float, int, list[Batch]]]:
        """Yield what each iteration of a group has: (done with it, number of samples, batches).

        Only a root gets batches.
        """
        batches: Any = self.batches(group)
        total = self.settings.iterations_of(batches.per_epoch)
        for iteration in range(total):
            samples = batches.count(iteration)
            if not samples:  # the last batch of an epoch may leave nothing for a group
                continue
            parts: list[Batch] = []
            if is_root:
                span = iteration, iteration + 1
                pieces = -(-samples // PIECE)
                parts, *_ = prepared_in_parts(
                    self.dataset, batches, self.model.prepare, *span, pieces
                )
            yield (iteration + 1) / total, samples, parts

    def real(self, comm: Any, slowness: Callable[[], float]) -> tuple[Any, Any, Any]:
        """Make the network, the objective and the optimisers of a rank that computes."""
        network, settings = self.network(), self.settings

        def loss(output: Any, target: Any) -> tuple[float, Any]:
            value, gradient = self.model.loss(output, target)
            return float(value), gradient  # without its terms, which ghosts know nothing of

        def make_optimizer(parameters: np.ndarray) -> TimedOptimizer:
            make = settings.optimizer_for(lambda _: settings.learning_rate, self.roles.groups)
            seconds = self.machine.update_time(parameters.nbytes)
            return TimedOptimizer(make(parameters), comm.compute, seconds)

        objective = TimedObjective(
            Objective(network, loss), comm.compute, self.forward, self.backward, slowness
        )
        return network, objective, make_optimizer

    def ghost(self, comm: Any, slowness: Callable[[], float]) -> tuple[Any, Any, Any]:
        """Make the same of a rank that only takes time."""

        def make_optimizer(parameters: Any) -> GhostOptimizer:
            seconds = self.machine.update_time(parameters.nbytes)
            return GhostOptimizer(parameters, comm.compute, seconds)

        objective = GhostObjective(comm.compute, self.ghosts, self.forward, self.backward, slowness)
        return self.ghosts, objective, make_optimizer


def charged(machine: Machine, times: float) -> Machine:
    """Return the machine on which a byte takes as long as so many do on this one."""
    return replace(
        machine,
        bandwidth=machine.bandwidth / times,
        memory=machine.memory / times,
        eager=int(machine.eager / times),
    )
