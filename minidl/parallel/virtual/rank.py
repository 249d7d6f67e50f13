"""One rank of a virtual cluster: its clock, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

from greenlet import greenlet

from .failure import Death

# Who receives, from whom, with which tag; or: who asks, places of the requests that complete, in
# which call. (3, (), "Test"): the request that rank 3 tests has not completed yet. (3, (),
# "failure"): rank 3 is told of a death. With deaths there is a fourth: how many were chosen before.
Option = tuple[Any, ...]


class VirtualError(RuntimeError):
    """A program has done what MPI forbids, or waits for what never comes."""


class Rank:
    """One rank: its clock, and what it waits for.

    Attributes
    ----------
    numbers : sequence of int
        Of all that it plays: only its own, but for a ``Cohort``.
    sends_until, receives_until : float
        When its last message has left, and when the last long one for it has come in.
    waits_for : object with ``told() -> str`` and ``for_whom() -> ranks``, or None
    calls : int
        How many it has made.
    checked : bool
        Whether its calls are looked at: it will die, or all is over.
    died : float or None
        When it did.
    """

    def __init__(self, number: int, body: Callable[[], None], death: Death) -> None:
        self.number, self.clock = number, 0.0
        self.numbers: Sequence[int] = (number,)
        self.sends_until = self.receives_until = 0.0
        self.waits_for: Any = None
        self.wakes_at: float | None = None
        self.calls, self.death = 0, death
        self.checked = death != Death()
        self.died: float | None = None
        self.body = greenlet(body)
        self.body.gr_context = copy_context()  # np.errstate, for one, is as around the run

    @property
    def has_ended(self) -> bool:
        """Whether it does nothing any more."""
        return self.body.dead or self.died is not None
