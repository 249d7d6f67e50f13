"""A step taken apart, as a picture: the time of every layer, and its rate."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..runs.plot import COLOURS
from .layers import OtherFigures, StepParts
from .spread import Spread

WAYS = {"forward": COLOURS[0], "backward": COLOURS[1]}
OTHER = "0.55"
PALE = 0.4  # how opaque PyTorch's bars are
HEIGHT = 0.4  # of a bar, with one layer a unit


def draw(found: StepParts) -> Figure:
    """Draw milliseconds on the left and GFLOP/s on the right, the first layer on top."""
    labels = [f"{row.name}\n{row.algorithm}".rstrip() for row in found.layers]
    labels += [other.name for other in others(found)]
    figure = Figure(figsize=(10, 1.8 + 0.45 * len(labels)), layout="constrained")
    times, rates = figure.subplots(1, 2, sharey=True)
    draw_times(times, found)
    draw_rates(rates, found)
    times.set_yticks(range(len(labels)), labels)
    times.set_ylim(len(labels) - 0.5, -0.5)
    for panel in (times, rates):
        panel.set_xlim(left=0)
        panel.grid(axis="x", color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.tick_params(axis="y", length=0)
        panel.spines[["top", "right"]].set_visible(False)
    handles = {
        label: handle
        for panel in (times, rates)
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=6, frameon=False)
    return figure


def draw_times(panel: Axes, found: StepParts) -> None:
    """Backward's bar follows forward's; PyTorch's are below, paler."""
    above, below = (-HEIGHT / 2, HEIGHT / 2) if found.torch else (0, 0)
    for place, row in enumerate(found.layers):
        ours = theirs = 0.0
        for way, colour in WAYS.items():
            each = getattr(row, way)
            ours += bar(panel, place + above, ours, each.seconds, color=colour, label=way)
            if each.torch:
                look = {"color": colour, "alpha": PALE, "label": f"{way}, PyTorch"}
                theirs += bar(panel, place + below, theirs, each.torch, **look)
    for place, other in enumerate(others(found), start=len(found.layers)):
        bar(panel, place + above, 0, other.seconds, color=OTHER)
        if other.torch:
            bar(panel, place + below, 0, other.torch, color=OTHER, alpha=PALE)
    panel.set_xlabel("milliseconds")


def bar(panel: Axes, place: float, left: float, seconds: Spread, **look: Any) -> float:
    """Draw a bar of the median, and return its length in milliseconds."""
    length = 1e3 * seconds.median
    panel.barh(place, length, HEIGHT, left, **look)
    return length


def draw_rates(panel: Axes, found: StepParts) -> None:
    """Forward above backward; PyTorch's rates are ticks."""
    tick: dict[str, Any] = {"marker": "|", "markersize": 12, "markeredgewidth": 2, "color": "0.2"}
    for place, row in enumerate(found.layers):
        for shift, (way, colour) in zip((-HEIGHT / 2, HEIGHT / 2), WAYS.items(), strict=True):
            each = getattr(row, way)
            if not each.gflops:
                continue
            panel.barh(place + shift, each.gflops, HEIGHT, color=colour)
            if each.torch:
                rate = each.gflops * each.seconds.median / each.torch.median
                panel.plot(rate, place + shift, linestyle="none", label="PyTorch's rate", **tick)
    panel.axvline(found.sgemm.median, color="0.4", linestyle="--", linewidth=1.0, label="sgemm")
    panel.set_xlabel("GFLOP/s, counted by direct convolution")


def others(found: StepParts) -> list[OtherFigures]:
    """Whatever is no layer."""
    return [*found.others, *([found.loader] if found.loader else [])]
