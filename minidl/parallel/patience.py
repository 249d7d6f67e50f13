"""Waiting without a core: MPI libraries wait at full speed, which is rude where cores are few."""

from __future__ import annotations

import time
from typing import Literal

from mpi4py import MPI

NAP = 100e-6  # seconds; short beside a layer's backward, long enough for others to compute


class PatientComm(MPI.Intracomm):
    """A communicator whose ``Probe`` sleeps between looks, for servers that share their cores."""

    def Probe(  # noqa: N802
        self,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Literal[True]:
        """Wait for a message, as MPI's own does."""
        while not self.Iprobe(source, tag, status):
            time.sleep(NAP)
        return True
