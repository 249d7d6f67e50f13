"""Loss against virtual time, of each number of groups at its best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..runs.plot import COLOURS, Curve, set_scale
from .verdict import NEVER, Choice, best_of

POINTS = 400  # of a line
HIGHEST = 1.3  # times the loss at the start: what is shown


def draw(choices: Sequence[Choice], target: float, title: str) -> Figure:
    """Draw the median over seeds as a line, their range as a band, and when it reaches the target.

    Of several batches, that which reaches it first.
    """
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    panel = figure.subplots()
    panel.set_title(title, fontsize=10, loc="left")
    numbers = sorted({choice.groups for choice in choices})
    drawn: list[np.ndarray] = []
    for groups, colour in zip(numbers, COLOURS * len(numbers), strict=False):
        choice = best_of(choice for choice in choices if choice.groups == groups)
        seconds, losses = on_one_clock(choice.curves)
        middle = np.median(losses, axis=0)
        panel.plot(seconds, middle, color=colour, linewidth=1.8, label=label_of(choice))
        band = losses.min(axis=0), losses.max(axis=0)
        if len(losses) > 1:
            panel.fill_between(seconds, *band, color=colour, alpha=0.15, linewidth=0)
        reached = choice.seconds.median
        if reached != NEVER:
            panel.plot(reached, target, "o", color=colour, markeredgecolor="white", zorder=5)
        drawn += band
    panel.axhline(target, color="0.4", linestyle="--", linewidth=1)
    panel.annotate(
        f"target: {target:.4g}", (1, target), xycoords=("axes fraction", "data"),
        xytext=(-2, 4), textcoords="offset points", ha="right", color="0.4", fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )  # fmt: skip
    begin = max(losses[0] for losses in drawn)
    # Jumps that go higher are cut off, so that the rest can be read.
    set_scale(panel, np.minimum(np.concatenate([*drawn, [target]]), HIGHEST * begin))
    panel.set(xlabel="virtual seconds", ylabel="training loss, smoothed")
    panel.set_xlim(left=0)
    panel.grid(which="both", color="0.9", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def on_one_clock(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """The smoothed losses of all curves at the same times.

    Shapes: (points,) and (curves, points). Times are those at which all have whole means.
    """
    first = max(curve.seconds[curve.window - 1] for curve in curves)
    seconds = np.linspace(first, min(curve.seconds[-1] for curve in curves), POINTS)
    return seconds, np.array([np.interp(seconds, curve.seconds, curve.mean) for curve in curves])


def label_of(choice: Choice) -> str:
    """What a line is."""
    groups = "sync" if choice.groups == 1 else f"{choice.groups} groups"
    return f"{groups}: momentum {choice.momentum:g}, learning rate {choice.learning_rate:g}"
