"""A communicator whose sums are made by an algorithm of ``allreduce.py``, in place of MPI's own.

Strategies use it as they use any other: ``WrittenOut(comm, allreduce.ring)``. A sum takes its next
step while its request is tested or any is waited for. As with MPI, all ranks begin their sums in
the same order, and may wait for them in any.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from mpi4py import MPI

from .allreduce import ALGORITHMS, Algorithm, Steps

TAGS = 32768  # Any MPI has as many (MPI 4.1, section 9.1.2): that many sums can be under way.


def summing_by(name: str, comm: Any) -> Any:
    """Return a communicator that adds up by the algorithm of that name; "mpi" is its own way."""
    return comm if name == "mpi" else WrittenOut(comm, ALGORITHMS[name])


class WrittenOut:
    """A communicator that adds up by an algorithm; all else is as it was.

    Where ranks die it is of no use: ``Shrink`` and ``Revoke`` know nothing of the messages of sums.

    Parameters
    ----------
    comm : MPI.Intracomm, or that of a virtual cluster
        All of its ranks make theirs together.
    algorithm : function (comm, vector, tag) -> steps
        See ``allreduce.py``.
    """

    def __init__(self, comm: Any, algorithm: Algorithm) -> None:
        self.comm, self.algorithm = comm, algorithm
        self.messages = comm.Dup()  # where no message of others can be taken for one of a sum
        self.begun = itertools.count()
        self.under_way: list[Sum] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.comm, name)

    def Split(self, color: int = 0, key: int = 0) -> WrittenOut:  # noqa: N802
        """Make communicators of the ranks with the same color."""
        return WrittenOut(self.comm.Split(color, key), self.algorithm)

    def Iallreduce(self, send: Any, receive: np.ndarray, op: Any = MPI.SUM) -> Any:  # noqa: N802
        """Begin to add up for everyone; other operations are left to MPI."""
        if op != MPI.SUM:
            return self.comm.Iallreduce(send, receive, op)
        if send is not MPI.IN_PLACE:
            np.copyto(receive, send)
        vector = receive.reshape(-1, copy=False)
        tag = next(self.begun) % TAGS
        return Sum(self.algorithm(self.messages, vector, tag), self.under_way)

    def Allreduce(self, send: Any, receive: np.ndarray, op: Any = MPI.SUM) -> None:  # noqa: N802
        """Add up for everyone."""
        self.Iallreduce(send, receive, op).Wait()

    def Ireduce(  # noqa: N802
        self, send: Any, receive: Any, op: Any = MPI.SUM, root: int = 0
    ) -> Any:
        """Begin to add up for everyone, of whom only the root keeps the sum."""
        if self.comm.rank == root:
            return self.Iallreduce(send, receive, op)
        return self.Iallreduce(MPI.IN_PLACE, send.copy(), op)


class Sum:
    """A sum under way, to be tested and waited for like a request of MPI.

    Parameters
    ----------
    steps : iterator of lists of requests
        The algorithm, which is taken to its first step.
    under_way : list of Sum
        All that are; this is one of them until it has completed.

    Attributes
    ----------
    awaited : list of requests
        Those of its step that have not completed yet; empty when the sum is there.
    """

    def __init__(self, steps: Steps, under_way: list[Sum]) -> None:
        self.steps, self.under_way = steps, under_way
        self.awaited: list[Any] = []
        under_way.append(self)
        self._take_step()

    def Test(self) -> bool:  # noqa: N802
        """Go as far as messages have come by now; say whether that is the end."""
        while completed := [request for request in self.awaited if request.Test()]:
            for request in completed:
                self._complete(request)
        return not self.awaited

    def Wait(self) -> bool:  # noqa: N802
        """Go on to the end, and meanwhile with all others that are under way.

        A rank that only went on with one sum could wait for a rank that waits for it in another.
        """
        while self.awaited:
            awaited = [(each, request) for each in self.under_way for request in each.awaited]
            requests = [request for _, request in awaited]
            each, request = awaited[type(requests[0]).Waitany(requests)]
            each._complete(request)
        return True

    def _complete(self, request: Any) -> None:
        self.awaited = [other for other in self.awaited if other is not request]
        if not self.awaited:
            self._take_step()

    def _take_step(self) -> None:
        self.awaited = next(self.steps, [])
        if not self.awaited:
            self.under_way.remove(self)
