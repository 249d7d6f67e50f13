"""Ranks that stop together, so that none is left waiting in a collective call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    failed = np.array(comm.size if problem is None else comm.rank)
    comm.Allreduce(MPI.IN_PLACE, failed, MPI.MIN)
    if failed < comm.size:
        raise AgreedError(problem if comm.rank == failed else "") from None
