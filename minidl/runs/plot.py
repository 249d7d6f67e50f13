"""Loss curves of runs in one picture: over the samples seen, and over the time it took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import picture
from ..errors import UserError
from ..run import read_log
from ..tables import virtually

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKER: dict[str, Any] = {
    "marker": "o", "markersize": 5, "markeredgecolor": "white", "linestyle": "none"
}  # fmt: skip
WINDOWS = 40  # a curve is smoothed over its length divided by this
DECADE = 10.0


class Curve(NamedTuple):
    """A run's losses in order of time. One that was not finite, or could not be logged, is NaN.

    Shapes: samples, seconds, loss (updates,), of all groups together; validation
    (validations, 3), with columns samples, seconds, loss.
    """

    label: str
    samples: np.ndarray
    seconds: np.ndarray
    loss: np.ndarray
    validation: np.ndarray
    window: int  # updates to average over: as many iterations of each group
    virtual: bool = False  # whether the seconds are not real ones

    @property
    def mean(self) -> np.ndarray:
        """The losses, smoothed."""
        return smooth(self.loss, self.window)


def plot_runs(runs: Sequence[Path], out: Path) -> None:
    """Draw the training and validation loss of every run, over samples and over seconds.

    Raises
    ------
    UserError
        If one of ``runs`` is not the folder of a run with an iteration in its log, or the picture
        cannot be written.
    """
    if not runs:
        raise UserError("no runs to draw; name one or more folders: minidl plot RUN ...")
    picture.check_path(out, "--out")
    names = [folder.resolve().name for folder in runs]
    unique = len(set(names)) == len(names)
    curves = [
        read_curve(folder, name if unique else str(folder))
        for folder, name in zip(runs, names, strict=True)
    ]
    picture.save(draw(curves), out)


def read_curve(folder: Path, label: str) -> Curve:
    """Read a run's losses from its log."""
    events = read_log(folder)
    try:
        steps = [e for e in events if e["event"] == "iteration"]
        checks = [e for e in events if e["event"] == "validation"]
        samples, seconds, loss = (numbers(steps, key) for key in Curve._fields[1:4])
        validation = np.stack([numbers(checks, key) for key in Curve._fields[1:4]], axis=1)
        groups = len({e["group"] for e in steps})
        virtual = any("virtual" in e for e in events)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder}/log.jsonl: not the log of a training run") from None
    if not steps:
        raise UserError(f"{folder}: no iteration in its log yet; nothing to draw")
    # Rank 0 hears late of what other groups did: count the samples again, in order of time.
    order = np.argsort(seconds, kind="stable")
    samples = np.cumsum(np.diff(samples, prepend=0)[order])
    window = max(1, len(steps) // groups // WINDOWS) * groups
    return Curve(label, samples, seconds[order], loss[order], validation, window, virtual)


def numbers(events: Any, key: str) -> np.ndarray:
    """One value of every event; null, which stands for a number that was not finite, is NaN."""
    return np.array([event[key] for event in events], dtype=float)


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value and the ``window - 1`` before it, leaving out those that are NaN.

    At the start the mean is of what there is. Shapes: (n,) -> (n,).
    """
    finite = np.isfinite(values)
    sums = np.cumsum([np.where(finite, values, 0), finite], axis=1)
    sums[:, window:] -= sums[:, :-window].copy()
    return np.divide(sums[0], sums[1], out=np.full(len(values), np.nan), where=sums[1] > 0)


def draw(curves: Sequence[Curve], target: float | None = None) -> Figure:
    """Draw curves side by side: loss over samples on the left, over seconds on the right.

    A ``target`` is a loss to mark with a line.
    """
    figure, panels = two_panels()
    drawn = []
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        window, mean = curve.window, curve.mean
        label = f"{curve.label}, {virtually('training', curve.virtual)}" + (
            f", mean of {window} updates" if window > 1 else ""
        )
        for panel, x, checked in zip(panels, curve[1:3], curve.validation.T[:2], strict=True):
            if window > 1:
                panel.plot(x, curve.loss, color=colour, alpha=0.2, linewidth=0.6, zorder=1)
            alone = "." if len(mean) == 1 else None
            panel.plot(x, mean, color=colour, linewidth=1.8, marker=alone, label=label)
            panel.plot(checked, curve.validation[:, 2], color=colour, **MARKER)
        drawn += [mean, curve.validation[:, 2]]
    dress(figure, panels, curves, drawn, target)
    return figure


def two_panels() -> tuple[Figure, Sequence[Axes]]:
    """Make a picture to draw loss over samples on the left, and over seconds on the right."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    return figure, figure.subplots(1, 2, sharey=True)


def dress(
    figure: Figure,
    panels: Sequence[Axes],
    curves: Sequence[Curve],
    drawn: list[np.ndarray],
    target: float | None,
) -> None:
    """Scale the axes of two panels to what is drawn; name them; add legend and target."""
    set_scale(panels[0], np.concatenate(drawn if target is None else [*drawn, np.array([target])]))
    times = {virtually("seconds", curve.virtual) for curve in curves}
    for panel, quantity in zip(panels, ("samples", " or ".join(sorted(times))), strict=True):
        panel.set_xlabel(quantity)
        panel.set_xlim(left=0)
        panel.locator_params(axis="x", nbins=6)
        panel.grid(which="both", color="0.9", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("loss")
    handles, _ = panels[0].get_legend_handles_labels()
    if any(len(curve.validation) for curve in curves):
        handles.append(Line2D([], [], color="0.4", label="validation", **MARKER))
    if target is not None:
        for panel in panels:
            line = panel.axhline(target, color="0.4", linestyle="--", linewidth=1.0)
        line.set_label(f"target: loss {target:.4g}")
        handles.append(line)
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def set_scale(panel: Axes, losses: np.ndarray) -> None:
    """Fit the axis to the curves, not to the noise behind; logarithmic over a decade or more."""
    losses = losses[np.isfinite(losses)]
    if not len(losses):
        return
    low, high = losses.min(), losses.max()
    if low > 0 and high / low >= DECADE:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_ylim(low / 1.3, high * 1.3)
    elif high > low:
        panel.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
