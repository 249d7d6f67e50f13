"""Ranks that do the same, played as one: their program runs once, and their clocks are a vector.

Where nothing is computed, the members of a synchronous group, but for its root, differ in nothing
but the time that they take. To run their program for each of them would give the same calls a
thousand times. It is the idea of vector processors, and of a GPU's warps: one stream of
instructions, many data; here, clocks.

That holds for programs whose ranks make the same calls with the same arguments (the key of a
``Split``, too), only such calls as all ranks make together, and in which nothing depends on the
answer of a ``Test``: it is yes when it is so for all of the cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from minidl.roles import Roles

from .collectives import TO_ROOT, Collective, InCall
from .comm import VirtualComm
from .data import Buffer
from .failure import Death
from .rank import Rank, VirtualError

if TYPE_CHECKING:
    from .group import Group


class CohortComm(VirtualComm):
    """The communicator of ranks that are played as one; its ``rank`` is the first of them.

    Parameters
    ----------
    group : Group
    ranks : sequence of int
        Their numbers in the group.
    """

    member: Cohort
    ranks: Sequence[int]

    def __init__(self, group: Group, ranks: Sequence[int]) -> None:
        super().__init__(group, ranks[0])
        self.ranks = ranks

    def clock(self) -> np.ndarray:  # type: ignore[override]
        """Virtual time of each rank, in seconds."""
        return self.member.clocks

    def compute(self, seconds: Any) -> None:
        """Let virtual time pass: as much for all, or for each its own."""
        self.member.go_on_at(self.member.clocks + seconds)

    def begin(self, call: Collective, send: Buffer, receive: Buffer | None) -> InCohort:
        """Take part in a call."""
        if call.root in self.ranks and call.kind in ("Bcast", *TO_ROOT):
            raise VirtualError(
                f"rank {call.root} of a communicator is the root of {call.kind}, and is played as "
                "one with others; roots play by themselves"
            )
        return InCohort(self, call, send, receive)

    def part_of(self, made: dict[int, tuple[Group, int]]) -> CohortComm:
        """Find the new communicator of all of them."""
        group, _ = made[self.rank]
        return CohortComm(group, [made[rank][1] for rank in self.ranks])

    def refuse(self, *_: Any, **__: Any) -> Any:
        """Raise an error: who of them would send, and who receive?"""
        raise VirtualError(
            f"{len(self.ranks)} ranks that are played as one, the first of them rank "
            f"{self.member.number}, can take part in what all call, and in nothing else"
        )

    Isend = Irecv = Recv = Probe = Iprobe = refuse
    Agree = Shrink = Revoke = Is_revoked = Get_failed = Ack_failed = refuse


class Cohort(Rank):
    """Several ranks: the clock of the last of them, and the clocks of all.

    To others it is as slow as its last rank: nobody hears of a call before the last has joined it.
    """

    def __init__(self, numbers: Sequence[int], body: Callable[[], None]) -> None:
        super().__init__(numbers[0], body, Death())
        self.numbers = numbers
        self.go_on_at(np.zeros(len(numbers)))

    def go_on_at(self, clocks: np.ndarray) -> None:
        """Set the clocks, to an array that nobody changes: who was told the time may keep it."""
        self.clocks, self.clock = clocks, float(clocks.max())
        clocks.flags.writeable = False


class InCohort(InCall):
    """A cohort's side of a collective call."""

    __slots__ = ("all_began",)
    member: Cohort

    def __init__(
        self, comm: CohortComm, call: Collective, send: Buffer, receive: Buffer | None
    ) -> None:
        super().__init__(comm, call, send, receive)
        self.all_began = self.member.clocks
        call.joined.update(dict.fromkeys(comm.ranks, self))
        if self.data.contents is not None:
            call.contents.update(dict.fromkeys(comm.ranks, self.data.contents))

    def times(self) -> np.ndarray:
        """When it completed for each; ``time`` is that of the last."""
        if self.call.sending is not None:
            return self.all_began + self.call.sending
        return np.maximum(self.all_began, self.call.ready)

    def Wait(self, status: MPI.Status | None = None) -> bool:  # noqa: N802
        """Go on, each when it has completed."""
        super().Wait(status)
        self.member.go_on_at(np.maximum(self.member.clocks, self.times()))
        return True

    def Test(self, status: MPI.Status | None = None) -> bool:  # noqa: N802
        """Say whether it has completed by now for all."""
        self.member.calls += 1
        if self.finished:
            return True
        if self.time is None:
            self.cluster.let_others_catch_up(self.member)
        if self.time is not None and (self.times() <= self.member.clocks).all():
            return self.Wait(status)
        return self.exhausts_patience() and self.Wait(status)

    @classmethod
    def refuse(cls, requests: Sequence[InCohort], *_: Any, **__: Any) -> Any:
        """Raise an error: each rank of the cohort could have another answer."""
        raise VirtualError(
            f"ranks that are played as one, the first of them rank {requests[0].member.number}, "
            "can wait for all of several requests, and not for any or some; nor test several"
        )

    Waitany = Waitsome = Testall = Testany = Testsome = refuse  # type: ignore[assignment]


def player(numbers: Sequence[int], body: Callable[[], None], death: Death) -> Rank:
    """Make the one who plays these ranks."""
    if len(numbers) == 1:
        return Rank(numbers[0], body, death)
    return Cohort(numbers, body)


def comm_of(world: Group, numbers: Sequence[int]) -> VirtualComm:
    """Make the communicator of the one who plays these ranks."""
    if len(numbers) == 1:
        return VirtualComm(world, numbers[0])
    return CohortComm(world, numbers)


def cohorts_of(roles: Roles) -> list[range]:
    """Find who can be played as one, if none of them computes: a group's members but for its root.

    The root alone speaks with servers.
    """
    return [roles.members(group)[1:] for group in range(roles.groups)]
