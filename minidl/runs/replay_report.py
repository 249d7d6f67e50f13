"""``minidl replay``: what came out of making a run's updates again, as lines, a table or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..record import load
from ..tables import plain_table
from ..threads import use_threads
from .diff_report import plain
from .past import PastRun, read_run
from .replay import LossDifference, Replay, replay


def print_replay(folder: Path, as_json: bool, console: Console) -> bool:
    """Replay a run and say what came out; return whether it is what its record says.

    Raises
    ------
    UserError
        If it is not the folder of a finished run, or cannot be replayed.
    """
    use_threads(1)
    recorded, run, start = load(folder), read_run(folder), time.perf_counter()
    with console.status("replaying") as status:
        result = replay(
            run,
            recorded,
            lambda done, of: status.update(f"replaying: gradient {done} of {of}"),
        )
    if as_json:
        print(json.dumps(plain(_figures(result)), indent=2))
        return result.equal
    for line in _lines(run, result, time.perf_counter() - start):
        console.print(line)
    if result.layers:
        console.print(_table(result))
    return result.equal


def _lines(run: PastRun, result: Replay, seconds: float) -> Iterator[str]:
    if result.contradiction:
        yield f"{run.folder}: the record cannot be true: {result.contradiction}."
        return
    updates = next(iter(result.layers.values())).updates
    groups = "1 group" if result.groups == 1 else f"{result.groups} groups"
    made = (
        f"{updates} updates of {len(result.layers)} layers by {groups} replayed in {seconds:.1f} s"
    )
    if result.verdict == "bits":
        yield f"{run.folder}: equal to the bit: {made}."
    elif result.verdict == "rounding":
        yield (
            f"{run.folder}: equal up to summation order inside the groups: {made}. Largest "
            f"relative difference of a layer: {result.largest:.1e}; bound: {result.bound:.1e}."
        )
    else:
        yield f"{run.folder}: different: {made}, and they do not lead to its checkpoint."
        yield _first_difference(result.first)
        trained = run.start.get("versions", {})
        yield (
            "Bits also depend on the processor and on NumPy's BLAS. The run was trained with "
            + ", ".join(f"{name} {version}" for name, version in trained.items())
            + "."
        )
    if run.gathers_statistics:
        yield "Parameters were compared; what layers gather without a gradient was not."


def _first_difference(first: LossDifference | None) -> str:
    """Where to look."""
    if first is None:
        return "All losses agree: it is only the last updates that differ, or the checkpoint."
    place = (
        f"First difference: the loss of group {first.group} in iteration {first.iteration} is "
        f"{first.logged!r} in the log and {first.replayed!r} replayed. "
    )
    if first.iteration == 1:
        return place + "No update was made before it: other samples or initial weights."
    return place + "What led to it agrees: other samples, or an update that it reads."


def _table(result: Replay) -> Table:
    table = plain_table(
        "layer", ">updates", ">stalest", "equal bits", ">largest difference", ">relative"
    )
    for name, (updates, stalest, difference) in result.layers.items():
        same = "yes" if difference.equal_bits else "no"
        figures = (f"{value:.1e}" for value in (difference.largest, difference.relative))
        table.add_row(name, str(updates), str(stalest), same, *figures)
    return table


def _figures(result: Replay) -> dict[str, Any]:
    return {
        **asdict(result),
        "first": result.first and result.first._asdict(),
        "layers": {
            name: {
                "updates": layer.updates,
                "stalest": layer.stalest,
                **layer.difference._asdict(),
            }
            for name, layer in result.layers.items()
        },
    }
