"""What is compared takes turns: one engine, the next, the first again.

So what disturbs the machine disturbs all of them, and each turn gives one ratio. Each engine lives
in a process of its own, which holds nothing of the others: its memory is its own too.

An engine is a function that gets ready and returns another one, which is called once a turn.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ..errors import UserError
from .spread import Spread

Answer = dict[str, Any]
Turn = Callable[[], Answer]
Engine = Callable[[], Turn]  # that can be pickled


class UnavailableError(Exception):
    """An engine cannot run here. The message is one line that says why."""


@dataclass
class Turns:
    """What the engines answered in every turn but the first, in which they allocate.

    Every answer has ``seconds``, the turn's time, and ``peak``, the bytes of the largest resident
    set that the process has had, its libraries included.
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # why, by engine

    def spread(self, name: str, part: str = "seconds") -> Spread:
        """Summarise one part of an engine's answers."""
        return Spread.of(answer[part] for answer in self.answers[name])

    def ratio(self, name: str, other: str, part: str = "seconds") -> Spread:
        """Summarise one engine's part over another's, turn by turn."""
        pairs = zip(self.answers[name], self.answers[other], strict=True)
        return Spread.of(mine[part] / theirs[part] for mine, theirs in pairs)

    def fastest(self, names: Iterable[str]) -> str:
        """Name the engine of the smallest median, of those that were not left out."""
        there = [name for name in names if name in self.answers]
        return min(there, key=lambda name: self.spread(name).median)


def take_turns(engines: Mapping[str, Engine], repetitions: int) -> Turns:
    """Let every engine answer in turn, so many times after a first turn.

    Raises
    ------
    UserError
        If an engine raises one, or its process ends.
    """
    command = [sys.executable, "-P", "-m", "minidl.bench.worker"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    turns = Turns()
    with ExitStack() as stack:
        processes = {}
        for name, engine in engines.items():
            processes[name] = process = stack.enter_context(
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            ask(name, process, pickle.dumps(engine))
        for number in range(1 + repetitions):
            for name in [name for name in engines if name not in turns.left_out]:
                ask(name, processes[name], b"\n")
                answer = answer_of(name, processes[name])
                if "left out" in answer:
                    turns.left_out[name] = answer["left out"]
                elif number:
                    turns.answers.setdefault(name, []).append(answer)
    return turns


def ask(name: str, process: subprocess.Popen, request: bytes) -> None:
    """Write to a process."""
    assert process.stdin is not None
    try:
        process.stdin.write(request)
        process.stdin.flush()
    except BrokenPipeError:
        raise ended(name, process) from None


def answer_of(name: str, process: subprocess.Popen) -> Answer:
    """Wait for an answer; raise it if it is the user's error."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ended(name, process)
    answer: Answer = json.loads(line)
    if "mistake" in answer:
        raise UserError(answer["mistake"])
    return answer


def ended(name: str, process: subprocess.Popen) -> UserError:
    """Say that a process is no more."""
    reason = "; was there enough memory?" if process.wait() < 0 else ""
    return UserError(f"the process of {name} ended with status {process.returncode}{reason}")
