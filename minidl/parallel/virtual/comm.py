"""The communicator of a virtual cluster: mpi4py's upper-case calls, as strict as MPI allows.

A buffer that is to be received into holds garbage until the receive has completed; one that is
sent must not change before the send has. A message that is not short (``Machine.eager``) is sent
when it is received: a program that needs more than that hangs with some MPI, too. Sums are made in
the order of ranks. What is not here raises ``AttributeError``, by its name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from .cluster import Rank, VirtualCluster, VirtualError, place
from .collectives import Collective, InCall
from .data import Buffer
from .requests import Anybody, Message, Receive, Send


class Group:
    """What the ranks of one communicator share.

    Attributes
    ----------
    members : list of Rank
        By their number in the communicator.
    messages, receives : lists, one for each member
        Sent to it and not matched yet; posted by it and not matched yet. Both in order.
    """

    def __init__(self, cluster: VirtualCluster, numbers: Iterable[int]) -> None:
        self.cluster = cluster
        self.members = [cluster.ranks[number] for number in numbers]
        self.messages: list[list[Message]] = [[] for _ in self.members]
        self.receives: list[list[Receive]] = [[] for _ in self.members]
        self.calls: dict[int, Collective] = {}
        cluster.groups.append(self)

    def part(self, indices: list[int]) -> Group:
        """Make a new group of some of the members."""
        return Group(self.cluster, [self.members[index].number for index in indices])

    def left_over(self) -> Iterator[str]:
        """What was sent and never received, in words."""
        for member, messages in zip(self.members, self.messages, strict=True):
            for message in messages:
                source = self.members[message.source].number
                yield (
                    f"rank {source} to rank {member.number}, tag {message.tag}, "
                    f"{message.size} bytes, sent at {message.place}"
                )


class VirtualComm:
    """One rank's communicator.

    Parameters
    ----------
    group : Group
    rank : int
        Its number in the group.
    """

    def __init__(self, group: Group, rank: int) -> None:
        self.group, self.rank, self.cluster = group, rank, group.cluster
        self.member: Rank = group.members[rank]
        self.calls = 0

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.group.members)

    def clock(self) -> float:
        """Virtual time of the rank, in seconds."""
        return self.member.clock

    def compute(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.member.clock += seconds

    def Isend(self, buffer: Buffer, dest: int, tag: int = 0) -> Send:  # noqa: N802
        """Begin to send."""
        send = Send(self, buffer, dest, tag)
        machine, clock = self.cluster.machine, self.member.clock
        message = Message(
            self.rank, tag, send.data, clock + machine.message_time(send.data.size), here(), send
        )
        if send.data.size <= machine.eager:
            send.complete(clock)
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
        receive = Receive(self, buffer, source, tag)
        for message in self.group.messages[self.rank]:
            if message.source == source and tag in (MPI.ANY_TAG, message.tag):
                self.group.messages[self.rank].remove(message)
                receive.match(message)
                return receive
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
        status = status or MPI.Status()
        if source == MPI.ANY_SOURCE:
            self.Probe(source, tag, status)
            source, tag = status.Get_source(), status.Get_tag()
        receive = self.Irecv(buffer, source, tag)
        receive.Wait()
        assert receive.message is not None
        tell(status, receive.message)

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
            tell(status, message)
        return True

    def Ibcast(self, buffer: Buffer, root: int = 0) -> InCall:  # noqa: N802
        """Begin to give everyone the root's contents."""
        return self._call("Bcast", buffer, None if self.rank == root else buffer, root)

    def Ireduce(  # noqa: N802
        self, send: Any, receive: Buffer | None, op: Any = MPI.SUM, root: int = 0
    ) -> InCall:
        """Begin to add up at the root."""
        own: Any = receive if isinstance(send, type(MPI.IN_PLACE)) else send
        return self._call("Reduce", own, receive if self.rank == root else None, root, op)

    def Iallreduce(self, send: Any, receive: Buffer, op: Any = MPI.SUM) -> InCall:  # noqa: N802
        """Begin to add up for everyone."""
        own = receive if isinstance(send, type(MPI.IN_PLACE)) else send
        return self._call("Allreduce", own, receive, 0, op)

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
        self._call("Gather", send, receive if self.rank == root else None, root).Wait()

    def Allgather(self, send: Buffer, receive: Buffer) -> None:  # noqa: N802
        """Collect for everyone."""
        self._call("Allgather", send, receive, 0).Wait()

    def Barrier(self) -> None:  # noqa: N802
        """Wait for everyone."""
        self._call("Barrier", np.empty(0), None, 0).Wait()

    def Split(self, color: int = 0, key: int = 0) -> VirtualComm:  # noqa: N802
        """Make communicators of the ranks with the same color, in the order of key and rank."""
        request = self._call("Split", np.array([color, key]), None, 0)
        request.Wait()
        return VirtualComm(*request.call.made[self.rank])

    def Dup(self) -> VirtualComm:  # noqa: N802
        """Make a communicator of the same ranks."""
        return self.Split()

    def _call(
        self, kind: str, send: Buffer, receive: Buffer | None, root: int, op: Any = MPI.SUM
    ) -> InCall:
        shape = (send.nbytes, send.dtype)
        number, self.calls = self.calls, self.calls + 1
        call = self.group.calls.get(number)
        if call is None:
            call = self.group.calls[number] = Collective(
                self.group, number, kind, root, op, shape, here(), self.member.number
            )
        elif (call.kind, call.root, call.op, call.shape) != (kind, root, op, shape):
            raise VirtualError(
                f"collective calls do not match: rank {self.member.number} calls {kind} (root "
                f"{root}, {shape[0]} bytes of {shape[1]}) at {here()}, where rank {call.first} "
                f"called {call.kind} (root {call.root}, {call.shape[0]} bytes of "
                f"{call.shape[1]}) at {call.place}"
            )
        request = InCall(self, call, send, receive)
        call.join(self.rank, request)
        return request


def tell(status: MPI.Status, message: Message) -> None:
    """Say from whom, with which tag, and how much."""
    status.Set_source(message.source)
    status.Set_tag(message.tag)
    status.Set_elements(MPI.BYTE, message.size)


def here() -> str:
    """The line of the program that calls."""
    return place(sys._getframe(1))
