"""The process of one engine: ``python -m minidl.bench.worker``, as ``turns.py`` starts it.

Reads the engine from standard input, then takes a turn for every line of it, and answers with a
line of JSON.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
import time
from pathlib import Path

from ..errors import UserError
from .turns import Answer, UnavailableError


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends this one
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    engine = pickle.load(requests)  # a function of this package, from the process that started us
    turn = None
    for _ in requests:
        try:
            if turn is None:  # what a turn was made from need not stay in memory
                turn, engine = engine(), None
            start = time.perf_counter()
            answer = turn()
            seconds = time.perf_counter() - start
            said: Answer = {"seconds": seconds, "peak": peak_bytes(), **answer}
        except UserError as error:
            said = {"mistake": str(error)}
        except UnavailableError as error:
            said = {"left out": str(error)}
        answers.write(json.dumps(said, default=float).encode() + b"\n")
        answers.flush()


def peak_bytes() -> int:
    """Return the largest resident set that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, ``getrusage`` would count the process that started this one
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
