"""Jobs under mpiexec that train the HEP network on random images, for several benchmarks."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np


class Job(NamedTuple):
    """A strategy and the ranks that it runs on."""

    strategy: str
    groups: int
    workers: int
    servers: int

    @property
    def ranks(self) -> int:
        """All of them."""
        return self.workers + self.servers


class Rank:
    """One rank of a job, ready to start.

    Parameters
    ----------
    job : Job
    arguments : argparse.Namespace
        Its ``size`` is that of the images, its ``width`` the filters of each convolution.
    batch_size : int
        Of each worker.
    """

    def __init__(self, job: Job, arguments: argparse.Namespace, batch_size: int) -> None:
        # Here and not above: the process that starts the jobs must not start MPI itself.
        from mpi4py import MPI

        from minidl.job import STRATEGIES
        from minidl.losses import softmax_cross_entropy
        from minidl.objective import Objective
        from minidl.optim import Adam
        from minidl.parallel.patience import PatientComm
        from minidl.roles import Roles
        from minidl.stopwatch import Stopwatch
        from minidl_models.hep.network import network

        self.comm = PatientComm(MPI.COMM_WORLD)  # as minidl train has it
        self.roles, self.watch = Roles(self.comm.size, job.groups, job.servers), Stopwatch()
        generator = np.random.default_rng(self.comm.rank)
        shape = (arguments.size, arguments.size, 3)
        net = network(shape, generator, width=arguments.width)
        objective = Objective(net, softmax_cross_entropy)
        self.strategy: Any = STRATEGIES[job.strategy].Strategy(
            self.comm, self.roles, objective, Adam, self.watch
        )
        self.is_worker = self.comm.rank < self.roles.workers
        x = generator.standard_normal((batch_size, *shape), np.float32)
        self.batches = [(x, generator.integers(0, 2, batch_size))]
