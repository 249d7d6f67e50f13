"""Events of all groups on their way to rank 0, for the log. Nobody waits for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI


class Reports:
    """A channel of events, which are dictionaries of plain values, to rank 0."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm.Dup()  # no message of the strategies is mistaken for one of these
        self.sent, self.received = np.zeros(1, np.int64), 0
        self._under_way: list[tuple[MPI.Request, np.ndarray]] = []

    def send(self, event: dict[str, Any]) -> None:
        """Send an event to rank 0, and go on."""
        message = np.frombuffer(json.dumps(event).encode(), np.uint8)
        self._under_way = [entry for entry in self._under_way if not entry[0].Test()]
        self._under_way.append((self.comm.Isend(message, dest=0), message))
        self.sent += 1

    def arrived(self) -> Iterator[dict[str, Any]]:
        """On rank 0: what has arrived by now."""
        status = MPI.Status()
        while self.comm.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status):
            yield self._receive(status)

    def last(self) -> Iterator[dict[str, Any]]:
        """On all ranks, after the last ``send``: what had not arrived yet, on rank 0."""
        expected, status = np.zeros(1, np.int64), MPI.Status()
        self.comm.Reduce(self.sent, expected, root=0)
        while self.received < expected[0]:
            self.comm.Probe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
            yield self._receive(status)
        MPI.Request.Waitall([request for request, _ in self._under_way])

    def _receive(self, status: MPI.Status) -> dict[str, Any]:
        message = np.empty(status.Get_count(MPI.BYTE), np.uint8)
        self.comm.Recv(message, status.Get_source())
        self.received += 1
        return json.loads(message.tobytes())
