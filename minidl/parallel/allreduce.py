"""The all-reduce written out: five ways to give every rank the sum of all ranks' vectors.

MPI libraries choose among such algorithms by the vector's size and the number of ranks, and with
the algorithm changes the order of the sum, and so its last bits. Written out, the order is ours:
on any MPI, and on virtual ranks, a sum has the same bits, and every rank has the same.

Each algorithm is a generator. It begins some messages and yields their requests; when these have
completed, it can go on. This is a whole all-reduce, in place::

    for requests in ring(comm, vector, tag):
        for request in requests:
            request.Wait()

Between two steps there is time to compute, or for other sums: see ``written_out.py``. Messages of
sums that are under way at once are kept apart by their tags; of one sum, those between two ranks
arrive in the order in which they were sent, as MPI promises.

Costs are for P ranks and a vector of n bytes: a seconds for a message, b for each byte sent, c for
each byte added, as in R. Thakur, R. Rabenseifner and W. Gropp, Optimization of Collective
Communication Operations in MPICH (2005), where all but the ring are described, too. With
L = floor(log2 P) they hold where P is a power of two. ``costs.py`` computes them for any P.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import numpy as np

Steps = Iterator[list[Any]]  # of requests
Algorithm = Callable[[Any, np.ndarray, int], Steps]


def naive(comm: Any, vector: np.ndarray, tag: int) -> Steps:
    """Send everything to rank 0, which adds it up and sends the sum to everyone.

    ::

        0 <- 1   0 <- 2   0 <- 3         one after the other, and back

    Cost: 2 (P - 1) (a + n b) + (P - 1) n c. Order of the sum: that of the ranks.
    """
    if comm.rank > 0:
        yield [comm.Isend(vector, 0, tag)]
        yield [comm.Irecv(vector, 0, tag)]
        return
    received = np.empty_like(vector)
    for other in range(1, comm.size):
        yield [comm.Irecv(received, other, tag)]
        vector += received
    for other in range(1, comm.size):
        yield [comm.Isend(vector, other, tag)]


def tree(comm: Any, vector: np.ndarray, tag: int) -> Steps:
    """Add up towards rank 0 in a binomial tree, then send the sum back the same way.

    ::

        0 <- 1   2 <- 3   4 <- 5         then 0 <- 2, then 0 <- 4; and back

    Cost: 2 L (a + n b) + L n c. Order of the sum: neighbours, then pairs of neighbours, and so on;
    every rank is sent the same sum.
    """
    received, reach = np.empty_like(vector), 1
    while reach < comm.size and comm.rank % (2 * reach) == 0:
        if comm.rank + reach < comm.size:
            yield [comm.Irecv(received, comm.rank + reach, tag)]
            vector += received
        reach *= 2
    if comm.rank > 0:
        parent = comm.rank - reach
        yield [comm.Isend(vector, parent, tag)]
        yield [comm.Irecv(vector, parent, tag)]
    while reach > 1:
        reach //= 2
        if comm.rank + reach < comm.size:
            yield [comm.Isend(vector, comm.rank + reach, tag)]


def ring(comm: Any, vector: np.ndarray, tag: int) -> Steps:
    """Send pieces around a ring: once around to add them up, once more to hand out the sums.

    ::

        0 -> 1 -> 2 -> 3 -> 0            each rank sends a piece of 1/P of the vector in each step

    Cost: 2 (P - 1) (a + n/P b) + (P - 1)/P n c, the fewest bytes and many messages. Order of the
    sum: of each piece around the ring, from another rank on; it is added up on one rank only.
    Source: P. Patarasuk and X. Yuan, Bandwidth Optimal All-reduce Algorithms for Clusters of
    Workstations (2009).
    """
    pieces = np.array_split(vector, comm.size)  # views, as equal as can be: some may be empty
    received = np.empty_like(pieces[0])
    following, preceding = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    for step in range(comm.size - 1):
        outgoing, incoming = pieces[comm.rank - step], pieces[comm.rank - step - 1]
        arriving = received[: len(incoming)]
        yield [comm.Isend(outgoing, following, tag), comm.Irecv(arriving, preceding, tag)]
        incoming += arriving
    for step in range(comm.size - 1):
        outgoing, incoming = pieces[(comm.rank + 1 - step) % comm.size], pieces[comm.rank - step]
        yield [comm.Isend(outgoing, following, tag), comm.Irecv(incoming, preceding, tag)]


def recursive_doubling(comm: Any, vector: np.ndarray, tag: int) -> Steps:
    """Exchange with the rank at distance 1, 2, 4, ...: each time the sums cover twice as many.

    ::

        0 <-> 1   2 <-> 3                then 0 <-> 2, 1 <-> 3

    Cost: L (a + n b) + L n c, the fewest messages. Order of the sum: that of the tree, made on
    every rank at once.
    """
    received = np.empty_like(vector)
    power = yield from fold(comm, vector, received, tag)
    distance = 1
    while comm.rank < power and distance < power:
        partner = comm.rank ^ distance
        yield [comm.Isend(vector, partner, tag), comm.Irecv(received, partner, tag)]
        # a + b has the same bits as b + a, so that both partners go on with the same sum.
        vector += received
        distance *= 2
    yield from unfold(comm, vector, power, tag)


def rabenseifner(comm: Any, vector: np.ndarray, tag: int) -> Steps:
    """Exchange halves, quarters, eighths, and add them up; then the sums, the same way back.

    ::

        rank 0   rank 1   rank 2   rank 3        what each is to add up
         ####     ####     ####     ####
         ##..     ..##     ##..     ..##         0 <-> 1, 2 <-> 3: halves
         #...     ..#.     .#..     ...#         0 <-> 2, 1 <-> 3: quarters; and back

    Cost: 2 L a + 2 (P - 1)/P n b + (P - 1)/P n c: the bytes of the ring in fewer messages. Order of
    the sum: that of recursive doubling, with the same bits, but each piece is added up on one rank
    only. Source: R. Rabenseifner, Optimization of Collective Reduction Operations (2004).
    """
    received = np.empty_like(vector)
    power = yield from fold(comm, vector, received, tag)
    halvings: list[tuple[int, slice, slice]] = []
    start, end, distance = 0, len(vector), 1
    while comm.rank < power and distance < power:
        partner, middle = comm.rank ^ distance, (start + end) // 2
        first, last = slice(start, middle), slice(middle, end)
        mine, theirs = (first, last) if comm.rank < partner else (last, first)
        yield [comm.Isend(vector[theirs], partner, tag), comm.Irecv(received[mine], partner, tag)]
        vector[mine] += received[mine]
        halvings.append((partner, mine, theirs))
        start, end, distance = mine.start, mine.stop, 2 * distance
    for partner, mine, theirs in reversed(halvings):
        yield [comm.Isend(vector[mine], partner, tag), comm.Irecv(vector[theirs], partner, tag)]
    yield from unfold(comm, vector, power, tag)


def fold(
    comm: Any, vector: np.ndarray, received: np.ndarray, tag: int
) -> Generator[list[Any], None, int]:
    """Have the ranks beyond the largest power of two hand in their vectors; return that power.

    ::

        0 <- 4   1 <- 5                  of 6 ranks, whose power is 4

    Cost, of this and of ``unfold``: a + n b, and here n c.
    """
    power = 1 << (comm.size.bit_length() - 1)
    if comm.rank >= power:
        yield [comm.Isend(vector, comm.rank - power, tag)]
    elif comm.rank + power < comm.size:
        yield [comm.Irecv(received, comm.rank + power, tag)]
        vector += received
    return power


def unfold(comm: Any, vector: np.ndarray, power: int, tag: int) -> Steps:
    """Give the ranks beyond the largest power of two the sum."""
    if comm.rank >= power:
        yield [comm.Irecv(vector, comm.rank - power, tag)]
    elif comm.rank + power < comm.size:
        yield [comm.Isend(vector, comm.rank + power, tag)]


ALGORITHMS: Mapping[str, Algorithm] = {
    "naive": naive,
    "tree": tree,
    "ring": ring,
    "recursive_doubling": recursive_doubling,
    "rabenseifner": rabenseifner,
}
