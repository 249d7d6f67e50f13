"""Atmospheric rivers: long and narrow regions where much water vapour moves towards a pole.

Length, width and water: F. M. Ralph, P. Neiman and G. Wick, "Satellite and CALJET aircraft
observations of atmospheric rivers", Mon. Wea. Rev. 132 (2004). Transport: J. Rutz et al.,
"Climatological characteristics of atmospheric rivers", Mon. Wea. Rev. 142 (2014). Direction, and
area over length as the width: B. Guan and D. Waliser, "Detection of atmospheric rivers", J.
Geophys. Res. Atmos. 120 (2015).
"""

from __future__ import annotations

import numpy as np

from ..channels import RIVER
from .sphere import DEGREE, Sphere, Window, box_of, great_circle
from .storm import Frame, Storm

WATER = 20.0  # kg/m2
TRANSPORT = 250.0  # kg/m/s
POLEWARD = 50.0  # kg/m/s, mean of a river
LENGTH, WIDTH = 2000e3, 1000e3  # m: longer than, narrower than
LATITUDE = 20.0  # degrees; a choice: nearer to the equator it is moist everywhere


def atmospheric_rivers(frame: Frame) -> list[Storm]:
    """Connected regions of strong transport that are as long, as narrow and as poleward as that.

    The column's water times the wind at 850 hPa, near which most of it moves, stands for the
    integral of the transport over all heights.
    """
    from scipy import ndimage

    sphere, fields = frame
    water = np.nan_to_num(fields["TMQ"])
    east, north = (water * np.nan_to_num(fields[name]) for name in ("U850", "V850"))
    transport = np.hypot(east, north)
    poleward = north * np.sign(sphere.latitude)[:, None]
    subtropical = (np.abs(sphere.latitude) >= LATITUDE)[:, None]
    regions, _ = ndimage.label((water > WATER) & (transport > TRANSPORT) & subtropical)
    cell = np.prod(sphere.spacing) * DEGREE**2 * sphere.narrowing  # m2, shape (H, 1)
    found = []
    for number, window in enumerate(ndimage.find_objects(regions), start=1):
        region = regions[window] == number
        length = longest(sphere, region, window)
        area = float((region * cell[window[0]]).sum())
        if length > LENGTH and area / length < WIDTH and poleward[window][region].mean() > POLEWARD:
            strength = float(transport[window][region].mean())
            found.append(Storm(RIVER, box_of(region, window), strength))
    return found


def longest(sphere: Sphere, region: np.ndarray, window: Window) -> float:
    """Metres between the two points of a region farthest apart: no river is shorter than that.

    They are among the first and the last points of its rows.
    """
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - 1 - region[rows, ::-1].argmax(axis=1)
    latitude = np.tile(sphere.latitude[window[0]][rows], 2)
    longitude = sphere.longitude[window[1]][np.append(first, last)]
    apart = great_circle(latitude[:, None], longitude[:, None], latitude, longitude)
    return float(apart.max() * DEGREE)
