"""A run's timeline: as a file for ui.perfetto.dev, and as a picture of a few iterations.

The file is in the Trace Event Format of Chrome: one thread a rank, one slice a span, and an arrow
from every gradient that a worker sent to the update that its server made of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .. import picture
from ..errors import UserError
from ..record import Record
from ..stopwatch import ACTIVITIES
from ..tables import virtually

SEND, UPDATE = ACTIVITIES.index("send"), ACTIVITIES.index("update")

# Colours that stay apart for the colour-blind. Source: M. Okabe and K. Ito, Color Universal Design.
COLOURS = {
    "compute": "#56B4E9",
    "send": "#0072B2",
    "wait": "#D55E00",
    "update": "#009E73",
    "idle": "#E4E4E4",
    "load": "#CC79A7",
    "validate": "#F0E442",
    "write": "#E69F00",
    "measure": "#999999",
}
ARROW = "#202020"
BAR = 0.74  # of a row's height
GAP = 0.5  # rows between groups
EDGE = 0.05  # of the picture: an iteration that begins so late in it is not marked


def write_trace(record: Record, path: Path) -> None:
    """Write every span of a run, and the gradients' ways, as trace events.

    Parameters
    ----------
    record : Record
        Some 150 bytes of the file a span.
    path : Path
        A file to open in ui.perfetto.dev.

    Raises
    ------
    UserError
        If the file cannot be written. What was there before is still there then.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)  # it may be a link, which is not followed
        with temporary.open("x") as file:
            before = '{"displayTimeUnit":"ms","traceEvents":[\n'
            for event in events(record):
                file.write(before + json.dumps(event, separators=(",", ":")))
                before = ",\n"
            file.write("\n]}\n")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write the timeline: {error.strerror}") from None


def events(record: Record) -> Iterator[dict[str, Any]]:
    """Yield trace events one by one; times are in microseconds."""
    name = "minidl" + (", virtual time" if record.virtual else "")
    yield {"ph": "M", "pid": 0, "name": "process_name", "args": {"name": name}}
    for rank, group in enumerate(record.groups):
        place = {"ph": "M", "pid": 0, "tid": rank}
        role = f"group {group}" if group >= 0 else "server"
        yield {**place, "name": "thread_name", "args": {"name": f"rank {rank}, {role}"}}
        yield {**place, "name": "thread_sort_index", "args": {"sort_index": rank}}
    for rank, spans in enumerate(record.spans):
        for number, layer, peer, iteration, start, end in spans.tolist():
            activity = ACTIVITIES[number]
            name = record.layers[layer] if layer >= 0 else ""
            yield {
                "ph": "X",
                "pid": 0,
                "tid": rank,
                "ts": round(1e6 * start, 3),
                "dur": round(1e6 * (end - start), 3),
                "name": f"{activity} {name}".rstrip(),
                "cat": activity,
                "args": {"layer": name, "peer": peer, "iteration": iteration},
            }
    for number, (sender, sent, server, updated) in enumerate(gradients(record)):
        arrow = {"pid": 0, "name": "gradient", "cat": "gradient", "id": number}
        ends = middle(record.spans[sender][sent]), middle(record.spans[server][updated])
        yield {**arrow, "ph": "s", "tid": sender, "ts": round(1e6 * ends[0], 3)}
        yield {**arrow, "ph": "f", "bp": "e", "tid": server, "ts": round(1e6 * ends[1], 3)}


def gradients(record: Record) -> Iterator[tuple[int, int, int, int]]:
    """Pair what workers sent with what servers made of it: (worker, span, server, span)."""
    for server, served in enumerate(record.spans):
        if record.groups[server] >= 0:
            continue
        begins = served["activity"] == UPDATE
        # An answer is sent amid an update, which goes on after it.
        begins[1:] &= (served["activity"] != SEND)[:-1]
        for worker, layer in np.unique(served[begins][["peer", "layer"]]).tolist():
            spans = record.spans[worker]
            sends = (spans["activity"] == SEND) & (spans["peer"] == server)
            sent = np.flatnonzero(sends & (spans["layer"] == layer)).tolist()
            updated = begins & (served["peer"] == worker) & (served["layer"] == layer)
            ways = zip(
                repeat(worker), sent, repeat(server), np.flatnonzero(updated).tolist(), strict=False
            )
            yield from ways


def middle(span: np.void) -> float:
    """A moment, in seconds, that is in this span and in no other."""
    return (span["start"] + span["end"]) / 2


def draw_timeline(record: Record, path: Path, iterations: int = 3) -> None:
    """Draw what every rank did in a few iterations.

    White is what is not timed.

    Parameters
    ----------
    record : Record
        Of a run with at least one iteration.
    path : Path
        A .png, .pdf or .svg file.
    iterations : int
        So many, from the second on, since the first is slower; less where there are less.

    Raises
    ------
    UserError
        If there is no iteration to draw, or the picture cannot be written.
    """
    picture.check_path(path, "--trace")
    begin, end = window(record, iterations)
    rows = place_rows(record.groups)
    figure = Figure(figsize=(12, 1.5 + 0.42 * (rows[-1] + 1)), layout="constrained")
    panel = figure.subplots()
    # Times in milliseconds since the window began; what is outside is not drawn.
    shown = [
        spans[(spans["end"] > begin) & (spans["start"] < end) & (spans["end"] > spans["start"])]
        for spans in record.spans
    ]
    for spans, row in zip(shown, rows, strict=True):
        draw_spans(panel, spans, row, begin)
    draw_iterations(panel, record, rows, begin, end)
    draw_gradients(panel, record, rows, begin, end)
    panel.set_xlim(0, 1e3 * (end - begin))
    panel.set_ylim(rows[-1] + 0.6, -0.6 - GAP)
    panel.set_yticks(rows, labels(record.groups))
    unit = virtually("milliseconds", record.virtual)
    panel.set_xlabel(f"{unit}, from {begin:.3g} s after the start")
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    used = set(np.concatenate(shown)["activity"].tolist())
    handles = [
        Patch(color=COLOURS[name], label=name)
        for number, name in enumerate(ACTIVITIES)
        if number in used
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    picture.save(figure, path)


def window(record: Record, iterations: int) -> tuple[float, float]:
    """Choose from when to when to draw, in seconds: so many iterations of the middling worker."""
    workers = [
        spans
        for spans, group in zip(record.spans, record.groups, strict=True)
        if group >= 0 and len(spans)
    ]
    if not workers:
        raise UserError("no iteration in the record of this run; nothing to draw")
    last = min(spans["iteration"][-1] for spans in workers)
    first = min(2, last)
    inside = [
        spans[(spans["iteration"] >= first) & (spans["iteration"] < first + iterations)]
        for spans in workers
    ]
    begin = min(spans["start"][0] for spans in inside)
    return begin, float(np.median([spans["end"][-1] for spans in inside]))


def place_rows(groups: Sequence[int]) -> np.ndarray:
    """Heights of the ranks' rows, top down, with gaps between groups; shape (ranks,)."""
    changes = np.diff(groups) != 0
    return np.arange(len(groups)) + GAP * np.concatenate([[0], np.cumsum(changes)])


def labels(groups: Sequence[int]) -> list[str]:
    """Name the rows."""
    workers = [group for group in groups if group >= 0]
    shared = 1 < len(set(workers)) < len(workers)
    roles = ["server, " if group < 0 else f"group {group}, " if shared else "" for group in groups]
    return [f"{role}rank {rank}" for rank, role in enumerate(roles)]


def draw_spans(panel: Axes, spans: np.ndarray, row: float, begin: float) -> None:
    """Draw the bars of one rank."""
    for number, name in enumerate(ACTIVITIES):
        chosen = spans[spans["activity"] == number]
        bars = 1e3 * np.stack([chosen["start"] - begin, chosen["end"] - chosen["start"]], axis=1)
        panel.broken_barh(bars.tolist(), (row - BAR / 2, BAR), color=COLOURS[name], linewidth=0)


def draw_iterations(
    panel: Axes, record: Record, rows: np.ndarray, begin: float, end: float
) -> None:
    """Mark where each group's iterations begin: a dashed line, and above it the number."""
    for group in set(record.groups) - {-1}:
        members = np.flatnonzero(np.array(record.groups) == group)
        starts: dict[int, float] = {}
        for member in members:
            spans = record.spans[member]
            numbers, first = np.unique(spans["iteration"], return_index=True)
            for number, start in zip(numbers.tolist(), spans["start"][first], strict=True):
                starts[number] = min(start, starts.get(number, np.inf))
        top, bottom = rows[members[0]] - 0.5, rows[members[-1]] + BAR / 2
        word = "" if group else "iteration "
        for number, start in starts.items():
            if begin <= start < end - EDGE * (end - begin):
                time = 1e3 * (start - begin)
                panel.vlines(time, top, bottom, colors=ARROW, linestyles=(0, (4, 3)), linewidth=0.9)
                panel.text(time, top, f" {word}{number}", fontsize=8, color="0.35", va="bottom")


def draw_gradients(panel: Axes, record: Record, rows: np.ndarray, begin: float, end: float) -> None:
    """Draw an arrow from every gradient sent to its update, where both can be seen."""
    ways = np.array(
        [
            (middle(record.spans[worker][sent]), rows[worker], start, rows[server])
            for worker, sent, server, updated in gradients(record)
            if (start := record.spans[server][updated]["start"]) < end
        ]
    ).reshape(-1, 4)
    left, top, right, bottom = ways[ways[:, 0] >= begin].T
    panel.quiver(
        1e3 * (left - begin), top + BAR / 2, 1e3 * (right - left), bottom - top - BAR,
        angles="xy", scale_units="xy", scale=1, units="dots", width=1.2, headwidth=5,
        headlength=6, color=ARROW, alpha=0.6,
    )  # fmt: skip
