"""The ``minidl`` command, with one fault that comes upon one of its ranks.

::

    mpiexec -n 3 python victim.py '{"rank": 1, "phase": "forward", "kind": "kill", "call": 5}' \
        train hep --data events.h5

minidl has no hooks for this: the functions that a phase consists of are wrapped, on the rank that
is meant, and the fault strikes when the given call of any of them begins. In the phase "any" it
strikes so many milliseconds after training begins, whatever the rank does then: within a product of
matrices, a call of MPI, or a file. At that moment the time is written to ``fault.json``. Of the
kind "none" every rank writes to ``calls.RANK.json`` instead how many calls each of its phases had,
by which a moment can be chosen.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import minidl.parallel  # noqa: F401  (first, as minidl train does: it starts MPI)
from minidl import checkpoint, data, job, objective, optim, record, snapshot, stopwatch, train
from minidl.__main__ import main
from minidl.cli import training_command
from minidl.parallel import server
from minidl.parallel.patience import PatientComm

STRATEGIES = [module.Strategy for module in {*job.STRATEGIES.values()}]
# Of every phase the functions, as (their owner, their names).
PHASES: dict[str, list[tuple[Any, str]]] = {
    "start": [
        (train.Training, "__post_init__"),
        (data.Batches, "__init__"),
        (objective.Objective, "__init__"),
        *((strategy, "start") for strategy in STRATEGIES),
    ],
    "load": [(data.Dataset, "read")],
    "forward": [(objective.Objective, "forward")],
    "backward": [(objective.Objective, "backward")],
    "exchange": [
        *((strategy, "_gradient_ready") for strategy in STRATEGIES),
        *((strategy, "_parameters_needed") for strategy in STRATEGIES),
        (server, "_hear"),  # a server's wait for a gradient
        (PatientComm, "Isend"),  # its answer; a root's gradient; a line of the log
    ],
    "update": [(optim.Optimizer, "step")],
    "checkpoint": [
        (snapshot, "gather"),
        (checkpoint, "save"),  # and in it, on the rank that writes:
        (os, "fsync"),
        (os, "link"),
        (os, "replace"),
    ],
    "end": [(record, "gather"), (record.Record, "save")],
}
ROOM = 16384  # bytes that a file may have once the disk is full: a log, but no checkpoint
calls: Counter[str] = Counter()
watches: list[stopwatch.Stopwatch] = []


def arm(phase: str, fault: dict[str, Any]) -> None:
    """Wrap a phase's functions: count their calls, and have the fault strike."""
    for owner, name in PHASES[phase]:
        wrap(owner, name, phase, fault)


def wrap(owner: Any, name: str, phase: str, fault: dict[str, Any]) -> None:
    usual = getattr(owner, name)

    def watched(*arguments: Any, **named: Any) -> Any:
        calls[phase] += 1
        if calls[phase] == fault.get("call"):
            note()
            strike(fault["kind"], arguments[0] if arguments else None)
        return usual(*arguments, **named)

    setattr(owner, name, watched)


def arm_clock(fault: dict[str, Any]) -> None:
    """Have the fault strike at a time of its own, or without one count the milliseconds."""
    usual = train.Training.run

    def started(self: train.Training, *arguments: Any) -> Any:
        began = time.monotonic()
        if "call" in fault:
            clock = threading.Timer(fault["call"] / 1000, strike_at_any_moment, [fault["kind"]])
            clock.daemon = True
            clock.start()
        else:
            atexit.register(lambda: write_calls(int(1000 * (time.monotonic() - began))))
        return usual(self, *arguments)

    train.Training.run = started  # type: ignore[method-assign]


def strike_at_any_moment(kind: str) -> None:
    note()
    strike(kind, None)


def write_calls(milliseconds: int) -> None:
    calls["any"] = milliseconds
    Path(f"calls.{rank}.json").write_text(json.dumps(calls))


def note() -> None:
    """Write down the time, and the shared memory that nobody may be left to remove."""
    maps = Path("/proc/self/maps").read_text().split()
    seconds = watches[-1].now() if watches else 0.0  # as the log has them
    shared = sorted({word for word in maps if word.startswith("/dev/shm/")})
    text = json.dumps({"time": time.time(), "seconds": seconds, "shared": shared})
    Path("fault.json").write_text(text)


def strike(kind: str, owner: Any) -> None:
    """Do it. ``owner`` is the object whose method was called, if it was one's."""
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
    elif kind in ("raise", "loader"):
        raise RuntimeError("a fault on purpose")
    elif kind == "hang":
        while True:
            time.sleep(1000)
    elif kind == "disk":
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    else:
        layers = getattr(owner, "layers", [owner])  # an objective's, or an optimiser's one
        spoil(layers[-1].parameters, kind)


def spoil(parameters: np.ndarray, kind: str) -> None:
    """Make the largest number none any more, or flip a bit of it that no rounding hides."""
    largest = int(np.abs(parameters).argmax())
    if kind == "nan":
        parameters[largest] = np.nan
    elif kind == "flip":
        parameters.view(np.uint32)[largest] ^= 1 << 18


def remember_watches() -> None:
    usual = stopwatch.Stopwatch.restart

    def restart(self: stopwatch.Stopwatch, *arguments: Any) -> None:
        usual(self, *arguments)
        watches.append(self)

    stopwatch.Stopwatch.restart = restart  # type: ignore[method-assign]


if __name__ == "__main__":
    planned = json.loads(sys.argv[1])
    rank = train.MPI.COMM_WORLD.rank
    remember_watches()
    training_command.draw = lambda *_: None  # pictures take longer than the run, and are not meant
    if planned["kind"] == "none":
        for each in PHASES:
            arm(each, planned)
        arm_clock(planned)
    elif rank == planned["rank"]:
        arm_clock(planned) if planned["phase"] == "any" else arm(planned["phase"], planned)
    sys.argv[:2] = ["minidl"]
    main()
