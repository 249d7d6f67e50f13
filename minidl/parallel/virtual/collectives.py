"""Calls that all ranks of a communicator make together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from .cluster import VirtualError
from .data import Data
from .requests import Request

if TYPE_CHECKING:
    from .comm import Group, VirtualComm

UFUNCS = ((MPI.SUM, np.add), (MPI.MAX, np.maximum), (MPI.MIN, np.minimum))


@dataclass
class Part:
    """What one rank brings to a collective call."""

    call: InCall
    time: float
    data: Data
    buffer: np.ndarray | None


@dataclass
class Collective:
    """A call that all ranks of a communicator make."""

    group: Group
    number: int
    kind: str
    root: int
    op: Any
    shape: Any
    place: str
    first: int
    parts: dict[int, Part] = field(default_factory=dict)
    result: Any = None
    made: dict[int, Group] = field(default_factory=dict)  # by Split, for each color

    def join(self, index: int, part: Part) -> None:
        """Take a rank's part, and complete what that completes."""
        self.parts[index] = part
        cost = self.group.cluster.machine.collective_time(
            self.kind, len(self.group.members), part.data.size
        )
        everyone = len(self.parts) == len(self.group.members)
        if self.kind == "Bcast":
            if self.root in self.parts:
                begun = self.parts[self.root].time
                self.result = self.parts[self.root].data
                for part in self.parts.values():
                    if part.call.time is None:
                        part.call.complete(max(part.time, begun + cost))
        elif everyone:
            self.result = self._result()
            latest = max(part.time for part in self.parts.values())
            for part in self.parts.values():
                if part.call.time is None:
                    part.call.complete(latest + cost)
        elif self.kind in ("Reduce", "Gather") and index != self.root:
            part.call.complete(part.time + self.group.cluster.machine.message_time(part.data.size))
        if everyone:
            del self.group.calls[self.number]

    def _result(self) -> Any:
        data = [self.parts[index].data for index in range(len(self.parts))]
        contents = [each.contents for each in data if each.contents is not None]
        if len(contents) < len(data):
            return None
        if self.kind in ("Reduce", "Allreduce"):
            total = contents[0].copy()
            (ufunc,) = (ufunc for op, ufunc in UFUNCS if op == self.op)
            for array in contents[1:]:
                ufunc(total, array, out=total)
            return total
        return np.concatenate(contents)


class InCall(Request):
    """One rank's side of a collective call."""

    def __init__(self, comm: VirtualComm, buffer: np.ndarray | None) -> None:
        super().__init__(comm)
        self.buffer = buffer
        self.call: Any = None
        self.sent: tuple[Data, np.ndarray] | None = None

    def finish(self) -> None:
        """Find the result in the buffer; check that what was sent is what is there."""
        if self.sent is not None and not self.sent[0].same_as(self.sent[1]):
            raise VirtualError(
                f"rank {self.member.number} changed a buffer while it was in {self.call.kind}"
            )
        if self.buffer is None or self.call.result is None:
            return
        if isinstance(self.call.result, Data):
            self.call.result.put_into(self.buffer)
        elif self.buffer.flags.c_contiguous:
            flat = self.buffer.reshape(-1)
            flat[: len(self.call.result)] = self.call.result

    def told(self) -> str:
        """Say what is waited for."""
        missing = ", ".join(map(str, self.for_whom()))
        return f"{self.call.kind}, call {self.call.number} of its communicator, by rank {missing}"

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        if self.call.kind == "Bcast":
            return [self.group.members[self.call.root].number]
        return [
            member.number
            for index, member in enumerate(self.group.members)
            if index not in self.call.parts
        ]
