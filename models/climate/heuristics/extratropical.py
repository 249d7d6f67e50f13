"""Extratropical cyclones: lows of sea-level pressure outside the tropics.

U. Neu et al., "IMILAST: a community effort to intercompare extratropical cyclone detection and
tracking algorithms", Bull. Amer. Meteor. Soc. 94 (2013): most methods take minima of pressure
with a gradient around them, poleward of the tropics and not over high terrain.
"""

from __future__ import annotations

import numpy as np

from ..channels import EXTRATROPICAL
from .sphere import Disc, Point, basin, box_of, disc
from .storm import Frame, Storm

LATITUDE = 30.0  # degrees, poleward of which
# A rise of 7.5 hPa in 1000 km, here of the mean on the circle at that distance: A. Crawford and
# M. Serreze, "Does the summer Arctic frontal zone influence Arctic Ocean cyclone activity?", J.
# Climate 29 (2016).
RISE, RISE_DISTANCE = 750.0, 9.0  # Pa; degrees
# A cyclone is what the outermost closed isobar encloses. H. Wernli and C. Schwierz, "Surface
# cyclones in the ERA-40 dataset", J. Atmos. Sci. 63 (2006).
ISOBARS = 200.0  # Pa from one to the next
DEEPEST = 150e2  # Pa below what surrounds it: no low on record comes near
LARGEST = 15.0  # degrees from the centre; a choice


def extratropical_cyclones(frame: Frame, tropical: list[Storm]) -> list[Storm]:
    """Lows with a gradient and a closed isobar, the deepest first; none within another's."""
    pressure = frame.fields["PSL"]
    taken = np.zeros(pressure.shape, bool)
    for ymin, xmin, ymax, xmax in (storm.box for storm in tropical):
        taken[ymin:ymax, xmin:xmax] = True
    found = []
    for centre in minima(frame):
        if taken[centre] or rise(frame, centre) < RISE:
            continue
        around = disc(frame.sphere, centre, LARGEST)
        area, depth = outermost(pressure, around)
        if area is not None:
            taken[around.window] |= area
            found.append(Storm(EXTRATROPICAL, box_of(area, around.window), depth))
    return found


def minima(frame: Frame) -> list[Point]:
    """Minima of sea-level pressure where these cyclones are looked for, the lowest first."""
    from scipy import ndimage

    pressure = np.where(np.isnan(frame.fields["PSL"]), np.inf, frame.fields["PSL"])
    low = (pressure == ndimage.minimum_filter(pressure, 3)) & np.isfinite(pressure)
    low &= pressure < ndimage.maximum_filter(pressure, 3)  # nor are plains of one value lows
    low &= ~frame.high() & (np.abs(frame.sphere.latitude) >= LATITUDE)[:, None]
    low[[0, -1]] = low[:, [0, -1]] = False  # for all we know it is lower beyond the edge
    points = np.argwhere(low)[np.argsort(pressure[low], kind="stable")]
    return [(int(row), int(column)) for row, column in points]


def rise(frame: Frame, centre: Point) -> float:
    """How much higher, in Pa, the mean pressure on a circle around a low is; 0 if unknown."""
    around = disc(frame.sphere, centre, RISE_DISTANCE)
    pressure = frame.fields["PSL"][around.window]
    circle = around.inside & (around.distance > RISE_DISTANCE - max(frame.sphere.spacing))
    circle &= ~np.isnan(pressure)
    return float(pressure[circle].mean() - pressure[around.centre]) if circle.any() else 0.0


def outermost(pressure: np.ndarray, around: Disc) -> tuple[np.ndarray | None, float]:
    """What a low's outermost closed isobar encloses, and how far above the low that isobar is."""
    area, depth = None, 0.0
    for higher in np.arange(ISOBARS, DEEPEST, ISOBARS):
        larger = basin(pressure, around, higher)
        if larger is None:
            break
        area, depth = larger, float(higher)
    return area, depth
