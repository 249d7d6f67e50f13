"""How long messages and sums take between two ranks.

``mpiexec -n 2 python -m minidl.parallel.pingpong BYTES``, the bytes being those of the sum.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from mpi4py import MPI

SMALL, LARGE = 8, 4 << 20  # bytes
TIMES = 200


def one_way(comm: MPI.Intracomm, size: int) -> float:
    """Seconds that a message of ``size`` bytes takes; the fastest of many, there and back."""
    buffer, other, fastest = np.zeros(size, np.uint8), 1 - comm.rank, float("inf")
    for _ in range(TIMES):
        comm.Barrier()
        start = time.perf_counter()
        if comm.rank == 0:
            comm.Send(buffer, other)
            comm.Recv(buffer, other)
        else:
            comm.Recv(buffer, other)
            comm.Send(buffer, other)
        fastest = min(fastest, (time.perf_counter() - start) / 2)
    return fastest


def allreduce(comm: MPI.Intracomm, size: int) -> float:
    """Seconds until a rank has the sum of vectors of ``size`` bytes; the fastest of many."""
    vector, fastest = np.zeros(size // 4, np.float32), float("inf")
    for _ in range(TIMES):
        comm.Barrier()
        start = time.perf_counter()
        comm.Allreduce(MPI.IN_PLACE, vector)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


if __name__ == "__main__":
    world = MPI.COMM_WORLD
    latency, large = one_way(world, SMALL), one_way(world, LARGE)
    found = {"latency": latency, "bandwidth": LARGE / (large - latency)}
    found["allreduce"] = allreduce(world, int(sys.argv[1]))
    if world.rank == 0:
        print(json.dumps(found))
