"""What the living can do when ranks have died: MPI's user-level failure mitigation.

Source: MPI 5.0, Process Fault Tolerance; W. Bland et al., Post-failure recovery of MPI
communication capability: design and rationale (2013).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from mpi4py import MPI

from .failure import has_died, revoke
from .rank import Rank, VirtualError
from .requests import Request

if TYPE_CHECKING:
    from .group import Group

FLAG_SIZE = 4  # bytes that an agreement is about


class Members:
    """Some ranks, as MPI's groups are."""

    def __init__(self, ranks: Sequence[Rank]) -> None:
        self.ranks = list(ranks)

    def Get_size(self) -> int:  # noqa: N802
        """Say how many they are."""
        return len(self.ranks)

    def Translate_ranks(self, ranks: Sequence[int] | None, group: Members) -> list[int]:  # noqa: N802
        """Find numbers in another group, of those with these numbers here (None: of all)."""
        wanted = self.ranks if ranks is None else [self.ranks[number] for number in ranks]
        return [group.ranks.index(r) if r in group.ranks else MPI.UNDEFINED for r in wanted]

    def Free(self) -> None:  # noqa: N802
        """Do nothing: there is nothing to free."""


class Agreement:
    """A call that all living ranks of a communicator make; what it says, it says to all alike.

    Attributes
    ----------
    joined : dict of int to Part
        Those who have called it, by their number in the communicator.
    flag : int
        Bitwise and of all flags.
    survivors : Group or None
        Of ``Shrink``: the new communicator's.
    """

    def __init__(self, group: Group, number: int, kind: str) -> None:
        self.group, self.number, self.kind = group, number, kind
        self.joined: dict[int, Part] = {}
        self.flag = -1
        self.survivors: Group | None = None

    def settle(self) -> None:
        """Complete it once all have called it who live."""
        group, machine = self.group, self.group.cluster.machine
        living = [index for index in range(len(group.members)) if index not in group.dead]
        if not all(index in self.joined for index in living):
            return
        del group.agreements[self.number]
        if not living:
            return
        times = [part.began for part in self.joined.values()] + list(
            map(group.time_of_death, group.dead)
        )
        # It takes at least as long as adding up a number.
        ready = max(times) + machine.collective_time("Allreduce", len(living), FLAG_SIZE)
        self.flag = functools.reduce(operator.and_, (part.flag for part in self.joined.values()))
        unknown = any(group.acknowledged[index] < len(group.dead) for index in living)
        if self.kind == "Shrink":
            self.survivors = group.part(living)
        for index in living:
            if self.kind == "Agree" and unknown:
                self.joined[index].fail(has_died(group, group.dead[-1]), ready)
            else:
                self.joined[index].complete(ready)


class Part(Request):
    """One rank's side of an agreement."""

    def __init__(self, comm: Survivor, agreement: Agreement, flag: int) -> None:
        super().__init__(comm)
        self.agreement, self.flag = agreement, flag

    def doubt(self) -> None:
        """Have none: it is the same for all."""

    def told(self) -> str:
        """Say what is waited for."""
        return f"{self.agreement.kind} by rank {', '.join(map(str, self.for_whom()))}"

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        return [
            member.number
            for index, member in enumerate(self.group.members)
            if index not in self.agreement.joined and index not in self.group.dead
        ]


class Survivor:
    """One rank's communicator, where others may have died.

    Parameters
    ----------
    group : Group
    rank : int
        Its number in the group.

    Attributes
    ----------
    ranks : int or sequence of int
        The number of this rank; of a ``cohort``, the numbers of all its ranks.
    """

    def __init__(self, group: Group, rank: int) -> None:
        self.group, self.rank, self.cluster = group, rank, group.cluster
        self.member: Rank = group.members[rank]
        self.ranks: int | Sequence[int] = rank
        self.calls = self.agreements = 0

    @property
    def size(self) -> int:
        """Number of ranks, dead and living."""
        return len(self.group.members)

    @property
    def tolerant(self) -> bool:
        """Whether the ranks that are left go on when others die: where any is to die."""
        return bool(self.cluster.deaths)

    def Revoke(self) -> None:  # noqa: N802
        """End all that is under way, on all ranks, and all that will be begun."""
        self.cluster.enter(self.member)
        self.cluster.let_others_catch_up(self.member)
        if self.group.revoked is None:
            revoke(self.group, self.member.clock)
            self.cluster.wake_waiting(self.member.clock)

    def Is_revoked(self) -> bool:  # noqa: N802
        """Say whether anybody has revoked it by now."""
        self.cluster.enter(self.member)
        self.cluster.let_others_catch_up(self.member)
        return self.group.revoked is not None

    def Get_group(self) -> Members:  # noqa: N802
        """Find its ranks, dead and living."""
        return Members(self.group.members)

    def Get_failed(self) -> Members:  # noqa: N802
        """Find those who have died by now, the first first."""
        self.cluster.enter(self.member)
        return Members([self.group.members[index] for index in self._dead_by_now()])

    def Ack_failed(self, num_to_ack: int | None = None) -> int:  # noqa: N802
        """Go on waiting for messages from anybody, in spite of the first so many deaths.

        Returns how many are acknowledged.
        """
        self.cluster.enter(self.member)
        known = len(self._dead_by_now())
        num_to_ack = known if num_to_ack is None else min(num_to_ack, known)
        acknowledged = self.group.acknowledged
        acknowledged[self.rank] = max(acknowledged[self.rank], num_to_ack)
        return acknowledged[self.rank]

    def Agree(self, flag: int) -> int:  # noqa: N802
        """Find the bitwise and of all living ranks' flags; the same for all of them.

        Raises
        ------
        MPI.Exception
            ERR_PROC_FAILED, on all, if there is a death that not all have acknowledged.
        """
        return self._agreed("Agree", flag).flag

    def Shrink(self) -> Self:  # noqa: N802
        """Make a communicator of the living, in their order."""
        survivors = self._agreed("Shrink", -1).survivors
        assert survivors is not None
        return type(self)(survivors, survivors.members.index(self.member))

    def _agreed(self, kind: str, flag: int) -> Agreement:
        self.cluster.enter(self.member)
        number, self.agreements = self.agreements, self.agreements + 1
        agreement = self.group.agreements.setdefault(number, Agreement(self.group, number, kind))
        if agreement.kind != kind:
            raise VirtualError(
                f"calls do not match: rank {self.member.number} calls {kind} where others called "
                f"{agreement.kind}"
            )
        part = Part(self, agreement, flag)
        agreement.joined[self.rank] = part
        agreement.settle()
        part.Wait()
        return agreement

    def _dead_by_now(self) -> list[int]:
        self.cluster.let_others_catch_up(self.member)
        return self.group.dead
