"""``minidl diff``: what came out of comparing two runs, as lines, a table or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..errors import UserError
from ..tables import plain_table
from .diff import Difference, Parting, compare
from .past import PastRun, read_run

VERDICTS = {
    "bits": "equal to the bit",
    "rounding": "equal up to summation order",
    "different": "different",
}
UNEXPLAINED = (
    "Nothing in settings or logs explains it. Look for a mean of the ranks' means where ranks have "
    "different numbers of samples, a rank that reads other data, a layer that draws random numbers "
    "on every rank (dropout), or a program that was changed in between."
)


def print_diff(first: Path, second: Path, as_json: bool, console: Console) -> bool:
    """Compare two runs and say what came out; return whether they are equal.

    Raises
    ------
    UserError
        If one is no run with a checkpoint, or is unfinished and at another iteration.
    """
    a, b = read_run(first), read_run(second)
    for run, other in ((a, b), (b, a)):
        if not run.finished and run.iteration != other.iteration:
            raise UserError(
                f"{run.folder}: not finished; its checkpoint is of iteration {run.iteration}, that "
                f"of {other.folder} of {other.iteration}; finish it, or compare it with a run of "
                f"--iterations {run.iteration}"
            )
    difference = compare(a, b)
    if as_json:
        print(json.dumps(plain(_figures(difference)), indent=2))
    else:
        console.print(f"A is {first}, B is {second}: {VERDICTS[difference.verdict]}.")
        for line in (*_numbers(a, b, difference), *_reasons(a, difference)):
            console.print(line)
        console.print(_table(difference))
    return difference.verdict != "different"


def _numbers(a: PastRun, b: PastRun, difference: Difference) -> Iterator[str]:
    """What was measured, and the bound."""
    updates = f"{difference.updates} {'update' if difference.updates == 1 else 'updates'}"
    yield (
        f"Parameters: largest relative difference {difference.largest:.1e}; bound for {updates} "
        f"of {difference.samples} samples: {difference.bound:.1e}."
    )
    parting = difference.parting
    if parting is None:
        yield (
            "Losses agree to rounding in every update that both made: largest relative difference "
            f"{difference.loss_difference:.1e}."
        )
    else:
        x, y = parting.losses
        how = "part" if parting.sudden else "drift apart"
        yield f"Losses {how} at update {parting.update}: {x:.9g} and {y:.9g}. " + _meaning(parting)
    if a.batch != b.batch and not any(cause.certain for cause in difference.causes):
        yield f"{a.batch} and {b.batch} samples: as many in every update."


def _meaning(parting: Parting) -> str:
    """What the place tells: an update's loss is that of the parameters before it."""
    before = parting.update - 1
    if not before:
        return "No update was made yet: other initial weights or samples."
    agreed = f"Up to update {before} they agree to rounding"
    if not parting.sudden:
        return agreed + "."
    return f"{agreed}: update {before} made another step, or {before + 1} has other samples."


def _reasons(a: PastRun, difference: Difference) -> Iterator[str]:
    """Why they are different, if they are."""
    if difference.verdict != "different":
        return
    if difference.causes:
        yield "Why, the likely first:"
        for cause in difference.causes:
            yield f"- {cause.text}{'' if cause.certain else ' (may be why)'}"
    parting = difference.parting
    if any(cause.certain for cause in difference.causes):
        if difference.largest <= difference.bound and not parting:
            yield "They are so short, or so alike, that it does not show beyond rounding."
    elif parting and not parting.sudden:
        yield (
            "No update stands out; rounding that training amplifies looks like this (--algorithm "
            "im2col rounds the least). Runs of "
            f"--iterations {parting.update - 1} should be equal up to summation order."
        )
    elif not difference.causes:
        whole, before = (a.updates.get((n, 0)) for n in (1, parting.update - 1 if parting else 0))
        if whole and before and parting and before.samples < whole.samples:
            yield (
                f"Update {parting.update - 1} is an epoch's last, of {before.samples} samples "
                f"instead of {whole.samples}: do ranks with fewer of them weigh less?"
            )
        yield UNEXPLAINED


def _table(difference: Difference) -> Table:
    table = plain_table("layer", "equal bits", ">largest difference", ">relative to the norm")
    for name, layer in difference.layers.items():
        figures = (f"{value:.1e}" for value in (layer.largest, layer.relative))
        table.add_row(name, "yes" if layer.equal_bits else "no", *figures)
    return table


def _figures(difference: Difference) -> dict[str, Any]:
    return {
        **asdict(difference),
        "largest": difference.largest,
        "parting": difference.parting and difference.parting._asdict(),
        "causes": [cause._asdict() for cause in difference.causes],
        "layers": {name: layer._asdict() for name, layer in difference.layers.items()},
    }


def plain(value: Any) -> Any:
    """The same with null for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
