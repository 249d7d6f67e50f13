"""Calls that all ranks of a communicator make together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from .cluster import VirtualError
from .data import Buffer, Data, data_of, spoil
from .failure import has_died
from .requests import Request

if TYPE_CHECKING:
    from .comm import VirtualComm
    from .failure import FailureError
    from .group import Group

IN_PLACE = type(MPI.IN_PLACE)
UFUNCS = ((MPI.SUM, np.add), (MPI.MAX, np.maximum), (MPI.MIN, np.minimum))


def ufunc_of(op: MPI.Op) -> np.ufunc:
    """What NumPy calls the operation."""
    for known, ufunc in UFUNCS:
        if op is known or op == known:
            return ufunc
    raise NotImplementedError("a virtual reduction with another operation than SUM, MAX and MIN")


@dataclass
class Collective:
    """A call that all ranks of a communicator make.

    Attributes
    ----------
    ufunc : np.ufunc or None
        Of a reduction.
    place, first
        Where it was called first, and by which rank.
    joined : dict of int to InCall
        Those who have called it, by their number in the communicator.
    inside : set of int
        Those who have called it, and do not know yet that it has completed.
    result
        What receiving buffers get.
    made : dict of int to (Group, int)
        Of ``Split``: everyone's new communicator, and number in it.
    """

    group: Group
    number: int
    kind: str
    root: int
    ufunc: np.ufunc | None
    shape: tuple[int, Any]
    place: str
    first: int
    joined: dict[int, InCall] = field(default_factory=dict)
    inside: set[int] = field(default_factory=set)
    result: Any = None
    ready: float = 0.0
    made: dict[int, tuple[Group, int]] = field(default_factory=dict)

    def join(self, index: int, call: InCall) -> None:
        """Take a rank's part, and complete what that completes."""
        self.joined[index] = call
        self.inside.add(index)
        if self.kind == "Bcast":
            self._pass_on(index, call)
        elif index != self.root and self.kind in ("Reduce", "Gather"):
            call.time = call.began + self.group.cluster.machine.message_time(call.data.size)
        if len(self.joined) == len(self.group.members):
            if self.kind != "Bcast":
                self._complete_all()
            del self.group.calls[self.number]
            self.joined = {}  # no circle of references is left
        elif self.group.dead:
            self.give_up()

    def hopeless(self) -> bool:
        """Whether somebody has died who has not joined."""
        return not self.joined.keys() >= set(self.group.dead)

    def give_up(self) -> None:
        """Fail those who wait for somebody who has died."""
        missing = [index for index in self.group.dead if index not in self.joined]
        if not missing or (self.kind == "Bcast" and self.root not in missing):
            return
        for call in self.joined.values():
            call.fail(has_died(self.group, missing[0]), self.group.time_of_death(missing[0]))

    def _pass_on(self, index: int, call: InCall) -> None:
        if index == self.root:
            self.result, self.ready = call.data, call.began + self._cost()
            for other in self.joined.values():
                other.complete(max(other.began, self.ready))
        elif self.root in self.joined:
            call.time = max(call.began, self.ready)

    def _complete_all(self) -> None:
        calls = [self.joined[index] for index in range(len(self.joined))]
        contents = [call.data.contents for call in calls if call.data.contents is not None]
        if self.kind in ("Split", "Dup"):
            self._split(contents)
        elif len(contents) == len(calls) or (contents and "educe" in self.kind):
            self.result = self._combined(contents)  # where sums are made, ghosts count as 0
        self.ready = max(call.began for call in calls) + self._cost()
        ready = self.ready
        for call in calls:
            if call.time is None:
                call.complete(ready)

    def _combined(self, contents: list[np.ndarray]) -> np.ndarray:
        if self.ufunc is None:
            return np.concatenate(contents)
        total = contents[0].copy()
        for array in contents[1:]:
            self.ufunc(total, array, out=total)
        return total

    def _split(self, contents: list[np.ndarray]) -> None:
        wishes = [(*wish.tolist(), index) for index, wish in enumerate(contents)]
        parts: dict[int, list[int]] = {}
        for color, _, index in sorted(wish for wish in wishes if wish[0] != MPI.UNDEFINED):
            parts.setdefault(color, []).append(index)
        for indices in parts.values():
            group = self.group.part(indices)
            for number, index in enumerate(indices):
                self.made[index] = group, number

    def _cost(self) -> float:
        ranks, (size, _) = len(self.group.members), self.shape
        return self.group.cluster.machine.collective_time(self.kind, ranks, size)


class InCall(Request):
    """One rank's side of a collective call."""

    def __init__(
        self, comm: VirtualComm, call: Collective, send: Buffer, receive: Buffer | None
    ) -> None:
        super().__init__(comm)
        self.index = comm.rank
        self.call, self.send, self.receive, self.data = call, send, receive, data_of(send)
        if isinstance(receive, np.ndarray):
            spoil(receive)

    def finish(self, status: MPI.Status | None) -> None:
        """Find the result in the buffer; check that what was sent is what is there."""
        self.call.inside.discard(self.index)
        if self.data.contents is None and not isinstance(self.receive, np.ndarray):
            return  # ghosts
        if self.send is not self.receive and not self.data.same_as(self.send):
            raise VirtualError(
                f"rank {self.member.number} changed a buffer while it was in {self.call.kind}"
            )
        if isinstance(self.call.result, Data) and self.receive is not None:
            self.call.result.put_into(self.receive)
        elif isinstance(self.call.result, np.ndarray) and isinstance(self.receive, np.ndarray):
            self.receive.reshape(-1)[: len(self.call.result)] = self.call.result

    def doubt(self) -> FailureError | None:
        """Find whether a rank has died in the call: it may have completed for some only."""
        lost = [index for index in self.group.dead if index in self.call.inside]
        return has_died(self.group, lost[0]) if lost else super().doubt()

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
            if index not in self.call.joined
        ]
