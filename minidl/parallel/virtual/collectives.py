"""Calls that all ranks of a communicator make together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from mpi4py import MPI

from .data import Buffer, Data, data_of, spoil
from .failure import has_died
from .rank import VirtualError
from .requests import Request

if TYPE_CHECKING:
    from .comm import VirtualComm
    from .failure import FailureError
    from .group import Group

IN_PLACE = type(MPI.IN_PLACE)
TO_ROOT = ("Reduce", "Gather")
UFUNCS = ((MPI.SUM, np.add), (MPI.MAX, np.maximum), (MPI.MIN, np.minimum))


def ufunc_of(op: MPI.Op) -> np.ufunc:
    """What NumPy calls the operation."""
    for known, ufunc in UFUNCS:
        if op is known or op == known:
            return ufunc
    raise NotImplementedError("a virtual reduction with another operation than SUM, MAX and MIN")


class Called(NamedTuple):
    """What a rank calls; the same for all of a communicator, or their calls do not match.

    ``size`` is in bytes; ``ufunc`` is None but for reductions.
    """

    kind: str
    root: int
    ufunc: np.ufunc | None
    size: int
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        how = f", {self.ufunc.__name__}" if self.ufunc else ""
        return f"{self.kind} (root {self.root}, {self.size} bytes of {self.dtype}{how})"


class Collective:
    """A call that all ranks of a communicator make.

    Parameters
    ----------
    number : int
        Of the communicator's calls.
    called : Called
    place, first
        Where it was called first, and by which rank.

    Attributes
    ----------
    joined : dict of int to InCall
        Those who have called it, by their number in the communicator.
    inside : set of int
        Those who have called it, and do not know yet that it has completed.
    contents : dict of int to np.ndarray
        What those have sent who are no ghosts.
    result
        What receiving buffers get.
    made : dict of int to (Group, int)
        Of ``Split``: everyone's new communicator, and number in it.
    """

    def __init__(self, group: Group, number: int, called: Called, place: str, first: int) -> None:
        self.group, self.number, self.called = group, number, called
        self.kind, self.root, *_ = called
        self.place, self.first = place, first
        self.joined: dict[int, InCall] = {}
        self.inside: set[int] = set()
        self.contents: dict[int, np.ndarray] = {}
        self.result: Any = None
        self.ready = 0.0
        self.made: dict[int, tuple[Group, int]] = {}
        self.ranks, machine = len(group.members), group.cluster.machine
        self.cost = machine.collective_time(self.kind, self.ranks, called.size)
        # Who only sends to the root is done when its own message is there.
        self.sending = machine.message_time(called.size) if self.kind in TO_ROOT else None

    def join(self, index: int, call: InCall) -> None:
        """Take a rank's part, and complete what that completes."""
        self.joined[index] = call
        self.inside.add(index)
        if call.data.contents is not None:
            self.contents[index] = call.data.contents
        if self.kind == "Bcast":
            self._pass_on(index, call)
        elif self.sending is not None and index != self.root:
            call.time = call.began + self.sending
        if len(self.joined) == self.ranks:
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
            self.result, self.ready = call.data, call.began + self.cost
            for other in self.joined.values():
                other.complete(max(other.began, self.ready))
        elif self.root in self.joined:
            call.time = call.began if call.began > self.ready else self.ready

    def _complete_all(self) -> None:
        sent = [self.contents[index] for index in sorted(self.contents)]
        if self.kind in ("Split", "Dup"):
            self._split(sent)
        elif len(sent) == self.ranks or (sent and self.called.ufunc is not None):
            self.result = self._combined(sent)  # where sums are made, ghosts count as 0
        self.ready = ready = max([call.began for call in self.joined.values()]) + self.cost
        for index in range(self.ranks):
            call = self.joined[index]
            if call.time is None:
                call.complete(ready)

    def _combined(self, sent: list[np.ndarray]) -> np.ndarray:
        if self.called.ufunc is None:
            return np.concatenate(sent)
        total = sent[0].copy()
        for array in sent[1:]:
            self.called.ufunc(total, array, out=total)
        return total

    def _split(self, sent: list[np.ndarray]) -> None:
        wishes = [(*wish.tolist(), index) for index, wish in enumerate(sent)]
        parts: dict[int, list[int]] = {}
        for color, _, index in sorted(wish for wish in wishes if wish[0] != MPI.UNDEFINED):
            parts.setdefault(color, []).append(index)
        for indices in parts.values():
            group = self.group.part(indices)
            for number, index in enumerate(indices):
                self.made[index] = group, number


class InCall(Request):
    """One rank's side of a collective call."""

    __slots__ = ("call", "data", "index", "receive", "send")

    def __init__(
        self, comm: VirtualComm, call: Collective, send: Buffer, receive: Buffer | None
    ) -> None:
        Request.__init__(self, comm)  # super() would take as long as all of it
        self.index = comm.rank
        self.call, self.send, self.receive, self.data = call, send, receive, data_of(send)
        if receive is not None and isinstance(receive, np.ndarray):
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
        ranks = self.cluster.ranks
        missing = ", ".join(str(n) for first in self.for_whom() for n in ranks[first].numbers)
        return f"{self.call.kind}, call {self.call.number} of its communicator, by rank {missing}"

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        if self.call.kind == "Bcast":
            return [self.group.members[self.call.root].number]
        members = enumerate(self.group.members)
        return sorted({one.number for index, one in members if index not in self.call.joined})
