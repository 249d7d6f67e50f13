"""The matrix as a table: a row a cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from trials import ITERATIONS, Cell, Outcome

HEAD = (
    "strategy", "fault", "rank", "phase", "trials", "noticed by", "message",
    "seconds, median (worst)", "status", "the run", "iterations lost, median (worst)", "resumed",
    "equal",
)  # fmt: skip
SURVIVAL = ("pause in s, median (worst)",)


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
    head = (*HEAD, *(SURVIVAL if ulfm else ()))
    lines = [
        "# The matrix of faults",
        "",
        f"{len(trials)} trials, {len(bad)} of them not as promised.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    cells = list(dict.fromkeys(trial.cell for trial in trials))
    by_cell = sorted(trials, key=lambda trial: cells.index(trial.cell))
    for cell, group in groupby(by_cell, lambda trial: trial.cell):
        values = row(cell, [trial.outcome for trial in group], ulfm)
        lines.append(f"| {' | '.join(values)} |")
    if bad:
        lines += ["", "## Not as promised", ""]
    for trial in bad:
        where = f"{trial.cell}, seed {trial.seed}, at call {trial.outcome.call} of the phase"
        lines.append(f"- {where}: {'; '.join(trial.broken)}")
    return "\n".join(lines) + "\n"


def row(cell: Cell, outcomes: list[Outcome], ulfm: bool) -> Iterator[str]:
    """Yield what the table says of a cell."""
    resumable = [outcome.resumed for outcome in outcomes if 0 <= outcome.saved < ITERATIONS]
    compared = [outcome.equal for outcome in outcomes if outcome.equal is not None]
    yield from (cell.strategy, cell.kind, cell.role, cell.phase, str(len(outcomes)))
    yield usual(noticed_by(outcome) for outcome in outcomes)
    yield usual(general(outcome.said[0]) if outcome.said else "" for outcome in outcomes)
    yield spread([outcome.seconds for outcome in outcomes], ".1f")
    yield usual(str(outcome.status) for outcome in outcomes)
    yield usual("finished" if outcome.finished else "ended" for outcome in outcomes)
    yield spread([outcome.lost for outcome in outcomes], ".0f")
    yield f"{resumable.count(0)} of {len(resumable)}"
    yield f"{sum(compared)} of {len(compared)}"
    if ulfm:
        yield spread([outcome.paused for outcome in outcomes if outcome.paused is not None], ".2f")


def noticed_by(outcome: Outcome) -> str:
    """Who: those that went on without the dead, or who spoke first of an end."""
    return outcome.noticed if outcome.paused is None else "the others"


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
    text = re.sub(r"\d+(\.\d+)?", "N", message.removeprefix("minidl: ")).replace("|", "/")
    return text if len(text) <= 100 else f"{text[:97]}..."
