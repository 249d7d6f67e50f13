"""Waiting without a core.

MPI libraries wait at full speed. Where servers share the cores of workers, a worker that waits so
keeps the server from doing what it waits for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Literal

from mpi4py import MPI

LOOKS = 50  # before the first nap, which takes longer than all of them
# Seconds. The first naps are short beside a layer's backward. Who looks in vain naps longer and
# longer: every look interrupts who computes there.
SHORTEST, LONGEST = 50e-6, 1e-3


def until(done: Callable[[], bool]) -> None:
    """Look until it is done: often, then rarely, and leave the core to others in between."""
    for _ in range(LOOKS):
        if done():
            return
        os.sched_yield()
    nap = SHORTEST
    while not done():
        time.sleep(nap)
        nap = min(2 * nap, LONGEST)


class PatientRequest(MPI.Request):
    """A request whose ``Wait`` leaves the core to others between looks."""

    def Wait(self, status: MPI.Status | None = None) -> Literal[True]:  # noqa: N802
        """Wait until it has completed, as MPI's own does."""
        until(lambda: self.Test(status))
        return True


class PatientComm(MPI.Intracomm):
    """A communicator that is patient where servers wait, and where they are waited for.

    Attributes
    ----------
    tolerant : bool
        Whether the ranks that are left go on when others die.
    """

    # Of mpiexec --with-ft ulfm.
    tolerant = os.environ.get("OMPI_MCA_mpi_ft_enable") in ("1", "true")  # noqa: SIM112

    def Probe(  # noqa: N802
        self,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Literal[True]:
        """Wait for a message, as MPI's own does."""
        until(lambda: self.Iprobe(source, tag, status))
        return True

    def Irecv(  # noqa: N802
        self, buffer: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG
    ) -> PatientRequest:
        """Begin to receive."""
        return PatientRequest(super().Irecv(buffer, source, tag))

    def Dup(self, info: MPI.Info | None = None) -> PatientComm:  # noqa: N802
        """Make one more of the same ranks."""
        return PatientComm(super().Dup(info))

    def Shrink(self) -> PatientComm:  # noqa: N802
        """Make one of those who live."""
        return PatientComm(super().Shrink())
