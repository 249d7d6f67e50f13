"""Who is who: workers first, dealt to groups; the parameter servers last.

::

    ranks   0 1 2   3 4 5   6   7          2 groups of 3, 2 servers
            group 0 group 1 servers        roots are ranks 0 and 3

Groups differ by one rank at most, and only where ranks have died.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minidl.errors import UserError


@dataclass(frozen=True)
class Roles:
    """The part that every rank plays.

    Where groups cannot be equal in size, the first have one rank more.

    Raises
    ------
    UserError
        If there are fewer workers than groups.
    """

    ranks: int
    groups: int
    servers: int

    def __post_init__(self) -> None:
        if self.workers < self.groups:
            self._cannot_be_dealt()

    def _cannot_be_dealt(self) -> None:
        raise UserError(
            f"{self.ranks} ranks less {self.servers} parameter servers leave {self.workers} "
            f"workers, which cannot be dealt to {self.groups} equal groups; start another "
            "number of ranks, with mpiexec -n or --virtual-ranks, or change --groups or "
            "--servers"
        )

    def check(self, sizes: Sequence[int]) -> None:
        """Raise ``UserError`` unless groups are equal, and each server has one of these layers."""
        if self.workers % self.groups:
            self._cannot_be_dealt()
        if self.servers > len(sizes):
            raise UserError(
                f"--servers {self.servers} for {len(sizes)} layers with parameters; a layer is "
                f"held by one server, so that 1 to {len(sizes)} are of use"
            )

    @property
    def workers(self) -> int:
        """Ranks 0 to workers - 1 compute gradients."""
        return self.ranks - self.servers

    @property
    def group_size(self) -> int:
        """Workers in a group, the smallest if they differ."""
        return self.workers // self.groups

    def group(self, rank: int) -> int:
        """Number of the rank's group, -1 for a server."""
        if rank >= self.workers:
            return -1
        size, larger = divmod(self.workers, self.groups)
        in_larger = larger * (size + 1)
        return rank // (size + 1) if rank < in_larger else larger + (rank - in_larger) // size

    def color(self, rank: int) -> int:
        """What to split a communicator by, to get the rank's group; MPI wants no negative one."""
        return self.group(rank) + 1

    def members(self, group: int) -> range:
        """Ranks of the group."""
        return range(self.root(group), self.root(group + 1))

    def root(self, group: int) -> int:
        """The rank that speaks for the group."""
        size, larger = divmod(self.workers, self.groups)
        return group * size + min(group, larger)

    def is_root(self, rank: int) -> bool:
        """Whether the rank speaks for a group."""
        return rank < self.workers and self.root(self.group(rank)) == rank

    def others(self, group: int) -> list[int]:
        """Number of every group but this one."""
        return [other for other in range(self.groups) if other != group]

    def holders(self, sizes: Sequence[int]) -> list[int]:
        """Deal layers of these ``sizes`` to the servers; return the rank that holds each.

        The largest first, each to the server that has least: no server ends with more than 4/3 of
        what the best deal gives the fullest one. Source: R. Graham, Bounds on Multiprocessing
        Timing Anomalies (1969).
        """
        loads = [0] * self.servers
        holders = [0] * len(sizes)
        for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
            server = loads.index(min(loads))
            loads[server] += sizes[number]
            holders[number] = self.workers + server
        return holders
