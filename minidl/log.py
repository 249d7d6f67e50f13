"""The log of all groups: their events travel to rank 0, which writes them; nobody waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from mpi4py import MPI

from .parallel.failure import unless_dead
from .run import Run

Event = dict[str, Any]

EVENT, STOP = 0, 1  # tags
NOTHING = np.empty(0, np.uint8)


class Log:
    """Takes events of every group, from the rank that speaks for it.

    Parameters
    ----------
    comm : MPI.Intracomm
        All ranks. No message of the strategies is mistaken for an event.
    groups : int
        How many speak.

    Attributes
    ----------
    run : Run or None
        Where to write; on rank 0 only. Without one nothing is kept.
    tell : function (event)
        Is shown, on rank 0, what is written.
    """

    def __init__(self, comm: MPI.Intracomm, groups: int) -> None:
        self.comm, self.groups = comm.Dup(), groups
        self.run: Run | None = None
        self.tell: Callable[[Event], None] = lambda event: None
        self.samples = 0  # of all groups, as far as rank 0 has heard
        self.settled = 0  # groups
        self.told = False  # to stop
        self.diverged: Event | None = None  # what rank 0 heard first of it
        self._under_way: list[tuple[MPI.Request, np.ndarray]] = []

    def write(self, event: Event) -> None:
        """Write an event down, on rank 0 together with what has arrived from others."""
        with unless_dead(self.comm):
            if self.comm.rank == 0:
                self._keep(event)
                self._hear()
            else:
                self._send(event)

    def ask_to_stop(self, roots: Sequence[int]) -> None:
        """On rank 0: tell the ranks that speak for groups that the run is to end."""
        for root in roots:
            with unless_dead(self.comm):
                self._under_way.append((self.comm.Isend(NOTHING, root, STOP), NOTHING))

    def asked_to_stop(self) -> bool:
        """Whether rank 0 has told this one so."""
        with unless_dead(self.comm):
            if not self.told and self.comm.Iprobe(MPI.ANY_SOURCE, STOP):
                self.hear_stop()
        return self.told

    def hear_stop(self) -> None:
        """Receive what ``ask_to_stop`` has sent."""
        if not self.told:
            self.comm.Recv(NOTHING, 0, STOP)
        self.told = True

    def settle(self) -> None:
        """Have rank 0 write all that the groups have said so far; every group's speaker calls."""
        if self.comm.rank > 0:
            self._send({"event": "settled"})
        else:
            self.settled += 1
            while self.settled < self.groups:
                self.comm.Probe(MPI.ANY_SOURCE, EVENT)
                self._hear()
            self.settled = 0
        for request, _ in self._under_way:
            request.Wait()

    def hear_the_rest(self) -> None:
        """On rank 0: write what the groups have said so far, although some have died."""
        with suppress(MPI.Exception):
            if self.comm.rank == 0:
                self.comm.Ack_failed()
                self._hear()

    def _send(self, event: Event) -> None:
        message = np.frombuffer(json.dumps(event).encode(), np.uint8)
        self._under_way = [entry for entry in self._under_way if not entry[0].Test()]
        self._under_way.append((self.comm.Isend(message, 0, EVENT), message))

    def _hear(self) -> None:
        status = MPI.Status()
        while self.comm.Iprobe(MPI.ANY_SOURCE, EVENT, status):
            message = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            self.comm.Recv(message, status.Get_source(), EVENT)
            self._keep(json.loads(message.tobytes()))

    def _keep(self, event: Event) -> None:
        if event["event"] == "settled":
            self.settled += 1
            return
        if event["event"] == "iteration":
            self.samples += event["samples"]
        if "seconds" in event:
            event = {**event, "samples": self.samples}
        if self.run:
            self.run.log(**event)
            self.tell(event)
        if event["event"] == "diverged" and not self.diverged:
            self.diverged = event
