"""A cluster in one process: every rank of a program, under a virtual clock or in a chooser's hand.

``VirtualCluster(4).run(program)`` calls ``program(comm)`` once a rank. Ranks are greenlets that run
one at a time and leave off only inside a call of ``comm``, so that a run repeats to the bit.

What happens next is decided in one of two ways:

- by the clock: computing and messages take the time that a ``Machine`` says, and what is first in
  virtual time happens first;
- by a chooser: when no rank can go on, but some wait for a message from anybody or for one of
  several requests, it picks which of those that are there comes first. Nothing else that may happen
  in another order changes what a program computes, so that all choices together are all that can
  happen: where sends wait for their receivers, or with ``Machine.eager`` where they do not.
  ``Test`` is the exception: unless ``vain_tests`` makes its answers choices, too, it says what is
  so by now, which may be otherwise elsewhere.

Ranks can be made to die; see ``failure`` and ``survival``. Those that do the same can be played as
one; see ``cohort``.

What MPI leaves to its user is checked: a deadlock is told as a story, as are collective calls that
do not match, buffers that are changed while they travel, and messages that nobody receives.

Related: SMPI and Mc SimGrid run and check C programs so (A. Degomme et al., Simulating MPI
Applications: the SMPI Approach, 2017), and MUST explains deadlocks of real ones (T. Hilbrich et
al., 2013).
"""

from __future__ import annotations

import gc
import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from greenlet import GreenletExit, getcurrent

from .cohort import comm_of, player
from .failure import DEAD, Death, lose
from .group import Group
from .machine import INSTANT, Machine
from .rank import Option, Rank, VirtualError
from .story import story


class VirtualCluster:
    """So many ranks, in this process.

    Parameters
    ----------
    size : int
    machine : Machine
        What computing and messages cost; nothing, unless given.
    choose : function (options) -> index, optional
        Decides in place of the clock.
    vain_tests : int
        Where more than 0, a chooser also decides what ``Test`` and its like answer: so often may
        each request be said not to have completed yet, whether it has or not. Then a test waits for
        completion, unless nobody else can go on: a loop of tests ends. Enough for programs in which
        a second answer "not yet" does what the first has done: that test, do something, and wait.
    deaths : mapping of int to Death, optional
        Which ranks die, and when; with a chooser, after so many calls.
    cohorts : sequence of sequences of int
        Ranks that do the same, each cohort played as one: the program runs once for all of them,
        and what it returns counts for each.

    Raises
    ------
    ValueError
        If deaths are of other ranks, or at a time where a chooser decides; if a rank is in two
        cohorts, or there are cohorts where ranks die or a chooser decides.

    Attributes
    ----------
    casts : list of lists of int
        Every cohort, and every other rank by itself.
    events : int
        How often one of them was resumed.
    """

    def __init__(
        self,
        size: int,
        machine: Machine = INSTANT,
        choose: Callable[[Sequence[Option]], int] | None = None,
        vain_tests: int = 0,
        deaths: Mapping[int, Death] | None = None,
        cohorts: Sequence[Sequence[int]] = (),
    ) -> None:
        self.size, self.machine, self.choose = size, machine, choose
        self.vain_tests = vain_tests if choose else 0
        self.deaths = dict(deaths or {})
        for number, death in self.deaths.items():
            if number not in range(size):
                raise ValueError(f"rank {number} shall die; expected one of 0..{size - 1}")
            if choose and death.time < math.inf:
                raise ValueError(f"rank {number} shall die at a time, but a chooser decides")
        alone = set(range(size)).difference(*cohorts)
        self.casts = sorted([*map(list, filter(len, cohorts)), *([number] for number in alone)])
        if sorted(itertools.chain(*self.casts)) != [*range(size)]:
            raise ValueError(f"cohorts have ranks twice, or others than 0..{size - 1}")
        if cohorts and (choose or deaths):
            raise ValueError("ranks are played as one, but some die, or a chooser decides")

    def run(self, program: Callable[[Any], Any]) -> list[Any]:
        """Call ``program(comm)`` on every rank; return what each of them returned, or ``DEAD``.

        Raises
        ------
        VirtualError
            See there. An exception of a rank ends the run and is raised as it is.
        """
        results: list[Any] = [DEAD] * self.size
        self.events, self._plan = 0, list[tuple[float, int, Rank]]()
        self._tickets, self._choices = itertools.count(), itertools.count()
        self.groups: list[Group] = []
        self.over = False

        def body(numbers: list[int]) -> Callable[[], None]:
            def run() -> None:
                result, rank = program(comm_of(world, numbers)), self.ranks[numbers[0]]
                self.end_if_due(rank)
                if rank.died is None:
                    for number in numbers:
                        results[number] = result

            return run

        self._hub = getcurrent()
        played_by: dict[int, Rank] = {}
        for numbers in self.casts:
            rank = player(numbers, body(numbers), self.deaths.get(numbers[0], Death()))
            played_by |= dict.fromkeys(numbers, rank)
        self.ranks = [played_by[number] for number in range(self.size)]
        world = Group(self, range(self.size))
        for rank in self.ranks:
            self.wake(rank, 0.0)
        # There are no circles to collect; to look for them among so many objects takes most of the
        # time.
        gc.disable()
        try:
            while self._resume_next() or self._deliver_chosen():
                pass
            self._check_end()
        finally:
            gc.enable()
            self.over = True
            for rank in self.ranks:
                rank.checked = True
            for rank in self.ranks:
                with suppress(Exception):  # what one says that is being ended is not the reason
                    rank.body.throw()  # ends those that still wait
        return results

    def wake(self, rank: Rank, time: float) -> None:
        """Plan to resume a rank at a time, unless it is to be resumed earlier."""
        if rank.died is None and (rank.wakes_at is None or time < rank.wakes_at):
            rank.wakes_at = time
            heapq.heappush(self._plan, (time, next(self._tickets), rank))

    def sleep(self, rank: Rank, waits_for: Any) -> None:
        """Leave off, as the rank that runs, until somebody wakes it."""
        if self.over:
            raise GreenletExit
        rank.waits_for = waits_for
        if rank.checked and rank.death.time < math.inf:
            self.wake(rank, max(rank.clock, rank.death.time))
        self._hub.switch()
        rank.waits_for = None
        if rank.checked:
            self.end_if_due(rank)

    def enter(self, rank: Rank) -> None:
        """Count a call that the rank which runs makes, unless it dies before."""
        if self.over:
            raise GreenletExit
        if rank.checked:
            if rank.calls >= rank.death.calls:
                self._die(rank)
            self.end_if_due(rank)
        rank.calls += 1

    def end_if_due(self, rank: Rank) -> None:
        """Let the rank that runs die, if it should have by now."""
        if rank.died is None and rank.clock >= rank.death.time:
            self._die(rank)

    def _die(self, rank: Rank) -> None:
        died = min(rank.clock, rank.death.time)
        if self.choose is None:  # what comes before happens before
            self.wake(rank, died)
            self._hub.switch()
        rank.died = died
        for group in self.groups:
            if rank in group.members:
                lose(group, group.members.index(rank))
        self.wake_waiting(died)
        self._hub.switch()  # until the run's end, so that nothing that it would still do is done

    def wake_waiting(self, time: float) -> None:
        """Let all ranks that wait look whether something has failed."""
        for rank in self.ranks:
            if rank.waits_for is not None:
                self.wake(rank, max(rank.clock, time))

    def let_others_catch_up(self, rank: Rank) -> None:
        """Leave off until no other rank is behind this one's clock."""
        if self.choose is None:
            self.wake(rank, rank.clock)
            self.sleep(rank, None)

    def _resume_next(self) -> bool:
        while self._plan:
            time, _, rank = heapq.heappop(self._plan)
            if rank.wakes_at == time:  # else it has been woken earlier
                rank.wakes_at = None
                rank.clock = max(rank.clock, time)
                self.events += 1
                try:
                    rank.body.switch()
                except Exception as error:
                    error.add_note(f"on virtual rank {rank.number}")
                    raise
                return True
        return False

    def _deliver_chosen(self) -> bool:
        """Where all wait: let the chooser pick one of the ways in which a wait can end."""
        if self.choose is None:
            return False
        waiting = [rank for rank in self.ranks if hasattr(rank.waits_for, "ways")]
        ways = [(rank, way) for rank in waiting for way in rank.waits_for.ways()]
        if ways:
            options: list[Option] = [way.option for _, way in ways]
            if self.deaths:
                # After a death or a revocation others cannot be told what they could before: no
                # two choices can be exchanged, so that for ``explore`` none is like another.
                choice = next(self._choices)
                options = [(*option, choice) for option in options]
            rank, way = ways[self.choose(options)]
        else:
            ways = [
                (rank, rank.waits_for.otherwise) for rank in waiting if rank.waits_for.otherwise
            ]
            if not ways:
                return False
            rank, way = ways[0]
        rank.waits_for.chosen = way
        self.wake(rank, rank.clock)
        return True

    def _check_end(self) -> None:
        stuck = [rank for rank in dict.fromkeys(self.ranks) if not rank.has_ended]
        if stuck:
            raise VirtualError(story(self.ranks, stuck))
        left = [text for group in self.groups for text in group.left_over()]
        if left:
            raise VirtualError("left over at the end:\n  " + "\n  ".join(left))
