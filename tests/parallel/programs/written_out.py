"""Training steps of a small network with sums that are written out; what every rank ends with.

Under mpiexec, rank 0 prints the bytes of all ranks' parameters, in hexadecimal, for each strategy
and algorithm. Arguments: the algorithms, all unless given. "library" leaves the sums to MPI.
"""

import sys
from functools import partial

import numpy as np

from minidl.layers import Conv2d, Flatten, Linear, ReLU, Sequential
from minidl.losses import softmax_cross_entropy
from minidl.objective import Objective
from minidl.optim import Adam
from minidl.parallel import hybrid, sync
from minidl.parallel.allreduce import ALGORITHMS
from minidl.parallel.written_out import WrittenOut
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch


def program(strategy, algorithm, comm):
    """Four steps on random samples of which every rank has its own; returns all parameters."""
    servers = 1 if strategy == "hybrid" else 0
    generator = np.random.default_rng(1)
    network = Sequential(
        Conv2d(2, 3, 3, generator=generator, input_gradient=False),
        ReLU(),
        Flatten(),
        Linear(3 * 3 * 3, 4, generator=generator),
    )
    own = np.random.default_rng([2, comm.rank])
    roles = Roles(comm.size, 1, servers)
    if algorithm != "library":
        comm = WrittenOut(comm, ALGORITHMS[algorithm])
    trained = {"sync": sync, "hybrid": hybrid}[strategy].Strategy(
        comm,
        roles,
        Objective(network, softmax_cross_entropy),
        partial(Adam, learning_rate=0.01),
        Stopwatch(),
    )
    trained.start()
    if roles.group(comm.rank) < 0:
        trained.serve()
    else:
        for _ in range(4):
            x = own.standard_normal((3, 5, 5, 2), dtype=np.float32)
            trained.step([(x, own.integers(0, 4, 3))])
        trained.stop()
    if servers:
        trained.finish()
    return np.concatenate([layer.parameters for layer in trained.layers]).tobytes()


if __name__ == "__main__":
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    for strategy in ("sync", "hybrid"):
        for algorithm in sys.argv[1:] or ALGORITHMS:
            said = world.gather(program(strategy, algorithm, world))
            if world.rank == 0:
                print(*(row.hex() for row in said))
