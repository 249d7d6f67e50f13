"""Loss curves of several ways to train, each from several seeds: their mean, and their range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.figure import Figure

from .plot import COLOURS, MARKER, Curve, dress, two_panels


def draw_seeds(ways: Mapping[str, Sequence[Curve]], target: float) -> Figure:
    """Draw a curve for each way: the mean of its runs' smoothed losses, in a band of their range.

    Losses after equally many updates belong together; samples and seconds are means, too.
    """
    figure, panels = two_panels()
    drawn = []
    for (way, curves), colour in zip(ways.items(), COLOURS, strict=False):
        losses = np.array([curve.mean for curve in curves])
        low, mean, high = losses.min(axis=0), losses.mean(axis=0), losses.max(axis=0)
        places = np.mean([[curve.samples, curve.seconds] for curve in curves], axis=0)
        checked = np.mean([curve.validation for curve in curves], axis=0)
        for panel, x, when in zip(panels, places, checked.T[:2], strict=True):
            panel.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, zorder=1)
            alone = "." if len(x) == 1 else None
            label = f"{way}, training: mean and range of {len(curves)} seeds"
            panel.plot(x, mean, color=colour, linewidth=1.8, marker=alone, label=label)
            panel.plot(when, checked[:, 2], color=colour, **MARKER)
        drawn += [low, high, checked[:, 2]]
    dress(figure, panels, list(chain(*ways.values())), drawn, target)
    return figure
