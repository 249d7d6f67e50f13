"""A picture of some samples of a data set, channel by channel, grouped by class."""

from __future__ import annotations

import math
from textwrap import fill

import h5py
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from .box_survey import is_used
from .contents import Contents, channel_names

SAMPLES = 6  # drawn in all, or one a class if there are more classes
MOST = 16  # channels, and classes, that are drawn at most
LABELS = 2**20  # that are searched for samples of each class
WIDTH = 15.0  # inches at most
PANEL = 1.9  # inches, where that many fit
LETTER = 0.085  # inches a letter of a title is wide
NUMBER = 0.45  # inches a number at a bar of colours needs
CELLS = 112  # across a panel: more could not be told apart

# Without the darkest colours, which would not stand out from the black of zeros.
BRIGHT = ListedColormap(colormaps["plasma"](np.linspace(0.25, 1, 256))).with_extremes(bad="black")
DECADE = 10.0

# Distinct for every kind of colour vision: B. Wong, "Points of view: Color blindness", Nature
# Methods 8 (2011).
COLOURS = ("#cc79a7", "#d55e00", "#56b4e9", "#009e73", "#e69f00", "#0072b2", "#f0e442")
OUTLINE = [withStroke(linewidth=2.4, foreground="black")]  # visible on light and dark ground


def draw_samples(contents: Contents, labels: h5py.Dataset | None) -> Figure:
    """Draw a few samples, each with all its channels, along the shorter side of the picture.

    All panels of a channel share one scale of colours: logarithmic for sparse positive images,
    where black is zero; centred on zero where both signs occur. Boxes are drawn on every panel.

    Parameters
    ----------
    contents : Contents
        With images, (N, C, H, W) each; the first are drawn.
    labels : h5py.Dataset or None, shape (N,)
        Classes to group by.
    """
    images, boxes = contents.images[0], contents.drawn_boxes()
    chosen = choose(len(images), labels)
    samples = np.stack([images[index, :MOST] for index, _ in chosen]).astype(np.float32)
    count, channels, height, width = samples.shape
    in_rows = channels > count
    rows, columns = (count, channels) if in_rows else (channels, count)
    panel = min(PANEL, WIDTH / columns)
    room = panel * height / width, panel  # inches at the side of a panel, and above it
    margins = (0.4, 1.2) if in_rows else (1.0, 0.4)  # for titles and bars of colours
    size = (panel * columns + margins[0], room[0] * rows + margins[1])
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    panels = axes if in_rows else axes.T  # (samples, channels) either way
    names = channel_names(images) or [f"channel {channel}" for channel in range(channels)]
    upwards = contents.starts_at_bottom()
    for channel in range(channels):
        bar = draw_channel(panels[:, channel], samples[:, channel], in_rows, upwards)
        few_ticks(bar, room[in_rows])
        entitle(panels[0, channel], names[channel], room[in_rows], above=in_rows)
    for row, (index, title) in zip(panels, chosen, strict=True):
        entitle(row[0], title, room[not in_rows], above=not in_rows)
        if boxes is not None:
            draw_boxes(row, boxes[index])
    if boxes is not None:
        explain(figure, np.concatenate([boxes[index] for index, _ in chosen]), contents.classes)
    return figure


def choose(count: int, labels: h5py.Dataset | None) -> list[tuple[int, str]]:
    """Pick samples, evenly spaced in each class, as (index, title)."""
    if labels is None:
        places = np.linspace(0, count - 1, min(SAMPLES, count)).round().astype(int)
        return [(index, f"sample {index}") for index in places.tolist()]
    known = labels[:LABELS]
    name = labels.name.rpartition("/")[2]
    groups = {f"{name} {label}": np.flatnonzero(known == label) for label in np.unique(known)}
    share = max(1, SAMPLES // len(groups))
    chosen = []
    for title, indices in list(groups.items())[:MOST]:
        places = np.linspace(0, len(indices) - 1, min(share, len(indices))).round().astype(int)
        chosen += [(index, title) for index in indices[places].tolist()]
    return chosen


def draw_channel(panels: np.ndarray, images: np.ndarray, in_rows: bool, upwards: bool) -> Colorbar:
    """Draw one channel of every sample, (samples, H, W), and return its bar of colours.

    Places in a panel are in pixels, wherever their row 0 is.
    """
    height, width = images.shape[1:]
    finite = images[np.isfinite(images)]
    sparse = finite.size > 0 and finite.min() >= 0 and (finite > 0).mean() < 0.5
    block = math.ceil(max(height, width) / CELLS) if sparse else 1
    if sparse:
        images = np.stack([brightest(image, block) for image in images])
        images[images == 0] = np.nan
    norm, colours = scale(images[np.isfinite(images)], sparse)
    low, right = 0, images.shape[2] * block  # with what was padded, which the limits cut off
    high = images.shape[1] * block
    extent = (0, right, low, high) if upwards else (0, right, high, low)
    origin = "lower" if upwards else "upper"
    for axes, image in zip(panels, images, strict=True):
        drawn = axes.imshow(image, norm=norm, cmap=colours, origin=origin, extent=extent)
        axes.set(xlim=(0, width), ylim=(0, height) if upwards else (height, 0))
        axes.set(xticks=[], yticks=[])
    side = "bottom" if in_rows else "right"
    return panels[0].figure.colorbar(drawn, ax=list(panels), location=side, pad=0.01, aspect=15)


def few_ticks(bar: Colorbar, length: float) -> None:
    """Write no more numbers at a bar of colours than its length in inches has room for."""
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize="small")
    for axis in (bar.ax.xaxis, bar.ax.yaxis):
        axis.get_offset_text().set_fontsize("small")
    if not isinstance(bar.norm, LogNorm):
        bar.locator = MaxNLocator(max(1, int(length / NUMBER)))
        bar.formatter = ScalarFormatter()
        bar.formatter.set_powerlimits((-2, 4))  # what is longer gets a power of ten at the end


def draw_boxes(panels: np.ndarray, boxes: np.ndarray) -> None:
    """Outline boxes (n, 5) on all panels of their sample, in their class's colour."""
    for axes in panels:
        for ymin, xmin, ymax, xmax, kind in boxes[is_used(boxes)]:
            outline = Rectangle((xmin, ymin), xmax - xmin, ymax - ymin, fill=False)
            outline.set(edgecolor=colour(kind), linewidth=1.2, path_effects=OUTLINE)
            axes.add_patch(outline)


def explain(figure: Figure, boxes: np.ndarray, classes: list[str]) -> None:
    """Name the classes of boxes (n, 5) below the picture."""
    kinds = [int(kind) for kind in np.unique(boxes[is_used(boxes)][:, 4])]
    names = [classes[kind] if 0 <= kind < len(classes) else f"class {kind}" for kind in kinds]
    keys = [Line2D([], [], color=colour(kind), path_effects=OUTLINE) for kind in kinds]
    if keys:
        figure.legend(keys, names, loc="outside lower center", ncols=len(keys), frameon=False)


def colour(kind: float) -> str:
    """The colour of a class of boxes; after the last the first again."""
    return COLOURS[int(kind) % len(COLOURS)]


def brightest(image: np.ndarray, block: int) -> np.ndarray:
    """Reduce a sparse image to the maximum of each block of so many pixels squared.

    Single hits among many pixels would be too small to be seen. Shapes: (H, W) -> (H', W').
    """
    padding = [(0, -size % block) for size in image.shape]
    padded = np.pad(np.where(np.isfinite(image), image, 0), padding)
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    return padded.reshape(rows, block, columns, block).max(axis=(1, 3))


def scale(values: np.ndarray, sparse: bool) -> tuple[Normalize, Colormap]:
    """Return the scale and the map of colours that suit these finite numbers."""
    low, high = np.quantile(values, [0.005, 0.995]) if values.size else (0, 1)
    if sparse and low > 0 and high / low >= DECADE:
        return LogNorm(low, high), BRIGHT
    if sparse:
        return Normalize(0, high), BRIGHT
    if low < 0 < high:
        return Normalize(-max(-low, high), max(-low, high)), colormaps["RdBu_r"]
    return Normalize(low, high if high > low else low + 1), colormaps["viridis"]


def entitle(axes: Axes, title: str, room: float, above: bool) -> None:
    """Write a title above a panel or at its left, in lines that fit into so many inches."""
    lines = fill(title, max(1, int(room / LETTER)), break_long_words=False)
    if above:
        axes.set_title(lines, fontsize="medium")
    else:
        axes.set_ylabel(lines)
