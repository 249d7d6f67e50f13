"""Pictures of an evaluation: the ROC curve, and the events that the network was surest of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from minidl import picture

from .images import ETA

NETWORK, CUTS = "#1f5f99", "#c44536"


def plot_roc(
    background_rate: np.ndarray,
    efficiency: np.ndarray,
    points: dict[str, tuple[float, float]],
    path: Path,
) -> None:
    """Draw signal efficiency over background rate, with the cuts' working points.

    Parameters
    ----------
    background_rate, efficiency : np.ndarray, shape (thresholds,)
        The network's curve.
    points : dict of str to (background rate, efficiency)
        The cuts'.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    seen = background_rate > 0
    axes.step(background_rate[seen], efficiency[seen], where="post", color=NETWORK, label="network")
    for marker, (name, (rate, kept)) in zip("osD^v", points.items(), strict=False):
        axes.plot(rate, kept, marker, color=CUTS, markersize=8, label=f"cuts: {name}")
    if "SR" in points and points["SR"][0] > 0:
        rate, kept = points["SR"]
        reached = efficiency[np.searchsorted(background_rate, rate, side="right") - 1]
        axes.annotate(
            "", (rate, reached), (rate, kept), arrowprops={"arrowstyle": "->", "color": "0.4"}
        )
    axes.set(
        xscale="log",
        ylim=(0, 1.02),
        xlabel="background rate (share of weighted QCD events kept)",
        ylabel="signal efficiency",
        title="Gluino pairs against QCD, simulated events",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    picture.save(figure, path)


def plot_events(events: list[tuple[str, np.ndarray]], path: Path) -> None:
    """Draw events' images, a column each: transverse energy in colour, tracks as dots.

    Parameters
    ----------
    events : list of (title, image of shape (3, size, size))
    """
    figure = Figure(figsize=(2.3 * len(events) / 2 + 0.6, 5.4), layout="constrained")
    grid = figure.subplots(2, len(events) // 2, squeeze=False, sharex=True, sharey=True)
    extent = (-np.pi, np.pi, -ETA, ETA)
    for axes, (title, image) in zip(grid.flat, events, strict=True):
        energy = image[0] + image[1]
        drawn = axes.imshow(
            np.maximum(energy, 1e-9),
            origin="lower",
            extent=extent,
            norm=LogNorm(1, 500, clip=False),
            cmap="inferno",
            aspect="auto",
            interpolation="nearest",
        )
        axes.set_facecolor("black")
        drawn.cmap.set_under("black")
        rows, columns = np.nonzero(image[2])
        size = image.shape[1]
        axes.plot(
            -np.pi + (columns + 0.5) * 2 * np.pi / size,
            -ETA + (rows + 0.5) * 2 * ETA / size,
            ".",
            color="#7fd1ff",
            markersize=1.5,
            markeredgewidth=0,
        )
        axes.set_title(title, fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel(r"$\phi$")
    for axes in grid[:, 0]:
        axes.set_ylabel(r"$\eta$")
    bar = figure.colorbar(drawn, ax=grid, shrink=0.8)
    bar.set_label("transverse energy (GeV); tracks in blue")
    picture.save(figure, path)
