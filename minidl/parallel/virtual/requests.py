"""Operations that have begun: messages from one rank to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpi4py import MPI

from .cluster import VirtualError
from .data import Buffer, Data, spoil

if TYPE_CHECKING:
    from .comm import VirtualComm

PATIENCE = 1000  # tests in vain


class Request:
    """An operation that has begun.

    Attributes
    ----------
    time : float or None
        When it completed; None as long as that is not known.
    """

    def __init__(self, comm: VirtualComm) -> None:
        self.cluster, self.group, self.member = comm.cluster, comm.group, comm.member
        self.began = self.tested = self.member.clock
        self.time: float | None = None
        self.finished, self.tests = False, 0

    def Wait(self, status: MPI.Status | None = None) -> bool:  # noqa: N802
        """Go on when it has completed."""
        while self.time is None:
            self.cluster.sleep(self.member, self)
        self.member.clock = max(self.member.clock, self.time)
        if not self.finished:
            self.finished = True
            self.finish(status)
        return True

    def Test(self, status: MPI.Status | None = None) -> bool:  # noqa: N802
        """Say whether it has completed by now."""
        if self.time is None:
            self.cluster.let_others_catch_up(self.member)
        if self.time is not None and self.time <= self.member.clock:
            return self.Wait(status)
        # A loop that only tests takes no time, so that it would never end: it waits, after a while.
        self.tests = self.tests + 1 if self.tested == self.member.clock else 0
        self.tested = self.member.clock
        return self.tests >= PATIENCE and self.Wait(status)

    def complete(self, time: float) -> None:
        """Note the time, and wake the rank if it waits for it."""
        self.time = time
        if self.member.waits_for is self:
            self.cluster.wake(self.member, max(time, self.member.clock))

    def finish(self, status: MPI.Status | None) -> None:
        """What the rank finds done when it has waited."""

    def told(self) -> str:
        """What is waited for, in words."""
        raise NotImplementedError

    def for_whom(self) -> list[int]:
        """Ranks that could end the waiting."""
        raise NotImplementedError


@dataclass
class Message:
    """What travels."""

    source: int
    tag: int
    data: Data
    arrival: float
    place: str
    send: Send

    @property
    def size(self) -> int:
        """Bytes."""
        return self.data.size

    def tell(self, status: MPI.Status) -> None:
        """Say from whom it is, with which tag, and how much."""
        status.Set_source(self.source)
        status.Set_tag(self.tag)
        status.Set_elements(MPI.BYTE, self.size)


class Send(Request):
    """A message on its way."""

    def __init__(self, comm: VirtualComm, buffer: Buffer, dest: int, tag: int) -> None:
        super().__init__(comm)
        self.buffer, self.dest, self.tag = buffer, dest, tag
        self.data = Data(buffer)

    def finish(self, status: MPI.Status | None) -> None:
        """Check that what was sent is what is there."""
        if not self.data.same_as(self.buffer):
            raise VirtualError(
                f"rank {self.member.number} changed a buffer while it was being sent to rank "
                f"{self.group.members[self.dest].number} with tag {self.tag}"
            )

    def told(self) -> str:
        """Say what is waited for."""
        (dest,) = self.for_whom()
        return f"rank {dest} to receive its {self.data.size} bytes with tag {self.tag}"

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        return [self.group.members[self.dest].number]


class Receive(Request):
    """A message awaited from one rank."""

    def __init__(self, comm: VirtualComm, buffer: Buffer, source: int, tag: int) -> None:
        super().__init__(comm)
        self.buffer, self.source, self.tag = buffer, source, tag
        self.message: Message | None = None
        spoil(buffer)

    def match(self, message: Message) -> None:
        """Take this message."""
        data = message.data
        if data.size > self.buffer.nbytes or (data.size and data.dtype != self.buffer.dtype):
            raise VirtualError(
                f"rank {self.member.number} receives {self.buffer.nbytes} bytes of "
                f"{self.buffer.dtype} where rank {self.group.members[message.source].number} "
                f"sent {data.size} of {data.dtype}, tag {message.tag}, at {message.place}"
            )
        self.message = message
        time = max(message.arrival, self.began)
        self.complete(time)
        if message.send.time is None:
            message.send.complete(time)

    def finish(self, status: MPI.Status | None) -> None:
        """Find the message in the buffer."""
        assert self.message is not None
        self.message.data.put_into(self.buffer)
        if status is not None:
            self.message.tell(status)

    def told(self) -> str:
        """Say what is waited for."""
        tag = "any tag" if self.tag == MPI.ANY_TAG else f"tag {self.tag}"
        (source,) = self.for_whom()
        return f"a message from rank {source} with {tag}"

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        return [self.group.members[self.source].number]


class Anybody(Request):
    """A message awaited from anybody.

    Attributes
    ----------
    chosen : Message or None
    """

    def __init__(self, comm: VirtualComm, tag: int) -> None:
        super().__init__(comm)
        self.comm, self.tag = comm, tag
        self.chosen: Message | None = None

    def candidates(self) -> list[Message]:
        """The first message from each rank that would do."""
        first: dict[int, Message] = {}
        for message in self.group.messages[self.comm.rank]:
            if self.tag in (MPI.ANY_TAG, message.tag):
                first.setdefault(message.source, message)
        return [first[source] for source in sorted(first)]

    def wait(self) -> Message:
        """Go on when there is a message, and no earlier one can come any more."""
        while self.chosen is None:
            there = self.candidates()
            if there and self.cluster.choose is None:
                self.cluster.wake(
                    self.member, max(self.member.clock, min(m.arrival for m in there))
                )
            self.cluster.sleep(self.member, self)
            if self.cluster.choose is None:
                arrived = [m for m in self.candidates() if m.arrival <= self.member.clock]
                self.chosen = min(arrived, key=lambda m: (m.arrival, m.source), default=None)
        return self.chosen

    def told(self) -> str:
        """Say what is waited for."""
        return "a message from anybody" + (
            "" if self.tag == MPI.ANY_TAG else f" with tag {self.tag}"
        )

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        return [m.number for m in self.group.members if m is not self.member]
