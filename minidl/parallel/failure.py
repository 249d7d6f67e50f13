"""Ranks that die, and others that go on: MPI's user-level failure mitigation, where it is there.

Open MPI has it under ``mpiexec --with-ft ulfm``; anywhere else a death ends all ranks. Whoever
communicates with a dead rank gets an exception. Others wait on for each other, until somebody who
has had one calls ``Revoke``: then all that is under way on that communicator ends with exceptions,
and all who are left can meet in ``Shrink``, which makes a communicator of them.

``Agree`` is the one call that tells all the same: it raises an exception on all or on none.

Source: W. Bland et al., Post-failure recovery of MPI communication capability: design and
rationale (IJHPCA 2013); MPI 5.0, chapter Process Fault Tolerance.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mpi4py import MPI

from .patience import PatientComm

NEWS = 1.0  # seconds after which everybody knows of a death
KINDS = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED)


def is_death(comm: Any, error: Exception) -> bool:
    """Whether an exception is a death's consequence. Collectives have other names for it, too."""
    if isinstance(error, DeathError):
        return True
    if not comm.tolerant or not isinstance(error, MPI.Exception):
        return False
    if error.Get_error_class() in KINDS:
        return True
    until = time.monotonic() + NEWS
    while time.monotonic() < until:
        if comm.Is_revoked() or dead(comm):
            return True
        time.sleep(1e-3)
    return False


def dead(comm: Any) -> list[int]:
    """The ranks of ``comm`` that are known by now to have died."""
    MPI.COMM_SELF.Iprobe()  # MPI hears of deaths while it communicates, and here it may not be
    failed = comm.Get_failed()
    return list(failed.Translate_ranks(None, comm.Get_group())) if failed.Get_size() else []


def acknowledge(comm: Any, error: MPI.Exception) -> list[int]:
    """Go on receiving from anybody; return who has died.

    The error is raised again if it is not about that, or if all are to meet.
    """
    if not is_death(comm, error) or comm.Is_revoked():
        raise error
    comm.Ack_failed()
    return dead(comm)


@contextmanager
def unless_dead(comm: Any) -> Iterator[None]:
    """Leave out a block's message, where whom it is for or from has died."""
    try:
        yield
    except MPI.Exception as error:
        acknowledge(comm, error)


class DeathError(Exception):
    """On all who met on ``comm``, or wanted to: some have died."""

    def __init__(self, comm: Any) -> None:
        super().__init__("a rank has died")
        self.comm = comm


def meet(comm: Any) -> None:
    """Wait until all ranks are here that are left.

    Raises
    ------
    DeathError
        On all alike, if any has died.
    """
    if not comm.tolerant:
        return
    try:
        none_has_died = comm.Agree(1)
    except MPI.Exception:
        none_has_died = False
    if not none_has_died:
        raise DeathError(comm)


def left_of(comm: Any, error: Exception) -> Any:
    """Return a communicator of the ranks that are left; all of them call, with what brought them.

    Those who wait in ``meet`` wait there for all others, also when the communicator is revoked. So
    all who come from elsewhere go there first.
    """
    comm.Revoke()
    if not (isinstance(error, DeathError) and error.comm is comm):
        with suppress(MPI.Exception):
            comm.Agree(0)
    return comm.Shrink()


def end_without_the_dead(status: int = 0) -> None:
    """End this process where others have died: MPI's own end might wait for them for ever.

    All agree to end: whoever ended before would be taken for dead.
    """
    if PatientComm.tolerant and dead(MPI.COMM_WORLD):
        sys.stdout.flush()
        sys.stderr.flush()
        if status:  # as the first ends so, mpiexec ends all, and one of them has something to say
            time.sleep(NEWS)
        os._exit(status)
