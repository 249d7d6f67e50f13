"""Every order in which a program's messages can arrive, each of them once.

Two arrivals at different ranks can be exchanged without anybody noticing; only the order of
arrivals at one rank matters. The same is true of what ranks are told about their requests: what
others do meanwhile only adds to what a rank could be told. Of all schedules that differ in such
exchanges only, one is run: by depth-first search with sleep sets. Source: P. Godefroid,
Partial-Order Methods for the Verification of Concurrent Systems (1996), section 5.

A death takes from what others could be told, so that with deaths every order is run: the options of
such a cluster all differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from .rank import Option

Outcome = TypeVar("Outcome")
Choose = Callable[[Sequence[Option]], int]


class Redundant(Exception):  # noqa: N818  (no error: there is nothing new on this way)
    """What remains of a schedule is a schedule that has been run, but for exchanges."""


@dataclass
class Crossing:
    """A point at which several messages could arrive, or requests be said to complete, next.

    Attributes
    ----------
    taken : Option
        The way that is being explored.
    asleep : list of Option
        Ways that lead nowhere new.
    """

    options: list[Option]
    asleep: list[Option]
    taken: Option = field(init=False)

    def __post_init__(self) -> None:
        self.go_on()

    def go_on(self) -> None:
        """Take the next way; raises ``Redundant`` if there is none."""
        awake = [option for option in self.options if option not in self.asleep]
        if not awake:
            raise Redundant
        self.taken = awake[0]


def explore(run: Callable[[Choose], Outcome]) -> Iterator[Outcome]:
    """Run a program once for each order of arrivals that matters; yield what each run returns.

    With ``vain_tests`` of the cluster, also once for each way to answer its tests.

    Parameters
    ----------
    run : function (choose) -> outcome
        Runs the program from its start in a ``VirtualCluster`` with this chooser. It has to do
        the same whenever the same is chosen.
    """
    path: list[Crossing] = []
    while True:
        depth = 0

        def choose(options: Sequence[Option]) -> int:
            nonlocal depth
            if depth == len(path):
                path.append(Crossing(list(options), still_asleep(path)))
            depth += 1
            return options.index(path[depth - 1].taken)

        with suppress(Redundant):
            yield run(choose)
        while path:
            path[-1].asleep.append(path[-1].taken)
            try:
                path[-1].go_on()
                break
            except Redundant:
                path.pop()
        if not path:
            return


def still_asleep(path: list[Crossing]) -> list[Option]:
    """Ways that still lead nowhere new after the last one taken: those at other ranks."""
    if not path:
        return []
    return [option for option in path[-1].asleep if option[0] != path[-1].taken[0]]
