"""Operations that have begun: messages from one rank to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpi4py import MPI

from .data import Buffer, Data, Message, spoil
from .failure import FailureError, in_status, is_revoked
from .rank import VirtualError
from .waiting import Doubt, Several, under_way

if TYPE_CHECKING:
    from .comm import VirtualComm
    from .survival import Survivor

PATIENCE = 1000  # tests in vain


class Request:
    """An operation that has begun.

    A list of requests is completed by the class methods of their own class, here as with mpi4py:
    ``type(requests[0]).Waitall(requests)`` works with both. Lists of statuses are as there.

    Attributes
    ----------
    time : float or None
        When it completed, or failed; None as long as that is not known.
    error : FailureError or None
        Why it failed.
    finished : bool
        The program knows; for MPI, it is null from now on.
    tests : int
        How often it was tested in vain; by the clock, since ``tested``.
    """

    __slots__ = (
        "began", "cluster", "error", "finished", "group", "member", "tested", "tests", "time",
    )  # fmt: skip

    def __init__(self, comm: Survivor) -> None:
        self.cluster, self.group, self.member = comm.cluster, comm.group, comm.member
        self.began = self.tested = self.member.clock
        self.time: float | None = None
        self.error: FailureError | None = None
        self.finished = False
        self.tests = 0

    def Wait(self, status: MPI.Status | None = None) -> bool:  # noqa: N802
        """Go on when it has completed."""
        member = self.member
        if member.checked:
            self.cluster.enter(member)
        else:
            member.calls += 1
        while self.time is None:
            self.cluster.sleep(member, self)
        if member.clock < self.time:
            member.clock = self.time
        if member.checked:
            self.cluster.end_if_due(member)
        if not self.finished:
            doubt = self.doubt() if self.cluster.choose and self.error is None else None
            if doubt is not None and Doubt(self.cluster, member).wait():
                self.error = doubt
            self.finished = True
            if self.error is not None:
                raise self.error
            self.finish(status)
        return True

    def Test(self, status: MPI.Status | None = None) -> bool:  # noqa: N802
        """Say whether it has completed by now."""
        member = self.member
        if member.checked:
            self.cluster.enter(member)
        else:
            member.calls += 1
        if self.finished:
            return True
        if not self.cluster.vain_tests:
            if self.time is None:
                self.cluster.let_others_catch_up(member)
            if self.time is not None and self.time <= member.clock:
                return self.Wait(status)
            if not self.exhausts_patience():
                return False
        return bool(Several("Test", {0: self}).test()) and self.Wait(status)

    @classmethod
    def Waitall(  # noqa: N802
        cls, requests: Sequence[Request], statuses: list[MPI.Status] | None = None
    ) -> bool:
        """Go on when all have completed."""
        finish(requests, range(len(requests)), statuses)
        return True

    @classmethod
    def Waitany(  # noqa: N802
        cls, requests: Sequence[Request], status: MPI.Status | None = None
    ) -> int:
        """Go on when one has completed; return its place."""
        left = under_way(requests)
        if not left:
            return MPI.UNDEFINED
        (place,) = Several("Waitany", left).wait()
        requests[place].Wait(status)
        return place

    @classmethod
    def Waitsome(  # noqa: N802
        cls, requests: Sequence[Request], statuses: list[MPI.Status] | None = None
    ) -> list[int] | None:
        """Go on when some have completed; return their places."""
        left = under_way(requests)
        return finish(requests, Several("Waitsome", left).wait(), statuses) if left else None

    @classmethod
    def Testall(  # noqa: N802
        cls, requests: Sequence[Request], statuses: list[MPI.Status] | None = None
    ) -> bool:
        """Say whether all have completed by now."""
        left = under_way(requests)
        return not (left and not Several("Testall", left).test()) and cls.Waitall(
            requests, statuses
        )

    @classmethod
    def Testany(  # noqa: N802
        cls, requests: Sequence[Request], status: MPI.Status | None = None
    ) -> tuple[int, bool]:
        """Say whether one has completed by now, and its place."""
        left = under_way(requests)
        if not left:
            return MPI.UNDEFINED, True
        for place in Several("Testany", left).test():
            requests[place].Wait(status)
            return place, True
        return MPI.UNDEFINED, False

    @classmethod
    def Testsome(  # noqa: N802
        cls, requests: Sequence[Request], statuses: list[MPI.Status] | None = None
    ) -> list[int] | None:
        """Say which have completed by now."""
        left = under_way(requests)
        return finish(requests, Several("Testsome", left).test(), statuses) if left else None

    def exhausts_patience(self) -> bool:
        """Count a test in vain: a loop of them takes no time, so that it would never end."""
        if self.cluster.choose is None and self.tested != self.member.clock:
            self.tests = 0
        self.tested = self.member.clock
        self.tests += 1
        return self.tests > PATIENCE

    def complete(self, time: float) -> None:
        """Note the time, and wake the rank if it waits for it."""
        self.time = time
        waits_for = self.member.waits_for
        if waits_for is None:
            return
        if waits_for is self or (
            isinstance(waits_for, Several) and self in waits_for.requests.values()
        ):
            self.cluster.wake(self.member, max(time, self.member.clock))

    def fail(self, error: FailureError, time: float) -> None:
        """Note that it will never complete, unless it has."""
        if self.time is None:
            self.error = error
            self.complete(max(self.began, time))

    def doubt(self) -> FailureError | None:
        """Find why, completed as it is here, it could elsewhere have failed."""
        return is_revoked() if self.group.revoked is not None else None

    def finish(self, status: MPI.Status | None) -> None:
        """What the rank finds done when it has waited."""

    def told(self) -> str:
        """What is waited for, in words."""
        raise NotImplementedError

    def for_whom(self) -> list[int]:
        """Ranks that could end the waiting."""
        raise NotImplementedError


class Send(Request):
    """A message on its way."""

    def __init__(self, comm: VirtualComm, buffer: Buffer, dest: int, tag: int) -> None:
        super().__init__(comm)
        self.buffer, self.dest, self.tag = buffer, dest, tag
        self.data = Data(buffer)

    def doubt(self) -> None:
        """Have none: what was sent is sent."""

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
        time, machine = max(message.arrival, self.began), self.cluster.machine
        if data.size > machine.eager:  # long ones, which waited for this, come in one by one
            time = max(time, self.member.receives_until + data.size / machine.bandwidth)
            self.member.receives_until = time
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


def finish(
    requests: Sequence[Request], places: Sequence[int], statuses: list[MPI.Status] | None
) -> list[int]:
    """Complete these; the first of them tells the first status, and so on.

    Raises
    ------
    FailureError
        ERR_IN_STATUS, as soon as one has failed; those that have not completed by then stay begun.
    """
    places = sorted(places)
    if statuses is not None:
        statuses.extend(MPI.Status() for _ in places[len(statuses) :])
    begun = under_way(requests)
    left = [begun[place] for place in places if place in begun]
    for request in left:
        request.cluster.enter(request.member)
        while request.time is None and not any(other.error for other in left):
            request.cluster.sleep(request.member, request)
    failed = None
    for number, place in enumerate(places):
        if place in begun and begun[place].time is None:
            continue
        try:
            requests[place].Wait(None if statuses is None else statuses[number])
        except FailureError as error:
            failed = error
    if failed is not None:
        raise in_status(failed)
    return places
