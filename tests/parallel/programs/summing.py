"""Several sums under way at once, by each algorithm; what every rank ends with.

Under mpiexec, rank 0 prints a digest of each rank's sums, a line an algorithm.
"""

import hashlib

import numpy as np
from mpi4py import MPI

from minidl.parallel.allreduce import ALGORITHMS
from minidl.parallel.written_out import WrittenOut

KINDS = [
    (0, np.float64), (1, np.float32), (5, np.float64), (7, np.int32), (40, np.float32),
    (30_000, np.float64),  # of a size that MPI libraries do not send unasked
]  # fmt: skip


def program(algorithm, comm):
    """Sums of all kinds, for all and for one, waited for in another order on each rank."""
    comm, generator = WrittenOut(comm, ALGORITHMS[algorithm]), np.random.default_rng(comm.rank)
    vectors = [(1000 * generator.standard_normal(size)).astype(kind) for size, kind in KINDS]
    copies, kept = ([vector.copy() for vector in vectors] for _ in range(2))
    totals = [np.empty_like(vector) for vector in vectors]
    at_root = [np.zeros_like(vector) for vector in vectors]
    is_root = comm.rank == comm.size - 1
    mine, received = np.array([comm.rank]), np.array([-1])  # a message that is not of a sum
    sent = comm.Isend(mine, (comm.rank + 1) % comm.size, 0)
    requests = [comm.Iallreduce(MPI.IN_PLACE, vector) for vector in vectors]
    requests += [comm.Iallreduce(*pair) for pair in zip(copies, totals, strict=True)]
    requests += [
        comm.Ireduce(copy, total if is_root else None, root=comm.size - 1)
        for copy, total in zip(copies, at_root, strict=True)
    ]
    for request in requests:
        request.Test()
    for place in generator.permutation(len(requests)):
        requests[place].Wait()
    largest = np.array([comm.rank])
    comm.Allreduce(MPI.IN_PLACE, largest, MPI.MAX)
    comm.Recv(received, (comm.rank - 1) % comm.size, 0)
    sent.Wait()
    assert all(request.Test() for request in requests)
    assert largest == comm.size - 1
    assert received == (comm.rank - 1) % comm.size
    for vector, copy, own, total, at_one in zip(
        vectors, copies, kept, totals, at_root, strict=True
    ):
        np.testing.assert_array_equal(copy, own)
        np.testing.assert_array_equal(total, vector)
        np.testing.assert_array_equal(at_one, vector if is_root else 0)
    ends = b"".join(vector.tobytes() for vector in (*vectors, *totals, *at_root))
    return hashlib.sha256(ends).hexdigest()


if __name__ == "__main__":
    world = MPI.COMM_WORLD
    for algorithm in ALGORITHMS:
        own = np.frombuffer(program(algorithm, world).encode(), np.uint8)
        rows = np.empty((world.size, own.size), np.uint8)
        world.Gather(own, rows)
        if world.rank == 0:
            print(*(row.tobytes().decode() for row in rows))
