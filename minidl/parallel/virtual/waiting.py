"""Waits that can end in several ways: with a message from anybody, with any of several requests.

By the clock, what is there first ends the wait. In a chooser's hand all ways are its options.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mpi4py import MPI

from .failure import FailureError, failure_of_wildcard
from .rank import Option, Rank

if TYPE_CHECKING:
    from .cluster import VirtualCluster
    from .comm import VirtualComm
    from .data import Message
    from .requests import Request


FAILURE = "failure"  # in place of a tag: a chooser tells the rank of a death or a revocation


class Way(NamedTuple):
    """A way in which a wait can end: when, as a chooser is told, and with what."""

    time: float
    option: Option
    result: Any


class Crossroads:
    """A wait that can end in several ways.

    Attributes
    ----------
    chosen : Way or None
    otherwise : Way or None
        What a chooser's cluster falls back on where nobody can go on.
    """

    def __init__(self, cluster: VirtualCluster, member: Rank) -> None:
        self.cluster, self.member = cluster, member
        self.chosen: Way | None = None
        self.otherwise: Way | None = None

    def ways(self) -> list[Way]:
        """Find those that are open, the first of several equal ones first."""
        raise NotImplementedError

    def wait(self) -> Any:
        """Go on when there is a way, and no earlier one can come any more."""
        self.cluster.enter(self.member)
        by_clock = self.cluster.choose is None
        while self.chosen is None:
            ways = self.ways()
            if ways and by_clock:
                first = min(way.time for way in ways)
                self.cluster.wake(self.member, max(self.member.clock, first))
            self.cluster.sleep(self.member, self)
            if by_clock:
                there = [way for way in self.ways() if way.time <= self.member.clock]
                self.chosen = min(there, key=lambda way: way.time, default=None)
        return self.chosen.result


class Anybody(Crossroads):
    """A message awaited from anybody."""

    def __init__(self, comm: VirtualComm, tag: int) -> None:
        super().__init__(comm.cluster, comm.member)
        self.comm, self.tag = comm, tag

    def wait(self) -> Message:
        """Go on with a message; raises ``FailureError`` where a death comes before it."""
        result: Message | FailureError = super().wait()
        if isinstance(result, FailureError):
            raise result
        return result

    def ways(self) -> list[Way]:
        """Find the first message from each rank that would do; then, what may come in between.

        By the clock, that is nothing where a message is there.
        """
        ways, failure = self._messages(), failure_of_wildcard(self.comm.group, self.comm.rank)
        there = self.cluster.choose is None and any(w.time <= self.member.clock for w in ways)
        if failure is not None and not there:
            time, error = failure
            ways.append(Way(time, (self.member.number, (), FAILURE), error))
        return ways

    def _messages(self) -> list[Way]:
        first: dict[int, Message] = {}
        for message in self.comm.group.messages[self.comm.rank]:
            if self.tag in (MPI.ANY_TAG, message.tag):
                first.setdefault(message.source, message)
        return [
            Way(
                message.arrival,
                (self.member.number, message.send.member.number, message.tag),
                message,
            )
            for _, message in sorted(first.items())
        ]

    def told(self) -> str:
        """Say what is waited for."""
        return "a message from anybody" + (
            "" if self.tag == MPI.ANY_TAG else f" with tag {self.tag}"
        )

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        return [m.number for m in self.comm.group.members if m is not self.member]


class Doubt(Crossroads):
    """Whether a call that some complete in which another dies has failed for this rank.

    Only for a chooser: by the clock, who has made its part of a call before it dies has done it.
    """

    def ways(self) -> list[Way]:
        """Find two: False, it has not; True, it has."""
        number = self.member.number
        return [Way(0.0, (number, (0,), "Wait"), False), Way(0.0, (number, (), FAILURE), True)]


class Several(Crossroads):
    """Requests of one rank in a call such as Waitany or Testsome.

    Parameters
    ----------
    call : str
    requests : mapping of int to Request
        Those that are under way, by their places in the program's list; at least one.
    """

    def __init__(self, call: str, requests: Mapping[int, Request]) -> None:
        first = next(iter(requests.values()))
        super().__init__(first.cluster, first.member)
        self.call, self.requests = call, requests

    def ways(self) -> list[Way]:
        """Find what could complete: by the clock the first request, else what the call allows."""
        if self.cluster.choose is None:
            known = [(r.time, place) for place, r in self.requests.items() if r.time is not None]
            return [self._way((place,), time) for time, place in sorted(known)[:1]]
        done = [place for place, request in self.requests.items() if request.time is not None]
        answers = list(self.answers(done))
        if self._may_be_in_vain():
            answers.append(())
        return [self._way(places) for places in answers]

    def _way(self, places: tuple[int, ...], time: float = 0.0) -> Way:
        return Way(time, (self.member.number, places, self.call), places)

    def answers(self, done: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Which of those that have completed the call may name; first, what it names by the clock.

        ::

            any     one of them
            some    one or more of them: of n, in 2^n - 1 ways
            all     all, if nothing else is under way; so does Test of its only one
        """
        if self.call.endswith("any"):
            yield from ((place,) for place in done)
        elif self.call.endswith("some"):
            for count in range(len(done), 0, -1):
                yield from itertools.combinations(done, count)
        elif len(done) == len(self.requests):
            yield tuple(done)

    def by_now(self) -> list[int]:
        """Places of those that have completed by the rank's clock, the earliest first."""
        clock = self.member.clock
        known = [(r.time, place) for place, r in self.requests.items() if r.time is not None]
        return [place for time, place in sorted(known) if time <= clock]

    def wait(self) -> tuple[int, ...]:
        """Say which complete first; if there is but one, that it is this one."""
        if len(self.requests) == 1:
            return tuple(self.requests)
        answer: tuple[int, ...] = super().wait()
        return answer if self.cluster.choose else next(self.answers(self.by_now()))

    def test(self) -> tuple[int, ...]:
        """Say which have completed by now; () if none, or not enough of them."""
        self.cluster.enter(self.member)
        if self.cluster.vain_tests:
            answer = self._chosen_answer()
        else:
            if any(request.time is None for request in self.requests.values()):
                self.cluster.let_others_catch_up(self.member)
            answer = next(self.answers(self.by_now()), ())
        if not answer and all([r.exhausts_patience() for r in self.requests.values()]):
            done = self.by_now()
            missing = {place: r for place, r in self.requests.items() if place not in done}
            first: tuple[int, ...] = Crossroads.wait(Several("Waitany", missing))
            time = max(self.requests[place].time or 0.0 for place in first)
            self.member.clock = max(self.member.clock, time)
            answer = next(self.answers(self.by_now()), ())
        return answer

    def _chosen_answer(self) -> tuple[int, ...]:
        complete = all(request.time is not None for request in self.requests.values())
        answers = self.ways()
        if complete and len(answers) == 1:  # no other can come
            return tuple(answers[0].result)
        self.otherwise = self._way(())
        answer: tuple[int, ...] = super().wait()
        return answer

    def _may_be_in_vain(self) -> bool:
        limit = self.cluster.vain_tests if self.call.startswith("Test") else 0
        return all(request.tests < limit for request in self.requests.values())

    def told(self) -> str:
        """Say what is waited for."""
        return " or ".join(request.told() for request in self.requests.values())

    def for_whom(self) -> list[int]:
        """Find who could end the waiting."""
        whom = {number for request in self.requests.values() for number in request.for_whom()}
        return sorted(whom)


def under_way(requests: Sequence[Any]) -> dict[int, Request]:
    """Find those that are neither null nor completed before, by their places."""
    return {
        place: request
        for place, request in enumerate(requests)
        if request != MPI.REQUEST_NULL and not request.finished
    }
