"""Where the time goes: seconds, added up by what they were spent on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the seconds spent inside ``with stopwatch("wait"):`` blocks, by their names.

    Parameters
    ----------
    clock : function returning seconds
        Real time, unless a virtual one is passed in.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, activity: str) -> Iterator[None]:
        """Time a block."""
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[activity] += self.clock() - start
