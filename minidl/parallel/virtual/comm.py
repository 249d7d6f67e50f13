"""The communicator of a virtual cluster: mpi4py's upper-case calls, as strict as MPI allows.

A buffer that is to be received into holds garbage until the receive has completed; one that is
sent must not change before the send has. A message that is not short (``Machine.eager``) is sent
when it is received: a program that needs more than that hangs with some MPI, too. Sums are made in
the order of ranks. What is not here raises ``AttributeError``, by its name.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from .collectives import IN_PLACE, Called, Collective, InCall, ufunc_of
from .data import Buffer, Message
from .failure import fails, failure_of_wildcard
from .rank import VirtualError
from .requests import Receive, Send
from .story import place
from .survival import Survivor
from .waiting import Anybody

if TYPE_CHECKING:
    from .group import Group


class VirtualComm(Survivor):
    """One rank's communicator; of deaths, see ``Survivor``, and for its parameters."""

    def clock(self) -> float:
        """Virtual time of the rank, in seconds."""
        return self.member.clock

    def compute(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.member.clock += seconds

    def Isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Send:  # noqa: N802
        """Begin to send."""
        self.cluster.enter(self.member)
        self._check_partner(dest)
        if buffer.nbytes > self.cluster.machine.eager:
            self.cluster.let_others_catch_up(self.member)  # who sends first is received first
        send = Send(self, buffer, dest, tag)
        machine, clock = self.cluster.machine, self.member.clock
        # A rank puts its messages on the network one after the other.
        leaves = max(clock, self.member.sends_until) + send.data.size / machine.bandwidth
        self.member.sends_until = leaves
        message = Message(self.rank, tag, send.data, leaves + machine.latency, here(), send)
        if send.data.size <= machine.eager and self.group.revoked is None:
            send.complete(clock)
        if fails(self.group, send, dest):
            return send
        for receive in self.group.receives[dest]:
            if receive.source == self.rank and receive.tag in (MPI.ANY_TAG, tag):
                self.group.receives[dest].remove(receive)
                receive.match(message)
                return send
        self.group.messages[dest].append(message)
        receiver = self.group.members[dest]
        if self.cluster.choose is None and isinstance(receiver.waits_for, Anybody):
            self.cluster.wake(receiver, max(receiver.clock, message.arrival))  # to look again
        return send

    def Irecv(self, buffer: Buffer, source: int, tag: int = MPI.ANY_TAG) -> Receive:  # noqa: N802
        """Begin to receive, from one rank."""
        if source == MPI.ANY_SOURCE:
            raise NotImplementedError("a virtual Irecv from any source; Probe first")
        self.cluster.enter(self.member)
        self._check_partner(source)
        receive = Receive(self, buffer, source, tag)
        for message in self.group.messages[self.rank]:
            if message.source == source and tag in (MPI.ANY_TAG, message.tag):
                self.group.messages[self.rank].remove(message)
                receive.match(message)
                return receive
        if not fails(self.group, receive, source):
            self.group.receives[self.rank].append(receive)
        return receive

    def Send(self, buffer: Buffer, dest: int, tag: int = 0) -> None:  # noqa: N802
        """Send."""
        self.Isend(buffer, dest, tag).Wait()

    def Recv(  # noqa: N802
        self,
        buffer: Buffer,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> None:
        """Receive."""
        if source == MPI.ANY_SOURCE:
            message = Anybody(self, tag).wait()
            source, tag = message.source, message.tag
        self.Irecv(buffer, source, tag).Wait(status)

    def Probe(  # noqa: N802
        self,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> bool:
        """Wait for a message, without receiving it."""
        if source != MPI.ANY_SOURCE:
            raise NotImplementedError("a virtual Probe of one source; receive instead")
        message = Anybody(self, tag).wait()
        if status is not None:
            message.tell(status)
        return True

    def Ibcast(self, buffer: Buffer, root: int = 0) -> InCall:  # noqa: N802
        """Begin to give everyone the root's contents."""
        return self._call("Bcast", buffer, None if self.rank == root else buffer, root)

    def Ireduce(  # noqa: N802
        self, send: Any, receive: Buffer | None, op: Any = MPI.SUM, root: int = 0
    ) -> InCall:
        """Begin to add up at the root."""
        receive = self._only_at_root("Reduce", receive, root)
        return self._call("Reduce", own(send, receive), receive, root, ufunc_of(op))

    def Iallreduce(self, send: Any, receive: Buffer, op: Any = MPI.SUM) -> InCall:  # noqa: N802
        """Begin to add up for everyone."""
        return self._call("Allreduce", own(send, receive), receive, 0, ufunc_of(op))

    def Bcast(self, buffer: Buffer, root: int = 0) -> None:  # noqa: N802
        """Give everyone the root's contents."""
        self.Ibcast(buffer, root).Wait()

    def Reduce(  # noqa: N802
        self, send: Any, receive: Buffer | None, op: Any = MPI.SUM, root: int = 0
    ) -> None:
        """Add up at the root."""
        self.Ireduce(send, receive, op, root).Wait()

    def Allreduce(self, send: Any, receive: Buffer, op: Any = MPI.SUM) -> None:  # noqa: N802
        """Add up for everyone."""
        self.Iallreduce(send, receive, op).Wait()

    def Gather(self, send: Buffer, receive: Buffer | None, root: int = 0) -> None:  # noqa: N802
        """Collect at the root."""
        self._call("Gather", send, self._only_at_root("Gather", receive, root), root).Wait()

    def Allgather(self, send: Buffer, receive: Buffer) -> None:  # noqa: N802
        """Collect for everyone."""
        self._call("Allgather", send, receive, 0).Wait()

    def Barrier(self) -> None:  # noqa: N802
        """Wait for everyone."""
        self._call("Barrier", np.empty(0), None, 0).Wait()

    def Split(self, color: int = 0, key: int = 0) -> VirtualComm:  # noqa: N802
        """Make communicators of the ranks with the same color, in the order of key and rank."""
        return self._split("Split", color, key)

    def Dup(self) -> VirtualComm:  # noqa: N802
        """Make a communicator of the same ranks."""
        return self._split("Dup", 0, 0)

    def Iprobe(  # noqa: N802
        self,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> bool:
        """Say whether a message has arrived by now."""
        if source != MPI.ANY_SOURCE or self.cluster.choose is not None:
            raise NotImplementedError("a virtual Iprobe of one source, or in a chooser's hand")
        self.cluster.enter(self.member)
        self.cluster.let_others_catch_up(self.member)
        there = [
            message
            for message in self.group.messages[self.rank]
            if tag in (MPI.ANY_TAG, message.tag) and message.arrival <= self.member.clock
        ]
        if there and status is not None:
            min(there, key=lambda message: (message.arrival, message.source)).tell(status)
        failure = failure_of_wildcard(self.group, self.rank)
        if failure is not None and not there:
            raise failure[1]
        return bool(there)

    def _split(self, kind: str, color: int, key: int) -> Any:
        request = self._call(kind, np.array([color, key]), None, 0)
        request.Wait()
        if color == MPI.UNDEFINED:
            return MPI.COMM_NULL
        return self.part_of(request.call.made)

    def begin(self, call: Collective, send: Buffer, receive: Buffer | None) -> InCall:
        """Take part in a call."""
        return InCall(self, call, send, receive)

    def part_of(self, made: dict[int, tuple[Group, int]]) -> VirtualComm:
        """Find this rank's new communicator."""
        return VirtualComm(*made[self.rank])

    def _check(self, rank: int) -> None:
        if not 0 <= rank < self.size:
            raise VirtualError(f"there is no rank {rank} in a communicator of {self.size}")

    def _check_partner(self, rank: int) -> None:
        self._check(rank)
        if len(self.group.members[rank].numbers) > 1:
            raise VirtualError(
                f"rank {self.member.number} sends to or receives from rank {rank} of its "
                "communicator, which is played as one with others and can do neither"
            )

    def _call(
        self,
        kind: str,
        send: Buffer,
        receive: Buffer | None,
        root: int,
        ufunc: np.ufunc | None = None,
    ) -> InCall:
        group, member = self.group, self.member
        if member.checked:
            self.cluster.enter(member)
        else:
            member.calls += 1
        if root:
            self._check(root)
        called = (kind, root, ufunc, send.nbytes, send.dtype)
        if receive is not None and (receive is not send or "ather" in kind):
            self._check_room(Called(*called), receive)
        number, self.calls = self.calls, self.calls + 1
        call = group.calls.get(number)
        if call is None:
            call = Collective(group, number, Called(*called), here(), member.number)
            if group.revoked is None:
                group.calls[number] = call
        elif call.called != called:
            raise VirtualError(
                f"collective calls do not match: rank {member.number} calls {Called(*called)} at "
                f"{here()}, where rank {call.first} called {call.called} at {call.place}"
            )
        request = self.begin(call, send, receive)
        if group.revoked is None or not fails(group, request):
            call.join(self.rank, request)
        return request

    def _only_at_root(self, kind: str, receive: Buffer | None, root: int) -> Buffer | None:
        """Find what the root receives into; all others receive nothing."""
        if self.rank != root:
            return None
        if receive is None:
            raise VirtualError(f"rank {self.member.number}, the root, receives nothing in {kind}")
        return receive

    def _check_room(self, called: Called, receive: Buffer) -> None:
        """Refuse a receiving buffer that is not made for what comes."""
        comes = called.size * (self.size if "ather" in called.kind else 1)
        if (receive.nbytes, receive.dtype) != (comes, called.dtype):
            raise VirtualError(
                f"rank {self.member.number} receives {receive.nbytes} bytes of {receive.dtype} in "
                f"{called.kind} where {comes} of {called.dtype} come"
            )


def own(send: Any, receive: Buffer | None) -> Any:
    """Find what a rank adds to a sum: where it sends in place, what it also receives into."""
    if isinstance(send, IN_PLACE):
        if receive is None:
            raise VirtualError("only who receives can send in place")
        return receive
    if send is receive:
        raise VirtualError("the same buffer is sent and received into: say MPI.IN_PLACE")
    return send


def here() -> str:
    """The line of the program that calls."""
    return place(sys._getframe(1))
