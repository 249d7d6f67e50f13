"""How long messages take between two ranks: ``mpiexec -n 2 python -m minidl.parallel.pingpong``."""

from __future__ import annotations

import json
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


if __name__ == "__main__":
    world = MPI.COMM_WORLD
    latency, large = one_way(world, SMALL), one_way(world, LARGE)
    if world.rank == 0:
        print(json.dumps({"latency": latency, "bandwidth": LARGE / (large - latency)}))
