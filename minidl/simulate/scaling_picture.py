"""Speed-up and efficiency over nodes as a picture: predicted lines, published marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..runs.plot import COLOURS
from .published import Published
from .scaling import Point


def draw(points: Sequence[Point], published: Sequence[Published], title: str) -> Figure:
    """Draw predictions as lines, what was published as marks: filled only where it is certain.

    On the left times one node; on the right the same over the nodes, where strategies differ more
    visibly.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    figure.suptitle(title)
    speedup, efficiency = figure.subplots(1, 2)
    names = list(dict.fromkeys(str(point.way) for point in points))
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        mine = [point for point in points if str(point.way) == name]
        marks = [mark for mark in published if mark.way == name]
        for panel, share in ((speedup, False), (efficiency, True)):
            draw_strategy(panel, mine, marks, share, color=colour, label=name)
    nodes = sorted({point.nodes for point in points})
    speedup.plot(nodes, nodes, color="0.6", linestyle="--", linewidth=1, label="ideal")
    efficiency.axhline(1, color="0.6", linestyle="--", linewidth=1)
    speedup.set(ylabel="samples a second, times one node", yscale="log")
    speedup.yaxis.set_major_formatter("{x:,g}")
    efficiency.set(ylabel="the same, over the nodes")
    efficiency.set_ylim(0, 1.1)
    for panel in (speedup, efficiency):
        panel.set(xscale="log", xlabel="nodes that compute")
        panel.set_xticks(nodes, [f"{number:,}" for number in nodes])
        panel.tick_params(axis="x", labelrotation=45 if len(nodes) > 6 else 0)
        panel.minorticks_off()
        panel.grid(color="0.9", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    speedup.legend(frameon=False, fontsize=9)
    return figure


def draw_strategy(
    panel: Axes, points: Sequence[Point], marks: Sequence[Published], share: bool, **style: Any
) -> None:
    """Draw one strategy's line and marks: times one node, or as a share of the nodes."""
    scale = [point.nodes if share else 1 for point in points]
    panel.plot(
        [point.nodes for point in points],
        [point.speedup / by for point, by in zip(points, scale, strict=True)],
        "o-", markersize=4, color=style["color"], label=f"{style['label']}, predicted",
    )  # fmt: skip
    for number, mark in enumerate(marks):
        by = mark.nodes if share else 1
        middle, spread = (mark.low + mark.high) / 2 / by, (mark.high - mark.low) / 2 / by
        panel.errorbar(
            mark.nodes, middle, spread or None, fmt="s", markersize=8, capsize=4,
            color=style["color"], markerfacecolor=style["color"] if mark.certain else "none",
            label=None if number else f"{style['label']}, published"
            + ("" if mark.certain else " (read off a curve)"),
        )  # fmt: skip
