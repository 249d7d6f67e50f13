"""Tropical cyclones and depressions: a vortex, a closed low and, over the cyclones, a warm core.

The cyclones' thresholds are TECA's, which go back to F. Vitart et al., "Simulation of interannual
variability of tropical storm frequency in an ensemble of GCM integrations", J. Climate 10 (1997),
and T. Knutson et al., "Simulation of the recent multidecadal increase of Atlantic hurricane
activity using an 18-km-grid regional model", Bull. Amer. Meteor. Soc. 88 (2007).
"""

from __future__ import annotations

import numpy as np

from ..channels import DEPRESSION, TROPICAL
from .sphere import Box, Point, Sphere, disc, lowest
from .storm import Frame, Storm

CYCLONE_VORTICITY = 1.6e-4  # 1/s at 850 hPa
VORTICITY_WINDOW = 7.75  # degrees across; in such a square there is one vortex
CORE_RADIUS = 2.0  # degrees, from the vortex to the low's and the warm core's centres
CYCLONE_RISE = 400.0  # Pa, of the pressure around the low
LOW_RADIUS = 5.0  # degrees, within which it rises
WARMTH, WARMTH_RADIUS = 0.8, 5.0  # K, by which it is colder all around the core; degrees
GALE = 17.0  # m/s: a tropical storm's wind
CYCLONE_LATITUDE = 45.0  # degrees; a choice: farther poleward a warm core is in transition

# A depression has a vortex as Vitart et al. ask for on coarse grids, one closed isobar at the
# interval of 2 hPa, and the wind from which on the India Meteorological Department speaks of one.
DEPRESSION_VORTICITY = 3.5e-5  # 1/s at 850 hPa
DEPRESSION_RISE = 200.0  # Pa
DEPRESSION_WIND = 8.7  # m/s, 17 knots
DEPRESSION_LATITUDE = 30.0  # degrees; a choice: the tropics

# A storm reaches to where the mean tangential wind falls below 8 m/s: B. Schenkel et al.,
# "Evaluating outer tropical cyclone size in reanalysis datasets using QuikSCAT data", J. Climate
# 30 (2017).
OUTER_WIND = 8.0  # m/s
SMALLEST, LARGEST = 2.0, 8.0  # degrees; a choice: no box smaller than the core


def tropical_cyclones(frame: Frame) -> list[Storm]:
    """Strong vortices with a deep low, a warm core and gales."""
    fields = frame.fields
    cold = -(fields["T200"] + fields["T500"]) / 2  # TECA's mean over the warm core's layer
    found = []
    for centre in lows(frame, CYCLONE_VORTICITY, CYCLONE_LATITUDE):
        core = disc(frame.sphere, centre, CORE_RADIUS)
        warmest = lowest(cold, core)
        if (
            frame.closed(fields["PSL"], centre, CYCLONE_RISE, LOW_RADIUS)
            and warmest is not None
            and frame.closed(cold, warmest, WARMTH, WARMTH_RADIUS)
            and frame.strongest_wind(core) >= GALE
        ):
            found.append(storm(frame, centre, TROPICAL))
    return found


def tropical_depressions(frame: Frame, cyclones: list[Storm]) -> list[Storm]:
    """Weaker vortices with a closed low, whether their core is warm or not."""
    found = []
    for centre in lows(frame, DEPRESSION_VORTICITY, DEPRESSION_LATITUDE):
        core = disc(frame.sphere, centre, CORE_RADIUS)
        if (
            not any(covers(cyclone.box, centre) for cyclone in cyclones)
            and not frame.high()[centre]
            and frame.closed(frame.fields["PSL"], centre, DEPRESSION_RISE, LOW_RADIUS)
            and frame.strongest_wind(core) >= DEPRESSION_WIND
        ):
            found.append(storm(frame, centre, DEPRESSION))
    return found


def lows(frame: Frame, vorticity: float, latitude: float) -> list[Point]:
    """Minima of sea-level pressure at the maxima of vorticity, where that exceeds a threshold."""
    from scipy import ndimage

    sphere = frame.sphere
    spin = np.nan_to_num(frame.vorticity())
    spin[np.abs(sphere.latitude) > latitude] = 0
    broadest = int(np.abs(sphere.latitude).argmin())
    window = [2 * count + 1 for count in sphere.span(broadest, VORTICITY_WINDOW / 2)]
    vortices = (spin == ndimage.maximum_filter(spin, window)) & (spin > vorticity)
    centres = (
        lowest(frame.fields["PSL"], disc(sphere, (int(row), int(column)), CORE_RADIUS))
        for row, column in np.argwhere(vortices)
    )
    return list(dict.fromkeys(centre for centre in centres if centre is not None))


def storm(frame: Frame, centre: Point, kind: int) -> Storm:
    """A storm at a centre, as strong as its wind, as large as its outer radius."""
    core = disc(frame.sphere, centre, CORE_RADIUS)
    box = square(frame.sphere, centre, outer_radius(frame, centre))
    return Storm(kind, box, frame.strongest_wind(core))


def outer_radius(frame: Frame, centre: Point) -> float:
    """Degrees from the centre to where the tangential wind, averaged around it, is light.

    The average does away with the flow that the storm drifts in, which blows with the storm's
    wind on one side and against it on the other.
    """
    around = disc(frame.sphere, centre, LARGEST)
    east, north = (frame.fields[name][around.window] for name in ("UBOT", "VBOT"))
    tangential = north * np.cos(around.bearing) - east * np.sin(around.bearing)
    tangential *= np.sign(frame.sphere.latitude[centre[0]])
    known = around.inside & ~np.isnan(tangential)
    width = frame.sphere.spacing[0]
    ring = (around.distance[known] / width).astype(np.int64)
    if not len(ring):
        return SMALLEST
    mean = np.bincount(ring, tangential[known]) / np.maximum(np.bincount(ring), 1)
    light = mean < OUTER_WIND
    light[: mean.argmax()] = False  # the calm of the centre is not the end of the storm
    rings = light.argmax() if light.any() else len(mean)
    return float(np.clip(rings * width, SMALLEST, LARGEST))


def square(sphere: Sphere, centre: Point, radius: float) -> Box:
    """The box of so many degrees around a centre, cut at the frame's edges."""
    (row, column), (rows, columns) = centre, sphere.span(centre[0], radius)
    return (
        max(row - rows, 0),
        max(column - columns, 0),
        min(row + rows + 1, len(sphere.latitude)),
        min(column + columns + 1, len(sphere.longitude)),
    )


def covers(box: Box, point: Point) -> bool:
    """Is a grid point in a box?"""
    return box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]
