"""Warm-core vortices: Holland's wind in gradient balance, inflow, spiral arms of rain and moisture.

Lengths in metres, winds in m/s, pressures in Pa.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .air import Air
from .grid import Extent, Grid, around, ellipse, extent_of, unit_vectors
from .moisture import saturated_column
from .physics import (
    AIR_DENSITY,
    EARTH_RADIUS,
    KILOMETRE,
    KNOT,
    METRES_PER_KELVIN,
    MILLIMETRE_PER_HOUR,
    REFERENCE_PRESSURE,
    coriolis,
)

CYCLONE_WIND = 34 * KNOT  # from here on a depression is called a cyclone
FASTEST = 48.0  # m/s: of rain and moisture, the strength is relative to this
OUTERMOST = 900 * KILOMETRE  # where a vortex ends
EDGE_WIND, EDGE_SHARE = 12.0, 0.6  # m/s and share of the greatest wind, at the edge of a box
SMALLEST_EDGE, LARGEST_EDGE = 200 * KILOMETRE, 550 * KILOMETRE

SURFACE_SHARE, SURFACE_INFLOW = 0.8, np.radians(22.6)  # J. Zhang and E. Uhlhorn, MWR 140 (2012)
INFLOW_850 = np.radians(7)
SPIRAL_TIME = 8 * 3600.0  # s, that the vortex has wound up the air around it
MOST_TURN = 1.5 * np.pi
WARM_SHARE = 0.75  # of the low's depth that the warm core has made up for at 200 hPa
WARM_PROFILE = (0.25, 1.0, 0.6)  # at 1000, 500 and 200 hPa, of the core's warmth
MOIST_RADIUS = 320 * KILOMETRE
MOIST_DEPTH = 1500.0  # Pa, of a low whose core is saturated
HEAVIEST_RAIN = 22 * MILLIMETRE_PER_HOUR  # of the strongest storms
LIGHTEST = 0.03  # share of it in the weakest
BANDS, PITCH = 2, 2.0  # spiral arms, and radians they turn as the radius grows e-fold
RAGGED = 0.5  # share of the noise in them


@dataclass(frozen=True)
class Vortex:
    """A warm-core low.

    Attributes
    ----------
    latitude, longitude : float
        Degrees.
    depth : float
        Pa, of the centre below its environment.
    core : float
        Radius of the greatest wind, m.
    shape : float
        Holland's B.
    recorded_wind : float
        m/s; says whether it is a depression or a cyclone.
    """

    latitude: float
    longitude: float
    depth: float
    core: float
    shape: float
    recorded_wind: float

    @property
    def is_cyclone(self) -> bool:
        """Whether the recorded wind is that of a tropical cyclone, 34 knots or more."""
        return self.recorded_wind >= CYCLONE_WIND - 0.01

    @property
    def centre(self) -> np.ndarray:
        """Unit vector (3,) of the centre."""
        return unit_vectors(self.latitude, self.longitude)

    @cached_property
    def profile(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Radii (m), pressure anomaly (Pa) and wind (m/s, cyclonic) in gradient balance.

        Holland's pressure p' = -depth (1 - exp(-(core / r)^B)) sets the wind: V^2 / r + f V =
        (dp'/dr) / density (G. Holland, Mon. Wea. Rev. 108 (1980), eqs. 1 and 4, with constant
        density). It is then let go to 0 at ``OUTERMOST``, which the pressure follows.
        """
        radius = np.geomspace(KILOMETRE, OUTERMOST, 400)
        inside = (self.core / radius) ** self.shape
        slope = self.depth * self.shape / radius * inside * np.exp(-inside)
        f = abs(float(coriolis(self.latitude)))
        half = radius * f / 2
        wind = np.sqrt(half**2 + radius * slope / AIR_DENSITY) - half
        wind *= np.cos(np.pi / 2 * radius / OUTERMOST) ** 2
        slope = AIR_DENSITY * (wind**2 / radius + f * wind)
        rises = np.diff(radius) * (slope[1:] + slope[:-1]) / 2
        pressure = -np.append(np.cumsum(rises[::-1])[::-1], 0)
        return radius, pressure, wind

    @property
    def extent(self) -> Extent:
        """Where the wind has not yet fallen off."""
        radius, _, wind = self.profile
        edge = min(EDGE_WIND, EDGE_SHARE * wind.max())
        reach = float(np.clip(radius[wind >= edge].max(), SMALLEST_EDGE, LARGEST_EDGE))
        return extent_of(ellipse(self.latitude, self.longitude, (reach, reach)))


def turned_back(vortices: list[Vortex], grid: Grid) -> np.ndarray:
    """The grid's points (3, H, W), but around vortices from where these have turned the air.

    The inner air has gone around further than the outer: what comes through it becomes spirals.
    """
    points = grid.points.copy()
    for vortex in vortices:
        rows, columns = grid.window(vortex.latitude, vortex.longitude, OUTERMOST)
        window = points[:, rows, columns]
        distance, turning, outward = around(window, vortex.centre)
        radius, _, wind = vortex.profile
        angle = np.interp(distance, radius, np.minimum(wind / radius * SPIRAL_TIME, MOST_TURN))
        angle = np.where(distance < OUTERMOST, angle, 0) * np.sign(vortex.latitude)
        # About the centre c, a point at the angular distance d is cos(d) c + sin(d) e, where the
        # direction e is the outward one carried back to the centre.
        d = distance / EARTH_RADIUS
        e = np.sin(d) * window + np.cos(d) * outward
        e = np.cos(angle) * e - np.sin(angle) * turning
        centre = vortex.centre[:, np.newaxis, np.newaxis]
        points[:, rows, columns] = np.cos(d) * centre + np.sin(d) * e
    return points


def add_vortex(vortex: Vortex, air: Air, noise: np.ndarray) -> None:
    """Put a vortex into the air: pressure, wind, warm core, moisture and spiral rain.

    Parameters
    ----------
    noise : np.ndarray, shape (H, W)
        Of mean 0 and variance 1: makes the rain bands ragged.
    """
    rows, columns = air.grid.window(vortex.latitude, vortex.longitude, OUTERMOST)
    distance, turning, outward = around(air.grid.points[:, rows, columns], vortex.centre)
    radius, pressure, wind = vortex.profile
    fall = np.interp(distance, radius, pressure, right=0)
    speed = np.interp(distance, radius, wind, left=0, right=0)
    air.pressure[rows, columns] += fall
    cyclonic = np.sign(vortex.latitude) * turning
    directions = air.grid.directions[:, :, rows, columns]
    for field, share, inflow in (
        (air.wind_850, 1.0, INFLOW_850),
        (air.wind_bottom, SURFACE_SHARE, SURFACE_INFLOW),
    ):
        vectors = share * speed * (np.cos(inflow) * cyclonic - np.sin(inflow) * outward)
        field[:, rows, columns] += np.einsum("x...,cx...->c...", vectors, directions)
    _warm(air, rows, columns, fall)
    bearing = np.arctan2(*np.einsum("x...,cx...->c...", outward, directions)[::-1])
    arms = _arms(vortex, distance, bearing, noise[rows, columns])
    near = np.exp(-((distance / MOIST_RADIUS) ** 2)) * np.clip(vortex.depth / MOIST_DEPTH, 0.2, 1)
    wet = 0.97 * saturated_column(air.t1000[rows, columns])
    water = air.water[rows, columns]
    share = near * np.clip(0.4 + 0.6 * arms, 0, 1)
    air.water[rows, columns] = water + share * np.maximum(wet - water, 0)
    rain = _shield(vortex, distance) * arms
    air.rain[rows, columns] = air.rain[rows, columns] * (1 - near) + rain


def _warm(air: Air, rows: np.ndarray, columns: np.ndarray, fall: np.ndarray) -> None:
    """Warm the core such that the heights' anomaly is but a quarter at 200 hPa (HH 10.6).

    The 1000 hPa surface sinks by R T / g * p' / p; the thickness above must make up for it.
    """
    sunk = -METRES_PER_KELVIN * 300 * fall / REFERENCE_PRESSURE
    lower, upper = np.log(1000 / 500), np.log(500 / 200)
    low, middle, high = WARM_PROFILE
    per_kelvin = METRES_PER_KELVIN * (lower * (low + middle) + upper * (middle + high)) / 2
    warmth = WARM_SHARE * sunk / per_kelvin
    for field, share in zip((air.t1000, air.t500, air.t200), WARM_PROFILE, strict=True):
        field[rows, columns] += share * warmth


def _arms(
    vortex: Vortex, distance: np.ndarray, bearing: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Where the spiral arms are, about 0 to 1.5: 0 in the dry lanes between them.

    The arms are logarithmic spirals; inside of them is the eyewall, a ring.
    """
    away = distance / vortex.core
    handed = np.sign(vortex.latitude)
    winding = bearing + handed * PITCH * np.log(np.maximum(away, 0.5))
    arms = np.cos(BANDS * (winding - np.radians(vortex.longitude)))
    outside = np.clip((away - 1) / 2, 0, 1)
    return np.clip(0.6 + 0.5 * arms * outside + RAGGED * noise, 0, None)


def _shield(vortex: Vortex, distance: np.ndarray) -> np.ndarray:
    """Mean rain in m/s: it rises to the eyewall, and falls off further out.

    The exponential profile is that of R-CLIPER (R. Tuleya et al., Wea. Forecasting 22 (2007)):
    heavier and wider for stronger storms.
    """
    strength = vortex.profile[2].max() / FASTEST
    falloff = 100 * KILOMETRE + 70 * KILOMETRE * strength
    away = distance / vortex.core
    mean = np.where(away < 1, 0.3 + 0.7 * away, np.exp(-(distance - vortex.core) / falloff))
    fade = np.clip(1 - (distance / OUTERMOST) ** 2, 0, 1) ** 2
    return HEAVIEST_RAIN * (LIGHTEST + (1 - LIGHTEST) * strength**1.5) * mean * fade
