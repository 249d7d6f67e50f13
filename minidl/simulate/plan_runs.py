"""All runs of a plan, some at a time, each process with one after the other."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from .plan import Case, Plan


class Told(NamedTuple):
    """How a run is going: a share of it is made, and this was the last loss."""

    case: Case
    share: float
    loss: float
    done: bool  # and its curve written


def make_runs(
    plan: Plan, folder: Path, cases: Sequence[Case], processes: int, tell: Callable[[Told], None]
) -> None:
    """Make these runs, in so many processes; ``tell(told)`` as each goes on, and is done.

    Raises
    ------
    UserError
        If one of them raises one, or a process ends.
    """
    waiting = iter(cases)
    asked = json.dumps({"plan": plan.to_json(), "folder": str(folder)})
    with ExitStack() as stack, selectors.DefaultSelector() as ready:
        for _ in range(min(processes, len(cases))):
            process = stack.enter_context(start())
            stack.callback(process.kill)
            ask(process, asked)
            ask_next(process, waiting, ready)
        while ready.get_map():
            for key, _ in ready.select():
                process, case = key.data
                answer = answer_of(process)
                tell(Told(case, **answer))
                if answer["done"]:
                    ready.unregister(key.fileobj)
                    ask_next(process, waiting, ready)


def start() -> subprocess.Popen:
    """Start a process that learns."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "minidl.simulate.plan_worker"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # no answer is read before it is asked whether there is one
    )


def ask_next(
    process: subprocess.Popen, waiting: Iterator[Case], ready: selectors.BaseSelector
) -> None:
    """Give a process the next case, if there is one, and look for its answers."""
    case = next(waiting, None)
    if case is not None:
        ask(process, json.dumps(case))
        assert process.stdout is not None
        ready.register(process.stdout, selectors.EVENT_READ, (process, case))


def ask(process: subprocess.Popen, request: str) -> None:
    """Write a line to a process."""
    assert process.stdin is not None
    try:
        process.stdin.write(request.encode() + b"\n")
    except BrokenPipeError:
        raise ended(process) from None


def answer_of(process: subprocess.Popen) -> dict[str, Any]:
    """Read an answer; raise it if it is the user's error."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ended(process)
    answer: dict[str, Any] = json.loads(line)
    if "mistake" in answer:
        raise UserError(answer["mistake"])
    return answer


def ended(process: subprocess.Popen) -> UserError:
    """Say that a process is no more."""
    reason = "; was there enough memory?" if process.wait() < 0 else ""
    return UserError(f"a process that learns ended with status {process.returncode}{reason}")
