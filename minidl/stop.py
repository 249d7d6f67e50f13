"""A run that is asked to end: by Ctrl-C, or by a batch scheduler's SIGTERM."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

USUAL: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


@dataclass
class Stop:
    """Whether a rank was asked to end the run, and whether it listens to that."""

    asked: bool = False
    listening: bool = False

    def listen(self) -> None:
        """Have a signal end the run at a checkpoint, and a second one at once.

        Ranks but the first leave both to it; one that becomes the first listens from then on.
        """
        if self.listening:
            return
        self.listening = True
        for number in USUAL:
            ignored = signal.getsignal(number) == signal.SIG_IGN  # as nohup has it, for all
            if not ignored or MPI.COMM_WORLD.rank > 0:
                signal.signal(number, self._ask)

    def _ask(self, number: int, *_: object) -> None:
        self.asked = True
        signal.signal(number, USUAL[number])
