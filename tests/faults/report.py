"""The matrix as a table: a row a cell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from trials import EVERY, ITERATIONS, LAYOUTS, WATCHDOG, Cell, Outcome

HEAD = (
    "strategy", "fault", "rank", "phase", "trials", "noticed by", "message",
    "seconds, median (worst)", "status", "the run", "iterations lost, median (worst)", "resumed",
    "equal",
)  # fmt: skip
FAULTS = {
    "kill": "SIGKILL.",
    "raise": "an exception that nobody catches.",
    "hang": f"it waits for ever; the watchdog waits {WATCHDOG} s.",
    "sigterm": "SIGTERM, as batch schedulers send it. Only the first rank listens.",
    "loader": "an exception in the thread that reads the data.",
    "nan": "a parameter is not a number any more.",
    "flip": "one bit of one parameter flips.",
    "disk": "the disk is full: files can become no longer.",
}
COLUMNS = (
    "- *phase*: one of its functions begins as the fault strikes; *any*: so many milliseconds "
    "after training begins, within whatever the rank does then.",
    "- *seconds*: from the fault to the end of mpiexec.",
    "- *iterations lost*: told of by the log, and made again by who goes on. A checkpoint is "
    f"written every {EVERY} iterations; with several groups, those of all.",
    "- *resumed*: of the runs that had a checkpoint and were not at their end.",
    "- *equal*: of the runs that had a checkpoint, those that ended as without the fault. sync: "
    "with the same bits; async and hybrid: with those that their own record of updates leads to.",
    "- *(others: 2)*: two trials were otherwise than what most have been.",
)
SURVIVAL = ("pause in s, median (worst)",)
PAUSE = (
    "- *pause*: from the death to the first iteration after it that the log has of those who are "
    "left, by the clocks of two ranks, which were started together to a tenth of a second."
)


@dataclass
class Trial:
    """A cell's trial, and the promises that it broke."""

    cell: Cell
    seed: list[int]
    outcome: Outcome
    broken: list[str]


def report(trials: list[Trial], ulfm: bool) -> str:
    """Write the whole report, in Markdown."""
    bad = [trial for trial in trials if trial.broken]
    lines = [
        f"# The matrix of faults{', outlived' if ulfm else ''}",
        "",
        f"{len(trials):,} trials, {len(bad)} of them not as promised. In each, one fault comes "
        "upon one rank at a random moment of a phase. A run that is ended by it goes on as by "
        "`minidl train --resume`, and what it ends with is compared.",
        "",
        f"Made with {mpi()} on {os.cpu_count()} cores, which "
        "several trials share: seconds are those of a busy machine.",
        "",
        *COLUMNS,
        *([PAUSE] if ulfm else []),
        "",
        "## The faults",
        "",
        *(f"- **{kind}**: {FAULTS[kind]}" for kind in by(trials, lambda cell: cell.kind)),
        "",
        "## Every fault in every strategy",
        "",
        *table(by(trials, lambda cell: Cell(cell.strategy, cell.kind, "all", "all")), ulfm),
        "",
        "## Every rank and phase",
        "",
        *table(by(trials, lambda cell: cell), ulfm),
    ]
    if bad:
        lines += ["", "## Not as promised", ""]
    for trial in bad:
        where = f"{trial.cell}, seed {trial.seed}, at call {trial.outcome.call} of the phase"
        lines.append(f"- {where}: {'; '.join(trial.broken)}")
    return "\n".join(lines) + "\n"


def mpi() -> str:
    """Name the MPI library, which is not to be started in a process that starts mpiexec."""
    ask = (
        "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
        "print(MPI.Get_library_version())"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    first, *_ = done.stdout.splitlines()
    return " ".join(first.split(",")[0].replace("Version:", "").split())


def by(trials: list[Trial], key: Callable[[Cell], Any]) -> dict[Any, list[Trial]]:
    """Sort trials by something that their cells have."""
    found: dict[Any, list[Trial]] = {}
    for trial in trials:
        found.setdefault(key(trial.cell), []).append(trial)
    return found


def table(trials: dict[Cell, list[Trial]], ulfm: bool) -> Iterator[str]:
    """Yield a row a cell."""
    head = (*HEAD, *(SURVIVAL if ulfm else ()))
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for cell, group in trials.items():
        yield f"| {' | '.join(row(cell, group, ulfm))} |"


def row(cell: Cell, trials: list[Trial], ulfm: bool) -> Iterator[str]:
    """Yield what the table says of a cell."""
    outcomes = [trial.outcome for trial in trials]
    resumable = [outcome.resumed for outcome in outcomes if 0 <= outcome.saved < ITERATIONS]
    compared = [outcome.equal for outcome in outcomes if outcome.equal is not None]
    yield from (cell.strategy, cell.kind, cell.role, cell.phase, str(len(outcomes)))
    yield usual(noticed_by(trial) for trial in trials)
    yield usual(general(outcome.said[0]) if outcome.said else "" for outcome in outcomes)
    yield spread([outcome.seconds for outcome in outcomes], ".1f")
    yield usual(str(outcome.status) for outcome in outcomes)
    yield usual("finished" if outcome.finished else "ended" for outcome in outcomes)
    yield spread([outcome.lost for outcome in outcomes], ".0f")
    yield f"{resumable.count(0)} of {len(resumable)}"
    yield f"{sum(compared)} of {len(compared)}"
    if ulfm:
        yield spread([outcome.paused for outcome in outcomes if outcome.paused is not None], ".2f")


def noticed_by(trial: Trial) -> str:
    """Who: those that went on without the dead, or who spoke first of an end."""
    if trial.outcome.paused is not None:
        return "the others"
    rank = LAYOUTS[trial.cell.strategy].roles[trial.cell.role]
    return "itself" if trial.outcome.noticed == f"rank {rank}" else trial.outcome.noticed


def spread(values: list[float], form: str) -> str:
    return f"{median(values):{form}} ({max(values):{form}})" if values else "-"


def usual(words: Iterable[str]) -> str:
    """The most frequent, and how often it was another."""
    counts = Counter(words)
    ((word, times),) = counts.most_common(1)
    others = sum(counts.values()) - times
    return f"{word or '-'}{f' (others: {others})' if others else ''}"


def general(message: str) -> str:
    """A message without the numbers that differ from trial to trial, and not too long."""
    text = re.sub(r"(?<!\.h)\d+(\.\d+)?", "N", message.removeprefix("minidl: ")).replace("|", "/")
    return text if len(text) <= 100 else f"{text[:97]}..."
