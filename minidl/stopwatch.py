"""Where the time goes: what a rank did, from when to when, for which layer and with whom."""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

ACTIVITIES = (
    "compute", "send", "wait", "update", "idle", "load", "validate", "write", "measure",
)  # fmt: skip
SPAN = np.dtype(
    [
        ("activity", "u1"),  # place in ACTIVITIES
        ("layer", "i2"),  # number in forward order; -1: not about a layer
        ("peer", "i4"),  # rank that is sent to or waited for; -1: nobody, or all of the group
        ("iteration", "i4"),
        ("start", "f8"),  # seconds
        ("end", "f8"),
    ]
)
PACKED = struct.Struct("=Bhiidd")  # a SPAN; as a tuple of Python's it would take six times as much


class Stopwatch:
    """Keeps what is done inside ``with stopwatch("wait", layer=3, peer=5):`` blocks.

    Blocks may stand inside each other: while an inner one runs, the clock of the outer one stands
    still, so that every second belongs to one activity.

    Parameters
    ----------
    clock : function returning seconds
        Real time, unless a virtual one is passed in.
    capacity : int
        Spans that are kept, 27 bytes each; when they are used up only the sums go on.

    Attributes
    ----------
    seconds : dict of str to float
        Sums by activity.
    iteration : int
        Is noted with every span.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, capacity: int = 1_000_000
    ) -> None:
        self.clock, self.capacity = clock, capacity
        self.iteration = 0
        self.restart()

    def restart(self, seconds: float = 0.0) -> None:
        """Forget everything; so many seconds have passed."""
        self.zero = self.clock() - seconds
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._spans = bytearray()
        self._open: list[tuple[str, int, int]] = []
        self._since = seconds

    @contextmanager
    def __call__(self, activity: str, layer: int = -1, peer: int = -1) -> Iterator[None]:
        """Time a block."""
        self._switch()
        self._open.append((activity, layer, peer))
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def current(self) -> tuple[str, int, float]:
        """What is being done, with which rank (-1: none), and for how many seconds.

        The last since a block began or ended.
        """
        doing, _, peer = self._open[-1] if self._open else ("nothing that is timed", -1, -1)
        return doing, peer, self.now() - self._since

    def now(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.zero

    def spans(self) -> np.ndarray:
        """Everything that was done, in order, as an array of ``SPAN``."""
        return np.frombuffer(bytes(self._spans), SPAN)

    def _switch(self) -> None:
        now = self.now()
        if self._open:
            activity, layer, peer = self._open[-1]
            self.seconds[activity] += now - self._since
            if len(self._spans) < self.capacity * PACKED.size:
                number = ACTIVITIES.index(activity)
                self._spans += PACKED.pack(number, layer, peer, self.iteration, self._since, now)
        self._since = now
