"""Ranks that agree: they stop together, so that none is left waiting, and know the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mpi4py import MPI

from minidl.errors import AgreedError, UserError


@contextmanager
def together(comm: MPI.Intracomm) -> Iterator[None]:
    """Either every rank passes the end of this block, or every rank raises ``AgreedError``.

    For work that may fail on some ranks and not on others, as opening a file does. Where several
    fail, the lowest of them speaks. The block must not communicate.
    """
    problem = None
    try:
        yield
    except UserError as error:
        problem = error
    failed = lowest(comm, problem is not None)
    if failed < comm.size:
        raise AgreedError(problem if comm.rank == failed else "") from None


def from_one(comm: MPI.Intracomm, value: Any, root: int = 0) -> Any:
    """Give every rank the plain value that ``root`` has; what others pass is not looked at."""
    text = json.dumps(value).encode() if comm.rank == root else b""
    length = np.array(len(text))
    comm.Bcast(length, root)
    message = np.frombuffer(text, np.uint8) if comm.rank == root else np.empty(length, np.uint8)
    comm.Bcast(message, root)
    return json.loads(message.tobytes())


def everyones(comm: MPI.Intracomm, value: Any) -> list[Any]:
    """Give every rank the plain values that all of them have, in the order of ranks."""
    return [from_one(comm, value, root) for root in range(comm.size)]


def lowest(comm: MPI.Intracomm, among: bool) -> int:
    """The lowest of the ranks that are ``among`` them; ``comm.size`` if none is."""
    first = np.array(comm.rank if among else comm.size)
    comm.Allreduce(MPI.IN_PLACE, first, MPI.MIN)
    return int(first)
