"""Pictures of an evaluation: precision over recall, maps with boxes, frames drawn again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from minidl import picture

from .boxes import CONFIDENT, Detections, used
from .channels import ABBREVIATIONS, CHANNEL, CHANNELS, CLASSES
from .evaluation import Curves, working_point
from .precision import mean_average_precision

# Distinct for every kind of colour vision: B. Wong, "Points of view: Color blindness", Nature
# Methods 8 (2011).
COLOURS = ("#cc79a7", "#d55e00", "#56b4e9", "#009e73")
OUTLINE = [withStroke(linewidth=3.2, foreground="black")]  # visible on light and dark ground
LABELLED = "white"
DASHES = (0, (4, 3))
TAG_ROOM = 0.05  # of the frame's height: nearer to its edge a box's tag goes inside of it
ISOBAR_COLOUR = "#e0b060"
ISOBARS = np.arange(900, 1100, 4)  # hPa, the interval of weather maps
WETTEST = 70.0  # kg/m2, the colour scale's end: a typhoon's core in the tropics

SHOWN = ("TMQ", "PSL", "U850", "PRECT")
READABLE = {  # units of weather maps in place of the files', and the factor between them
    "TMQ": ("kg/m$^2$", 1.0),
    "PSL": ("hPa", 1e-2),
    "PRECT": ("mm/h", 3.6e6),
}
EXTREMES = (0.5, 99.5)  # percentiles, beyond which values share the scale's last colour
SIGNED = ("U850",)  # fields whose zero means something


class Map(NamedTuple):
    """A frame to draw: fields (16, H, W), labelled boxes (M, 5), found ones, a title."""

    images: np.ndarray
    truths: np.ndarray
    found: Detections
    title: str


def plot_curves(curves: Curves, path: Path, rival: Curves | None = None, caption: str = "") -> None:
    """Draw precision over recall, a line a class, a panel for each overlap.

    Dots mark what is surer than the paper's threshold.

    Parameters
    ----------
    curves, rival : dict of float to tuple of Curve
        As of ``evaluation.curves``; of the rival only its working point is drawn, as a cross.
    caption : str
        The title: what data these are.
    """
    figure = Figure(figsize=(8.6, 4.9), layout="constrained")
    panels = figure.subplots(1, len(curves), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (least, classes) in zip(panels, curves.items(), strict=True):
        for kind, curve in enumerate(classes):
            if not curve.truths:
                continue
            colour = COLOURS[kind]
            axes.plot(curve.recall, curve.precision, color=colour, linewidth=1.8)
            axes.plot(*working_point(curve), "o", color=colour, markeredgecolor="black")
            if rival:
                point = working_point(rival[least][kind])
                axes.plot(*point, "X", color=colour, markeredgecolor="black", markersize=9)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="recall: share of storms found")
        mean = mean_average_precision(classes)
        axes.set_title(f"overlap (IOU) of {least} or more: mAP {mean:.3f}", fontsize=10)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("precision: share of boxes that are right")
    keys = [Line2D([], [], color=colour, linewidth=1.8) for colour in COLOURS]
    keys.append(Line2D([], [], color="0.6", marker="o", markeredgecolor="black", linestyle=""))
    names = [*CLASSES, f"network above {CONFIDENT}"]
    if rival:
        keys.append(Line2D([], [], color="0.6", marker="X", markeredgecolor="black", linestyle=""))
        names.append("heuristic")
    figure.legend(keys, names, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(caption, fontsize=11)
    picture.save(figure, path)


def plot_maps(frames: Sequence[Map], path: Path, caption: str = "") -> None:
    """Draw frames as the paper's figure 9 does: water vapour, isobars, labelled and found boxes.

    Labelled boxes are white and dashed, found ones have their class's colour and their score.

    Parameters
    ----------
    frames : sequence of Map
        At least one, all of one size.
    caption : str
        The title: what data these are.
    """
    columns = min(len(frames), 2)
    rows = math.ceil(len(frames) / columns)
    height, width = frames[0].images.shape[1:]
    size = max(4.3 * width / height * columns + 0.9, 8.0), 4.3 * rows + 1.1
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, frame in zip(grid.flat, frames, strict=False):
        drawn = draw_map(axes, frame)
    for axes in grid.flat:
        axes.set_axis_off()
    bar = figure.colorbar(drawn, ax=grid, shrink=0.8, pad=0.02)
    bar.set_label("column water vapour (kg/m$^2$)")
    keys = [Line2D([], [], color=colour, linewidth=2) for colour in COLOURS]
    keys.append(Line2D([], [], color="black", linewidth=1.2, linestyle=DASHES))
    keys.append(Line2D([], [], color=ISOBAR_COLOUR, linewidth=1))
    names = [*CLASSES, "labelled (white)", "isobars, every 4 hPa"]
    figure.legend(keys, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(caption, fontsize=11)
    picture.save(figure, path)


def draw_map(axes: Axes, frame: Map) -> AxesImage:
    """One frame with its boxes; the image of water vapour is what a colour bar explains."""
    height, width = frame.images.shape[1:]
    drawn = axes.imshow(
        frame.images[CHANNEL["TMQ"]],
        origin="lower",
        extent=(0, width, 0, height),
        cmap="bone",
        vmin=0,
        vmax=WETTEST,
        interpolation="nearest",
    )
    rows, columns = (np.arange(count) + 0.5 for count in (height, width))
    pressure = frame.images[CHANNEL["PSL"]] / 100
    axes.contour(columns, rows, pressure, ISOBARS, colors=ISOBAR_COLOUR, linewidths=0.5, alpha=0.6)
    for box in used(frame.truths):
        draw_box(axes, box, LABELLED, DASHES)
        tag(axes, box, ABBREVIATIONS[int(box[4])], LABELLED, above=True)
    found = frame.found
    for box, kind, score in zip(found.boxes, found.classes, found.scores, strict=True):
        draw_box(axes, box, COLOURS[kind], "solid")
        tag(axes, box, f"{score:.2f}", COLOURS[kind], above=False)
    axes.set_title(frame.title, fontsize=9)
    axes.set(xlim=(0, width), ylim=(0, height))
    return drawn


def draw_box(axes: Axes, box: np.ndarray, colour: str, style: str | tuple) -> None:
    """The outline of a box (ymin, xmin, ymax, xmax, ...)."""
    ymin, xmin, ymax, xmax = box[:4]
    outline = Rectangle(
        (xmin, ymin), xmax - xmin, ymax - ymin, fill=False, edgecolor=colour, linestyle=style
    )
    outline.set(linewidth=1.6, path_effects=OUTLINE if style == "solid" else None)
    axes.add_patch(outline)


def tag(axes: Axes, box: np.ndarray, text: str, colour: str, above: bool) -> None:
    """A word on a box's colour, at its upper left or lower right corner, outside if it fits."""
    ymin, xmin, ymax, xmax = box[:4]
    top = axes.get_ylim()[1]
    outside = (top - ymax if above else ymin) > TAG_ROOM * top
    upwards = above == outside
    axes.annotate(
        text,
        (xmin, ymax) if above else (xmax, ymin),
        (2 if above else -2, 3 if upwards else -3),
        textcoords="offset points",
        ha="left" if above else "right",
        va="bottom" if upwards else "top",
        fontsize=7,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"},
        annotation_clip=True,
    )


def plot_reconstructions(
    images: np.ndarray, drawn: np.ndarray, path: Path, caption: str = ""
) -> None:
    """Draw a frame beside what the network draws from its code of it, and what is amiss.

    Parameters
    ----------
    images, drawn : np.ndarray, shape (16, H, W)
        In the units of ``channels.CHANNELS``; NaN is left blank.
    """
    height, width = images.shape[1:]
    figure = Figure(figsize=(9.2, 2.45 * height / width * len(SHOWN) + 0.8), layout="constrained")
    grid = figure.subplots(len(SHOWN), 3, squeeze=False)
    for row, name in zip(grid, SHOWN, strict=True):
        draw_channel(row, name, images[CHANNEL[name]], drawn[CHANNEL[name]])
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    titles = ("input", "reconstruction", "reconstruction - input")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=10)
    figure.suptitle(caption, fontsize=11)
    picture.save(figure, path)


def draw_channel(row: np.ndarray, name: str, field: np.ndarray, again: np.ndarray) -> None:
    """A channel's field (H, W), its reconstruction on the same scale, and their difference."""
    channel = CHANNELS[CHANNEL[name]]
    unit, factor = READABLE.get(name, (channel.unit, 1.0))
    field, again = field * factor, again * factor
    low, high = shades(field, name in SIGNED)
    off = shades(again - field, signed=True)
    colours = "PuOr_r" if name in SIGNED else "viridis"
    scales = (
        (field, low, high, colours),
        (again, low, high, colours),
        (again - field, *off, "RdBu_r"),
    )
    images = [
        axes.imshow(values, colour, vmin=least, vmax=most, origin="lower", interpolation="nearest")
        for axes, (values, least, most, colour) in zip(row, scales, strict=True)
    ]
    figure = row[0].figure
    figure.colorbar(images[1], ax=row[:2], pad=0.01).set_label(f"{name} ({unit})", fontsize=9)
    figure.colorbar(images[2], ax=row[2], pad=0.02).set_label(unit, fontsize=9)
    row[0].set_ylabel(channel.meaning, fontsize=9)


def shades(values: np.ndarray, signed: bool) -> tuple[float, float]:
    """The ends of a colour scale: all but a few extremes, and for signed values 0 in the middle."""
    low, high = np.nanpercentile(values, EXTREMES)
    if signed:
        high = max(abs(low), abs(high), np.finfo(np.float32).tiny)
        low = -high
    return float(low), float(high)
