"""A picture of some samples of a data set, channel by channel, grouped by class."""

from __future__ import annotations

import math

import h5py
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure

SAMPLES = 6  # drawn in all, or one a class if there are more classes
MOST = 16  # channels, and classes, that are drawn at most
LABELS = 2**20  # that are searched for samples of each class
WIDTH = 15.0  # inches at most
PANEL = 1.9  # inches, where that many fit
CELLS = 112  # across a panel: more could not be told apart

# Without the darkest colours, which would not stand out from the black of zeros.
BRIGHT = ListedColormap(colormaps["plasma"](np.linspace(0.25, 1, 256))).with_extremes(bad="black")
DECADE = 10.0


def draw_samples(images: h5py.Dataset, labels: h5py.Dataset | None) -> Figure:
    """Draw a few samples, each with all its channels, along the shorter side of the picture.

    All panels of a channel share one scale of colours: logarithmic for sparse positive images,
    where black is zero; centred on zero where both signs occur.

    Parameters
    ----------
    images : h5py.Dataset, shape (N, C, H, W)
    labels : h5py.Dataset or None, shape (N,)
        Classes to group by.
    """
    chosen = choose(len(images), labels)
    samples = np.stack([images[index, :MOST] for index, _ in chosen]).astype(np.float32)
    count, channels, height, width = samples.shape
    in_rows = channels > count
    rows, columns = (count, channels) if in_rows else (channels, count)
    panel = min(PANEL, WIDTH / columns)
    margins = (0.4, 1.0) if in_rows else (1.0, 0.4)  # for titles and bars of colours
    size = (panel * columns + margins[0], panel * rows * height / width + margins[1])
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    panels = axes if in_rows else axes.T  # (samples, channels) either way
    for channel in range(channels):
        draw_channel(figure, panels[:, channel], samples[:, channel], in_rows)
        entitle(panels[0, channel], f"channel {channel}", above=in_rows)
    for first, (_, title) in zip(panels[:, 0], chosen, strict=True):
        entitle(first, title, above=not in_rows)
    return figure


def choose(count: int, labels: h5py.Dataset | None) -> list[tuple[int, str]]:
    """Pick samples, evenly spaced in each class, as (index, title)."""
    if labels is None:
        groups = {"sample": np.arange(count)}
    else:
        known = labels[:LABELS]
        name = labels.name.rpartition("/")[2]
        groups = {f"{name} {label}": np.flatnonzero(known == label) for label in np.unique(known)}
    share = max(1, SAMPLES // len(groups))
    chosen = []
    for title, indices in list(groups.items())[:MOST]:
        places = np.linspace(0, len(indices) - 1, min(share, len(indices))).round().astype(int)
        chosen += [(index, title) for index in indices[places].tolist()]
    return chosen


def draw_channel(figure: Figure, panels: np.ndarray, images: np.ndarray, in_rows: bool) -> None:
    """Draw one channel of every sample, (samples, H, W), and its bar of colours."""
    finite = images[np.isfinite(images)]
    sparse = finite.size > 0 and finite.min() >= 0 and (finite > 0).mean() < 0.5
    if sparse:
        images = np.stack([brightest(image) for image in images])
        images[images == 0] = np.nan
    norm, colours = scale(images[np.isfinite(images)], sparse)
    for axes, image in zip(panels, images, strict=True):
        drawn = axes.imshow(image, norm=norm, cmap=colours)
        axes.set_xticks([])
        axes.set_yticks([])
    side = "bottom" if in_rows else "right"
    bar = figure.colorbar(drawn, ax=list(panels), location=side, pad=0.01, aspect=15)
    bar.ax.minorticks_off()


def brightest(image: np.ndarray) -> np.ndarray:
    """Reduce a sparse image to the maximum of each block of pixels.

    Single hits among many pixels would be too small to be seen. Shapes: (H, W) -> (H', W').
    """
    block = math.ceil(max(image.shape) / CELLS)
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


def entitle(axes: Axes, title: str, above: bool) -> None:
    """Write a title above a panel or at its left."""
    if above:
        axes.set_title(title, fontsize="medium")
    else:
        axes.set_ylabel(title)
