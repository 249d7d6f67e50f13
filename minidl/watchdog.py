"""Nobody hangs: a rank that makes no progress says where it is, and ends all."""

from __future__ import annotations

import faulthandler
import linecache
import re
import sys
import threading
import time
from collections.abc import Callable

from .parallel import patience
from .stopwatch import Stopwatch

LOOKS = 20  # within the time that is allowed
# Times the limit: who waits for another rank lets it speak first.
FOR_OTHERS = 3.0
MPI_CALL = re.compile(r"\.[A-Z]\w*\(")  # no other method here begins with a capital
DEFERENCE = 2.0  # seconds, in which a rank that speaks ends all others


class Watchdog:
    """Watches, from a thread of its own, whether a rank's stopwatch still moves.

    ::

        with Watchdog(stopwatch, rank, limit, end):
            train()

    Parameters
    ----------
    stopwatch : Stopwatch
        Is switched by whatever the rank does.
    rank : int
    limit : float
        Seconds that one thing may take; waiting for another rank, three times as long. A server
        that has nothing to do, and a model that measures its data, may take any time.
    end : function ()
        Ends all ranks.
    """

    def __init__(
        self, stopwatch: Stopwatch, rank: int, limit: float, end: Callable[[], None]
    ) -> None:
        self.stopwatch, self.rank, self.limit, self.end = stopwatch, rank, limit, end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self.limit / LOOKS):
            waits = waits_for_others()  # before the rest: what comes in between may end the waiting
            activity, peer, seconds = self.stopwatch.current()
            # A server may have nothing to do for long; what measuring takes only the model knows.
            if activity == "measure" or (activity == "idle" and waits):
                continue
            if seconds > self.limit * (FOR_OTHERS if waits else 1.0):
                if self.rank > 0:  # where several are stuck alike, the first speaks, and ends all
                    time.sleep(min(DEFERENCE, self.limit / 2))
                whom = f" for rank {peer}" if activity == "wait" and peer >= 0 else ""
                print(
                    f"minidl: rank {self.rank} has made no progress for {seconds:.0f} s (in "
                    f"{activity!r}{whom}, iteration {self.stopwatch.iteration}); --watchdog allows "
                    f"{self.limit:g} s. Where its threads are:",
                    file=sys.stderr,
                )
                faulthandler.dump_traceback(file=sys.stderr)
                self.end()
                return


def waits_for_others() -> bool:
    """Whether the main thread stands in a call of MPI, or naps between two."""
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    path, line = frame.f_code.co_filename, frame.f_lineno
    return path == patience.__file__ or bool(MPI_CALL.search(linecache.getline(path, line)))
