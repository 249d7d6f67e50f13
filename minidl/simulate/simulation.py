"""Training without arithmetic on a virtual cluster: when every rank's iterations end, and why then.

What runs is ``sync.Strategy``, ``async_ps.Strategy`` or ``hybrid.Strategy`` as under mpiexec. Only
what it is given differs: a virtual communicator, a network of ghosts, and a stopwatch that adds up
what the rank waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..job import STRATEGIES
from ..parallel.virtual import Machine, Stragglers, VirtualCluster, cohorts_of
from ..parallel.virtual.ghost import (
    GhostLayer,
    GhostNetwork,
    GhostObjective,
    GhostOptimizer,
    NoStopwatch,
)
from ..roles import Roles
from .work import Work

REDUCE, SERVER, BROADCAST = range(3)  # what a rank can wait for


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Parameters
    ----------
    samples : float
        Of each worker and iteration.
    iterations : int
        Of each group.
    seed : int
        Of the machine's jitter.
    """

    work: Work
    machine: Machine
    strategy: str
    roles: Roles
    samples: float
    iterations: int
    seed: int = 1


@dataclass(frozen=True)
class Times:
    """What a simulation has found, in seconds.

    Attributes
    ----------
    ends : np.ndarray, shape (workers, iterations + 1)
        When each worker's iterations ended; the first column: when it began.
    waits : np.ndarray, shape (workers, 3, iterations)
        In each, for ``REDUCE``, ``SERVER`` and ``BROADCAST``.
    """

    ends: np.ndarray
    waits: np.ndarray


class Waits:
    """A stopwatch of waits only, by what is waited for.

    Attributes
    ----------
    seconds : list of float, or of arrays where ranks are played as one
        For ``REDUCE``, ``SERVER`` and ``BROADCAST``, so far.
    """

    def __init__(self, clock: Callable[[], float], workers: int) -> None:
        self.clock, self.workers = clock, workers
        self.seconds = 3 * [0 * clock()]
        self.nothing = NoStopwatch()

    def __call__(self, activity: str, layer: int = -1, peer: int = -1) -> Waits | NoStopwatch:
        """Time a block, if it is a wait: for all of the group, for a server, for the root."""
        if activity != "wait":
            return self.nothing
        self.cause = REDUCE if peer < 0 else SERVER if peer >= self.workers else BROADCAST
        self.began = self.clock()
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        waited = self.clock() - self.began
        self.seconds[self.cause] = self.seconds[self.cause] + waited


def simulate(scenario: Scenario, kind: type[Waits] = Waits) -> tuple[Times, list[Waits]]:
    """Run a scenario; return when what happened, and the stopwatches of all ranks, of this kind.

    Ranks that are played as one share a stopwatch, which keeps arrays.
    """
    roles, iterations = scenario.roles, scenario.iterations
    times = Times(
        np.zeros((roles.workers, iterations + 1)), np.zeros((roles.workers, 3, iterations))
    )
    work, machine = scenario.work, scenario.machine
    layers = [GhostLayer(name, size) for name, size in zip(work.names, work.sizes, strict=True)]
    forward, backward = (
        [machine.compute_time(operations, scenario.samples) for operations in direction]
        for direction in (work.forward, work.backward)
    )
    program = partial(train, scenario, GhostNetwork(layers), forward, backward, times, kind)
    cluster = VirtualCluster(roles.ranks, machine, cohorts=cohorts_of(roles))
    return times, cluster.run(program)


def train(
    scenario: Scenario,
    network: GhostNetwork,
    forward: list[float],
    backward: list[float],
    times: Times,
    kind: type[Waits],
    comm: Any,
) -> Waits:
    """Be one of the ranks."""
    roles, machine, rank = scenario.roles, scenario.machine, comm.rank
    watch = kind(comm.clock, roles.workers)
    slowness = Stragglers(machine.jitter, seed=scenario.seed).of(comm.ranks)
    strategy: Any = STRATEGIES[scenario.strategy].Strategy(
        comm,
        roles,
        GhostObjective(comm.compute, network, forward, backward, slowness),
        lambda parameters: GhostOptimizer(
            parameters, comm.compute, machine.update_time(parameters.nbytes)
        ),
        watch,
    )
    strategy.start()
    if roles.group(rank) < 0:
        strategy.serve()
    else:
        ends, waits = [comm.clock()], [[*watch.seconds]]
        for _ in range(scenario.iterations):
            strategy.step(scenario.samples)
            ends.append(comm.clock())
            waits.append([*watch.seconds])
        times.ends[comm.ranks] = np.transpose(ends)
        times.waits[comm.ranks] = np.transpose(np.diff(waits, axis=0))
        strategy.stop()
    if roles.servers:
        strategy.finish()
    return watch
