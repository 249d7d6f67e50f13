"""What the programs of this folder share: strategies by name, layers of known gradients, turns."""

from contextlib import contextmanager

import numpy as np
from mpi4py import MPI

from minidl.layers import Layer, Sequential
from minidl.objective import Objective
from minidl.parallel import async_ps, hybrid, sync
from minidl.parallel.patience import PatientComm
from minidl.parallel.served import UPDATE
from minidl.record import collect
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch

comm = PatientComm(MPI.COMM_WORLD)
MODULES = {"sync": sync, "async": async_ps, "hybrid": hybrid}


def roles_of(name, groups, servers):
    """Roles of all ranks that there are; async has as many groups as workers."""
    return {
        "sync": Roles(comm.size, 1, 0),
        "async": Roles(comm.size, comm.size - servers, servers),
        "hybrid": Roles(comm.size, groups, servers),
    }[name]


def build(name, roles, network, loss, make_optimizer, clip=None, **options):
    objective = Objective(network, loss, clip)
    return MODULES[name].Strategy(comm, roles, objective, make_optimizer, Stopwatch(), **options)


class Given(Layer):
    """A layer whose gradient is what comes from above, times its number."""

    def __init__(self, number, size):
        super().__init__()
        self.number = number
        self._learn(np.float64, weight=(size,))

    def forward(self, x, training=True, require=None):
        if require:
            require(self)
        return x

    def backward(self, dy, announce=None):
        self.gradient[...] = dy * self.number
        announce(self)
        return dy


def given_network():
    """Three layers, one of them too large to be sent before it is received."""
    return Sequential(*[Given(number, size) for number, size in [(1, 5), (2, 1), (3, 70_000)]])


def updates_of(strategy):
    """On rank 0: every update of every server, an array of UPDATE."""
    rows = [row for served in getattr(strategy, "served", {}).values() for row in served.updates]
    everyones = collect(comm, np.array(rows, UPDATE))
    return np.concatenate(everyones) if comm.rank == 0 else None


def check_updates(updates, groups, iterations, layers, bound=None):
    """Versions are consistent, and every gradient made exactly one update."""
    for layer in range(layers):
        mine = updates[updates["layer"] == layer]
        assert mine["made"].tolist() == list(range(1, groups * iterations + 1))
        assert (mine["read"] < mine["made"]).all()
        staleness = mine["made"] - 1 - mine["read"]
        assert bound is None or staleness.max(initial=0) <= bound, staleness
        for group in range(groups):
            of_group = mine[mine["group"] == group]
            assert len(of_group) == iterations
            # It computes on version 0, and then on those that its own updates made.
            assert of_group["read"].tolist() == [0, *of_group["made"][:-1].tolist()]


def check_nothing_is_left(*communicators):
    """No message was sent that nobody received."""
    for communicator in communicators:
        communicator.Barrier()
        assert not communicator.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)


class Turns:
    """Lets the groups step one after the other, so that even asynchronous runs repeat exactly."""

    def __init__(self, roles):
        self.comm, self.roles = comm.Dup(), roles
        self.group = roles.group(comm.rank)
        self.is_root = self.group >= 0 and comm.rank == roles.root(self.group)
        self.token = np.zeros(1)

    @contextmanager
    def __call__(self, first, last):
        if self.is_root and self.roles.groups > 1:
            if not (first and self.group == 0):
                self.comm.Recv(self.token, self.roles.root((self.group - 1) % self.roles.groups))
            yield
            if not (last and self.group == self.roles.groups - 1):
                self.comm.Send(self.token, self.roles.root((self.group + 1) % self.roles.groups))
        else:
            yield
