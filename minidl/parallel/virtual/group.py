"""What the ranks of one communicator share: who they are, and what is under way among them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import VirtualCluster
    from .collectives import Collective
    from .data import Message
    from .requests import Receive
    from .survival import Agreement


class Group:
    """What the ranks of one communicator share.

    Attributes
    ----------
    members : list of Rank
        By their number in the communicator.
    messages, receives : lists, one for each member
        Sent to it and not matched yet; posted by it and not matched yet. Both in order.
    calls, agreements : dict
        Under way, by their numbers.
    dead : list of int
        Members that have died, the first first.
    acknowledged : list of int
        How many of these each member has acknowledged.
    revoked : float or None
        When it was.
    """

    def __init__(self, cluster: VirtualCluster, numbers: Iterable[int]) -> None:
        self.cluster = cluster
        self.members = [cluster.ranks[number] for number in numbers]
        self.messages: list[list[Message]] = [[] for _ in self.members]
        self.receives: list[list[Receive]] = [[] for _ in self.members]
        self.calls: dict[int, Collective] = {}
        self.agreements: dict[int, Agreement] = {}
        self.dead = [i for i, member in enumerate(self.members) if member.died is not None]
        self.acknowledged = [0] * len(self.members)
        self.revoked: float | None = None
        cluster.groups.append(self)

    def part(self, indices: list[int]) -> Group:
        """Make a new group of some of the members."""
        return Group(self.cluster, [self.members[index].number for index in indices])

    def time_of_death(self, index: int) -> float:
        """When a member died that has."""
        died = self.members[index].died
        assert died is not None
        return died

    def left_over(self) -> Iterator[str]:
        """What was begun, and never completed by others, in words; not what failed."""
        for member, messages in zip(self.members, self.messages, strict=True):
            for message in messages:
                if message.source in self.dead:
                    continue
                source = self.members[message.source].number
                yield (
                    f"a message that nobody received: rank {source} to rank {member.number}, "
                    f"tag {message.tag}, {message.size} bytes, sent at {message.place}"
                )
        for receive in itertools.chain(*self.receives):
            yield f"a receive on rank {receive.member.number}: {receive.told()}"
        for call in self.calls.values():
            joined = set(call.joined)
            if not call.hopeless() and not joined <= set(self.dead):
                members = enumerate(self.members)
                absent = dict.fromkeys(member for index, member in members if index not in joined)
                yield (
                    f"{call.kind}, called by rank {call.first} at {call.place}, never by rank "
                    + ", ".join(str(number) for member in absent for number in member.numbers)
                )
