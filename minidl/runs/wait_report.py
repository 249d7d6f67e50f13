"""``minidl waits``: where every rank's time went, and whom it was waited for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..record import Record, load
from ..stopwatch import ACTIVITIES
from ..tables import plain_table, virtually
from .waits import Waits, find_waits

NOTICEABLE = 0.02  # of the time: less is not worth a change
COLUMNS = 8  # ranks side by side in a table of 80 characters

WORKING = {
    "compute": "computing",
    "send": "sending",
    "update": "updating",
    "load": "loading data",
    "validate": "validating",
    "write": "writing",
    "measure": "measuring the data",
    "other": "busy with what is not timed",
}


def print_waits(folder: Path, as_json: bool, console: Console) -> None:
    """Print who waited for whom in a run, and the verdict in one line.

    Parameters
    ----------
    folder : Path
        Of a finished run.
    as_json : bool
        Print the figures as JSON instead.
    console : Console
        Where the tables go.

    Raises
    ------
    UserError
        If the folder holds no record of a run.
    """
    record = load(folder)
    if as_json:
        print(json.dumps(figures(record, find_waits(record)), indent=2))
        return
    record, unit = in_readable_units(record)
    waits, whose = find_waits(record), virtually(unit, record.virtual).capitalize()
    console.print(f"What the ranks did, in % of their {virtually('time', record.virtual)}:\n")
    console.print(activity_table(record, unit))
    if waits.seconds.any():
        console.print(f"\n{whose} that a rank (row) waited because of another (column):\n")
        console.print(matrix_table(record, waits))
        console.print(f"\n{whose} of this waiting, by the layer that was waited for:\n")
        console.print(layer_table(record, waits))
    console.print()
    for rank, busy in busy_servers(record).items():
        console.print(f"server rank {rank} was busy {percent(busy)} of the time")
    console.print(verdict(record, waits))


def in_readable_units(record: Record) -> tuple[Record, str]:
    """Turn seconds into the largest unit of which the run lasted a tenth at least."""
    units, longest = {"seconds": 1e0, "milliseconds": 1e3}, durations(record).max()
    large = (unit for unit, number in units.items() if number * longest >= 0.1)
    unit = next(large, "microseconds")
    number = units.get(unit, 1e6)
    scaled = [spans.copy() for spans in record.spans]
    for spans in scaled:
        spans["start"] *= number
        spans["end"] *= number
    return replace(record, spans=scaled, began=number * record.began), unit


def durations(record: Record) -> np.ndarray:
    """Seconds of which there are spans, to each rank's last one; shape (ranks,)."""
    began = record.began
    return np.array([spans["end"][-1] - began if len(spans) else 0.0 for spans in record.spans])


def spent(record: Record) -> dict[str, np.ndarray]:
    """Seconds of each rank by activity, and those between spans as "other"; shapes (ranks,)."""
    sums = np.array(
        [
            np.bincount(spans["activity"], spans["end"] - spans["start"], len(ACTIVITIES))
            for spans in record.spans
        ]
    )
    other = np.maximum(0, durations(record) - sums.sum(axis=1))
    return {**dict(zip(ACTIVITIES, sums.T, strict=True)), "other": other}


def costs(record: Record, waits: Waits) -> np.ndarray:
    """Of the other workers' time, the share that they waited because of a rank; shape (ranks,)."""
    others = (np.array(record.groups) >= 0)[:, None] & ~np.eye(len(record.groups), dtype=bool)
    return share((waits.caused * others).sum(axis=0), durations(record) @ others)


def busy_servers(record: Record) -> dict[int, float]:
    """Of each server's time, the share that it made updates in."""
    shares = share(spent(record)["update"], durations(record))
    return {rank: shares[rank] for rank, group in enumerate(record.groups) if group < 0}


def verdict(record: Record, waits: Waits) -> str:
    """Say in a line which rank the others waited for most, and what it was doing, if they did."""
    cost = costs(record, waits)
    first, *rest = np.argsort(-cost, kind="stable").tolist()
    if cost[first] < NOTICEABLE:
        text = f"nobody was waited for noticeably: {percent(cost[first])} of the time"
    else:
        text = (
            f"rank {first} cost {percent(cost[first])}: the other ranks waited that share of their "
            f"time for it, while it was {WORKING[doing(waits, first)]}"
        )
        if rest and cost[rest[0]] >= NOTICEABLE:
            text += f"; next is rank {rest[0]} with {percent(cost[rest[0]])}"
    workers = np.array(record.groups) >= 0
    transit = float(share(waits.in_transit[workers].sum(), durations(record)[workers].sum()))
    if transit >= NOTICEABLE:
        text += f"; messages in transit cost {percent(transit)}"
    return text


def doing(waits: Waits, rank: int) -> str:
    """Name what a rank mostly did while others waited for it."""
    return (*ACTIVITIES, "other")[waits.doing[rank].argmax()]


def figures(record: Record, waits: Waits) -> dict[str, Any]:
    """Everything that the tables show, as plain values; seconds, and shares from 0 to 1."""
    cost, by_layer = costs(record, waits), waits.seconds.sum(axis=0)
    activities = {name: values.tolist() for name, values in spent(record).items()}
    return {
        "groups": record.groups,
        "virtual": record.virtual,
        "seconds": durations(record).tolist(),
        "activities": activities,
        "caused": waits.caused.tolist(),
        "in_transit": waits.in_transit.tolist(),
        "layers": {
            name: {"caused": column[:-1].tolist(), "in_transit": float(column[-1])}
            for name, column in zip([*record.layers, "loss"], by_layer.T, strict=True)
        },
        "busy": {str(rank): float(busy) for rank, busy in busy_servers(record).items()},
        "cost": cost.tolist(),
        "doing": [
            doing(waits, rank) if row.any() else None for rank, row in enumerate(waits.doing)
        ],
        "verdict": verdict(record, waits),
    }


def activity_table(record: Record, unit: str) -> Table:
    """Lay out what every rank did; what none did is left out."""
    shown = {name: values for name, values in spent(record).items() if values.round(6).any()}
    table = plain_table("rank", "role", f">{unit}", *(f">{name}" for name in shown))
    totals = durations(record)
    for rank, group in enumerate(record.groups):
        shares = [100 * share(values[rank], totals[rank]) for values in shown.values()]
        role = f"group {group}" if group >= 0 else "server"
        written = [f"{value:.1f}" if round(float(value), 1) else "" for value in shares]
        table.add_row(str(rank), role, f"{totals[rank]:.2f}", *written)
    return table


def matrix_table(record: Record, waits: Waits) -> Table:
    """Lay out who waited because of whom; of many ranks, those that caused most have a column."""
    caused = waits.caused
    shown = np.sort(np.argsort(-caused.sum(axis=0), kind="stable")[:COLUMNS])
    rest = [">rest"] if len(caused) > COLUMNS else []
    table = plain_table("rank", *(f">{rank}" for rank in shown), *rest, ">in transit")
    for rank, group in enumerate(record.groups):
        if group >= 0:
            values = [*caused[rank, shown]]
            values += [caused[rank].sum() - sum(values)] if rest else []
            table.add_row(str(rank), *cells(*values, waits.in_transit[rank]))
    return table


def layer_table(record: Record, waits: Waits) -> Table:
    """Lay out which layer was waited for, and because of whom most."""
    table = plain_table("layer", ">waited", ">for ranks", ">in transit", "most for")
    for name, column in zip([*record.layers, "loss"], waits.seconds.sum(axis=0).T, strict=True):
        waited, for_ranks, in_transit = cells(column.sum(), column[:-1].sum(), column[-1])
        most = f"rank {column[:-1].argmax()}" if for_ranks else ""
        table.add_row(name, waited, for_ranks, in_transit, most)
    return table


def cells(*seconds: float) -> list[str]:
    """Write times to a thousandth of their unit; less stays blank."""
    return [f"{value:.3f}" if round(value, 3) else "" for value in seconds]


def share(part: Any, whole: Any) -> np.ndarray:
    """Divide; the share in nothing is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) > 0)


def percent(share: float) -> str:
    """Write a share: ``21 %``, ``1.2 %``."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
