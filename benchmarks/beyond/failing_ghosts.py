"""The same jobs on a virtual cluster: the strategies' own code, ranks that die, and survivors.

What ``failure_model.py`` draws at random happens here: ranks of a ``VirtualCluster`` die at drawn
times; those who are left hear of it from MPI, revoke, shrink, deal the roles anew and go on. Layers
are ghosts, and all nodes are alike. Servers live for ever.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from failure_model import Job
from mpi4py import MPI

from minidl.job import STRATEGIES
from minidl.parallel.failure import DeathError, is_death, left_of, meet
from minidl.parallel.virtual import Death, Machine, VirtualCluster
from minidl.parallel.virtual.ghost import (
    GhostLayer,
    GhostNetwork,
    GhostObjective,
    GhostOptimizer,
    NoStopwatch,
)
from minidl.recovery import dealt_anew
from minidl.roles import Roles

MACHINE = Machine("quick", latency=1e-6, bandwidth=1e10, eager=8192)
NETWORK = GhostNetwork([GhostLayer("first", 1000), GhostLayer("second", 100)])


def strategy_of(name: str, comm: Any, roles: Roles, job: Job) -> Any:
    """Make a strategy of ghosts: a quarter of an iteration for each pass of each layer."""
    seconds = [job.iteration / 4] * 2
    return STRATEGIES[name].Strategy(
        comm,
        roles,
        GhostObjective(comm.compute, NETWORK, seconds, seconds),
        lambda parameters: GhostOptimizer(parameters, comm.compute, 0.0),
        NoStopwatch(),
    )


def drawn_deaths(job: Job, generator: np.random.Generator) -> dict[int, float]:
    """Draw when each worker dies."""
    return dict(enumerate(generator.exponential(job.mtbf, job.nodes).tolist()))


def ends_and_resumes(job: Job, interval: float, generator: np.random.Generator) -> float:
    """Run ``sync``; after each death, all of it again from the last checkpoint."""
    clock = 0.0
    blocks, steps = round(job.work / interval), round(interval / job.iteration)
    done = 0
    while True:
        deaths = drawn_deaths(job, generator)
        first = min(deaths.values())
        if clock and first < job.restart:
            clock += first
            continue
        start = job.restart if clock else 0.0
        written: list[float] = []  # when checkpoints were complete
        program = partial(in_blocks, job, start, blocks - done, steps, written)
        dying = {rank: Death(time=time) for rank, time in deaths.items()}
        with suppress(MPI.Exception):
            VirtualCluster(job.nodes, MACHINE, deaths=dying).run(program)
        done += sum(time <= first for time in written)
        if done == blocks:
            return clock + written[-1]
        clock += first


def in_blocks(
    job: Job, start: float, blocks: int, steps: int, written: list[float], comm: Any
) -> None:
    """Be a rank of a job that ends with a death."""
    comm.compute(start)
    strategy = strategy_of("sync", comm, Roles(comm.size, 1, 0), job)
    strategy.start()
    for _ in range(blocks):
        for _ in range(steps):
            strategy.step(1)
        strategy.stop()
        comm.Barrier()
        comm.compute(job.checkpoint)
        if comm.rank == 0:
            written.append(comm.clock())


def survives(job: Job, groups: int, interval: float, generator: np.random.Generator) -> float:
    """Run ``sync``, or ``hybrid`` with a server, through all deaths."""
    roles = Roles(job.nodes + (groups > 1), groups, int(groups > 1))
    steps = round(interval / job.iteration)
    dying = {rank: Death(time=time) for rank, time in drawn_deaths(job, generator).items()}
    cluster = VirtualCluster(roles.ranks, MACHINE, deaths=dying)
    ends = cluster.run(lambda comm: Member(job, roles, comm).work(steps))
    return max(end for end in ends if isinstance(end, float))


class Member:
    """A rank of a job that survives.

    Attributes
    ----------
    left : int
        Iterations of single nodes that are left to do; all ranks know the same.
    made : int
        Its group's iterations that are not counted in that yet.
    """

    def __init__(self, job: Job, roles: Roles, comm: Any) -> None:
        self.job, self.roles, self.comm = job, roles, comm
        self.left, self.made = round(job.work / job.iteration) * job.nodes, 0
        self.strategy: Any = None

    def work(self, steps: int) -> float:
        """Meet after so many steps, until all is done; return when that was."""
        while self.left > 0:
            try:
                if self.strategy is None:
                    name = "hybrid" if self.roles.servers else "sync"
                    self.strategy = strategy_of(name, self.comm, self.roles, self.job)
                    self.strategy.start()
                self.block(min(steps, -(-self.left // self.roles.workers)))
                meet(self.comm)
                self.count(self.comm.rank)
                self.comm.compute(self.job.checkpoint)
            except (MPI.Exception, DeathError) as error:
                self.go_on_without_the_dead(error)
                self.comm.compute(self.job.pause)
        return float(self.comm.clock())

    def block(self, steps: int) -> None:
        """Make so many steps, or serve those who do."""
        strategy = self.strategy
        try:
            if self.comm.rank < self.roles.workers:
                for _ in range(steps):
                    strategy.step(1)
                    self.made += 1
                strategy.stop()
            else:
                strategy.serve()
            if self.roles.servers:
                strategy.finish()
        except MPI.Exception as error:
            if not is_death(self.comm, error):
                raise
            strategy.survive(error)

    def go_on_without_the_dead(self, error: Exception) -> None:
        """Find who is left, and deal the roles anew."""
        if self.strategy is not None:
            self.strategy.group.Revoke()
            self.strategy = None
        rank = self.comm.rank
        while True:
            self.comm = left_of(self.comm, error)
            try:
                ranks = np.empty(self.comm.size, np.int64)
                self.comm.Allgather(np.array(rank), ranks)
                self.count(rank)
                break
            except (MPI.Exception, DeathError) as another:
                error = another
        dealt = dealt_anew(self.roles, ranks.tolist())
        assert dealt is not None
        self.roles = dealt

    def count(self, rank: int) -> None:
        """Count what all groups have made: of each, what the last of its members knows of.

        Parameters
        ----------
        rank : int
            By which the roles know this one.
        """
        known = np.empty((self.comm.size, 2), np.int64)
        self.comm.Allgather(np.array([self.roles.group(rank), self.made]), known)
        for group in set(known[:, 0].tolist()) - {-1}:
            made = int(known[known[:, 0] == group, 1].min())
            self.left -= made * len(self.roles.members(group))
        self.made = 0
