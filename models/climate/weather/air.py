"""The air over a grid: what the planet looks like through it, before tropical storms go in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import sphere
from .background import Climate, climate
from .flow import Planet
from .grid import Grid, latitude_longitude
from .moisture import relative_humidity, saturated_column
from .physics import DAY, EARTH_RADIUS

TRANSPORT, STEPS = 0.8 * DAY, 5
# Of what the transport brings, the share that is still there: the ground works on the rest.
KEPT_SEA, KEPT_LAND, KEPT_ALOFT, KEPT_WATER = 0.55, 0.75, 0.6, 0.8


@dataclass
class Air:
    """Fields (H, W) over a grid, which storms change in place; winds (2, H, W), east and north.

    Attributes
    ----------
    grid : Grid
    mean : Climate
        On the grid.
    pressure : np.ndarray
        At sea level, Pa.
    t1000, t500, t200 : np.ndarray
        K; ``t1000`` is that at sea level.
    water : np.ndarray
        Column water vapour, kg/m2.
    wind_850, wind_bottom : np.ndarray, shape (2, H, W)
        m/s.
    rain : np.ndarray
        m/s.
    """

    grid: Grid
    mean: Climate
    pressure: np.ndarray
    t1000: np.ndarray
    t500: np.ndarray
    t200: np.ndarray
    water: np.ndarray
    wind_850: np.ndarray
    wind_bottom: np.ndarray
    rain: np.ndarray


def look(planet: Planet, when: np.datetime64, grid: Grid, start: np.ndarray) -> Air:
    """Look at a planet through a grid.

    Parameters
    ----------
    start : np.ndarray, shape (3, H, W)
        From where the large-scale flow's transport is followed back: the grid's points, where no
        smaller storm has turned them.
    """
    mean = climate(when, grid.latitudes, grid.longitudes)
    origin = planet.mean
    humidity = relative_humidity(origin, planet.moist)
    fields = np.stack([origin.air, origin.t500, humidity * saturated_column(origin.air)])
    latitude, longitude = latitude_longitude(departures(start, planet.wind_850))
    air, t500, water = sphere.at_points(fields, latitude, longitude)
    pressure, wave_t500, wave_t200, home_water = sphere.to_grid(
        np.stack([planet.pressure, planet.t500, planet.t200, fields[2]]), grid
    )
    kept = KEPT_SEA + (KEPT_LAND - KEPT_SEA) * mean.land
    return Air(
        grid=grid,
        mean=mean,
        pressure=pressure,
        t1000=mean.air + kept * (air - mean.air),
        t500=mean.t500 + wave_t500 + KEPT_ALOFT * (t500 - mean.t500),
        t200=mean.t200 + wave_t200,
        water=np.maximum(KEPT_WATER * water + (1 - KEPT_WATER) * home_water, 0),
        wind_850=sphere.components(sphere.to_grid(planet.wind_850, grid), grid),
        wind_bottom=sphere.components(sphere.to_grid(planet.wind_bottom, grid), grid),
        rain=np.zeros(grid.shape),
    )


def departures(points: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """Where the air at these points was ``TRANSPORT`` seconds ago, in a flow taken as steady.

    Semi-Lagrangian transport: each point is followed back by steps of the midpoint rule. What lies
    at its departure arrives, so that filaments are as fine as the points, whatever the flow's
    resolution (A. Staniforth and J. Cote, Mon. Wea. Rev. 119 (1991)).

    Parameters
    ----------
    points : np.ndarray, shape (3, ...)
    velocity : np.ndarray, shape (3, rows, columns)
        On the lattice, vectors in space, m/s.

    Returns
    -------
    points : np.ndarray, shape (3, ...)
    """
    step = TRANSPORT / STEPS / EARTH_RADIUS

    def back(points: np.ndarray, at: np.ndarray, time: float) -> np.ndarray:
        moved = points - time * sphere.at_points(velocity, *latitude_longitude(at))
        return moved / np.sqrt((moved**2).sum(axis=0))

    for _ in range(STEPS):
        points = back(points, back(points, points, step / 2), step)
    return points
