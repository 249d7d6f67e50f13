"""The all-reduce written out: three ways to give every rank the sum of all ranks' vectors.

MPI libraries choose among such algorithms by the vector's size and the number of ranks, and with
the algorithm changes the order of the sum, and so its last bits. Written out, the order is ours.

Source: R. Thakur, R. Rabenseifner and W. Gropp, Optimization of Collective Communication
Operations in MPICH (2005), sections 3 and 4. Costs, for P ranks and n bytes, each message with
latency a and b seconds a byte: tree 2 log2(P) (a + n b); recursive doubling log2(P) (a + n b);
ring 2 (P - 1) (a + n b / P), the least bytes and the most messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Algorithm = Callable[[Any, np.ndarray], None]


def tree(comm: Any, vector: np.ndarray) -> None:
    """Add up towards rank 0 in a binomial tree, then send the sum back the same way.

    ::

        0 <- 1   2 <- 3   4 <- 5        then 0 <- 2, then 0 <- 4; and back
    """
    received, reach = np.empty_like(vector), 1
    while reach < comm.size and comm.rank % (2 * reach) == 0:
        if comm.rank + reach < comm.size:
            comm.Recv(received, comm.rank + reach)
            vector += received
        reach *= 2
    if comm.rank > 0:
        parent = comm.rank - reach
        comm.Send(vector, parent)
        comm.Recv(vector, parent)
    while reach > 1:
        reach //= 2
        if comm.rank + reach < comm.size:
            comm.Send(vector, comm.rank + reach)


def recursive_doubling(comm: Any, vector: np.ndarray) -> None:
    """Exchange with the rank at distance 1, 2, 4, ...: each time the sums cover twice as many.

    ::

        0 <-> 1   2 <-> 3               then 0 <-> 2, 1 <-> 3

    Ranks beyond the largest power of two hand their vector in before, and get the sum after.
    """
    received = np.empty_like(vector)
    power = 1 << (comm.size.bit_length() - 1)
    if comm.rank >= power:
        comm.Send(vector, comm.rank - power)
        comm.Recv(vector, comm.rank - power)
        return
    beyond = comm.rank + power
    if beyond < comm.size:
        comm.Recv(received, beyond)
        vector += received
    distance = 1
    while distance < power:
        exchange(comm, vector, received, comm.rank ^ distance, comm.rank ^ distance)
        # a + b has the same bits as b + a, so that both partners go on with the same sum.
        vector += received
        distance *= 2
    if beyond < comm.size:
        comm.Send(vector, beyond)


def ring(comm: Any, vector: np.ndarray) -> None:
    """Send pieces around a ring: once around to add them up, once more to hand out the sums.

    Each rank ends the first round with the sum of one piece.
    """
    pieces = np.array_split(vector, comm.size)  # views
    received = np.empty_like(pieces[0])
    following, preceding = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    for step in range(comm.size - 1):
        outgoing, incoming = pieces[comm.rank - step], pieces[comm.rank - step - 1]
        exchange(comm, outgoing, received[: len(incoming)], following, preceding)
        incoming += received[: len(incoming)]
    for step in range(comm.size - 1):
        outgoing, incoming = pieces[(comm.rank + 1 - step) % comm.size], pieces[comm.rank - step]
        exchange(comm, outgoing, incoming, following, preceding)


def exchange(comm: Any, out: np.ndarray, into: np.ndarray, to: int, source: int) -> None:
    """Send and receive at once, so that no two ranks wait for each other."""
    request = comm.Isend(out, to)
    comm.Recv(into, source)
    request.Wait()


class WrittenOut:
    """A communicator whose sums are made by one of these algorithms; all else is as it was.

    A sum is made when it is waited for, which all ranks do in the same order.
    """

    def __init__(self, comm: Any, algorithm: Algorithm) -> None:
        self.comm, self.algorithm = comm, algorithm

    def __getattr__(self, name: str) -> Any:
        return getattr(self.comm, name)

    def Split(self, color: int = 0, key: int = 0) -> WrittenOut:  # noqa: N802
        """Make communicators of the ranks with the same color."""
        return WrittenOut(self.comm.Split(color, key), self.algorithm)

    def Iallreduce(self, _: Any, vector: np.ndarray) -> Later:  # noqa: N802
        """Begin to add up, in place."""
        return Later(lambda: self.algorithm(self.comm, vector))

    def Ireduce(  # noqa: N802
        self, send: np.ndarray, receive: np.ndarray | None, root: int = 0
    ) -> Later:
        """Begin to add up at the root."""
        own = send.copy() if receive is None else receive
        return Later(lambda: self.algorithm(self.comm, own))

    def Allreduce(self, _: Any, vector: np.ndarray) -> None:  # noqa: N802
        """Add up, in place."""
        self.algorithm(self.comm, vector)


class Later:
    """A request that does its work when it is waited for."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work

    def Wait(self) -> None:  # noqa: N802
        """Do it, the first time."""
        work, self.work = self.work, None
        if work:
            work()

    def Test(self) -> bool:  # noqa: N802
        """Say whether it has been done."""
        return self.work is None
