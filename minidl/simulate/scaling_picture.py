"""Speed-up over nodes as a picture: predicted lines, published marks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ..runs.plot import COLOURS
from .published import Published
from .scaling import Point


def draw(points: Sequence[Point], published: Sequence[Published], title: str) -> Figure:
    """Draw predictions as lines, what was published as marks: filled only where it is certain."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    panel = figure.subplots()
    names = list(dict.fromkeys(str(point.way) for point in points))
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        mine = [point for point in points if str(point.way) == name]
        panel.plot(
            [point.nodes for point in mine],
            [point.speedup for point in mine],
            "o-", color=colour, markersize=4, label=f"{name}, predicted",
        )  # fmt: skip
        for number, mark in enumerate(mark for mark in published if mark.way == name):
            middle, spread = (mark.low + mark.high) / 2, (mark.high - mark.low) / 2
            panel.errorbar(
                mark.nodes, middle, spread or None, color=colour, fmt="s", markersize=9, capsize=4,
                markerfacecolor=colour if mark.certain else "none",
                label=None if number else f"{name}, published",
            )  # fmt: skip
    ends = [min(point.nodes for point in points), max(point.nodes for point in points)]
    panel.plot(ends, ends, color="0.6", linestyle="--", linewidth=1, label="ideal")
    panel.set(xscale="log", yscale="log", xlabel="nodes that compute", title=title)
    panel.set_ylabel("samples a second, times one node")
    ticks = sorted({point.nodes for point in points})
    panel.set_xticks(ticks, [f"{nodes:,}" for nodes in ticks])
    panel.minorticks_off()
    panel.yaxis.set_major_formatter("{x:,g}")
    panel.grid(color="0.9", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=9)
    return figure
