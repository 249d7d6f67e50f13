"""A frame of synthetic weather: sixteen fields over a grid, and the boxes of its storms."""

from __future__ import annotations

import numpy as np

from ..channels import (
    CHANNEL,
    DEPRESSION,
    EXTRATROPICAL,
    MOST_BOXES,
    RIVER,
    TROPICAL,
)
from .air import Air, look
from .extratropical import STRONGEST, Cyclone
from .flow import draw_planet
from .grid import Extent, Grid
from .moisture import above_ground, ascent, cells, rainfall, saturated_column
from .physics import (
    DAY,
    LAPSE_RATE,
    METRES_PER_KELVIN,
    height_1000,
    saturation_humidity,
    thickness_1000_200,
)
from .rivers import WATER, River, add_river, draw_rivers
from .tropical import draw_disturbances, storms_of
from .vortex import FASTEST, Vortex, add_vortex, turned_back

LOWEST_LEVEL = 0.9926  # of the surface pressure: the middle of CAM5's lowest layer, about 60 m up
MOST_WATER = 75.0  # kg/m2: more than columns are observed to hold
HEAVIEST_RAIN = 9.9e-6  # m/s, 36 mm/h
DAILY_SWING, HOTTEST_HOUR = 7.0, 14.0  # K by which land warms at noon; local time
SKIN_SHARE = 0.4  # of the difference between sea and air that is left at reference height
GUSTS = 7e4  # m2/s, standard deviation of the stream function: winds of about 1 m/s
SPECK_T500, SPECK_WATER = 0.2, 0.025  # K, and a share
VISIBLE = 1 / 3  # of a box must lie inside the frame


def make_frame(
    when: np.datetime64, grid: Grid, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Make a frame of synthetic weather.

    The same generator makes the same planet, whatever part of it the grid shows; only what the
    grid resolves of tropical cyclones, and of fronts, depends on its spacing.

    Parameters
    ----------
    when : np.datetime64
        Universal time, 1980 to 2024: it sets the season, the sun, and the tropical cyclones.
    grid : Grid
        Of 0.25 degrees or so; from 1 degree on, storms are but smudges.
    generator : np.random.Generator

    Returns
    -------
    images : np.ndarray of float32, shape (16, H, W)
        Channels and units as in ``channels.py``; rows from south to north.
    boxes : np.ndarray of int32, shape (n, 5), n <= 15
        Rows (ymin, xmin, ymax, xmax, class), pixel edges: tropical storms first, then by
        strength. A box is clipped at the frame's edges, on a globe too: what lies beyond column 0
        is not boxed. Storms of which less than a third would be inside have none.

    Raises
    ------
    UserError
        If there are no storm tracks of that date.
    """
    when = when.astype("datetime64[s]")
    planet = draw_planet(when, generator)
    rivers = draw_rivers(planet.cyclones, generator)
    disturbances = draw_disturbances(planet.mean, generator)
    vortices = storms_of(when, grid.spacing)
    noise = cells(grid, generator)
    air = look(planet, when, grid, turned_back(vortices, grid))
    stir(air, noise)
    air.water = np.minimum(air.water, saturated_column(air.t1000))
    rising = ascent(air.t1000, air.wind_850, air.wind_bottom, grid)
    air.rain += rainfall(air.water, air.t1000, rising, noise)
    for river in rivers:
        add_river(river, air, noise)
    for vortex in (*vortices, *disturbances):
        add_vortex(vortex, air, noise)
    return channels(air, when), boxes(grid, vortices, planet.cyclones, rivers)


def stir(air: Air, noise: np.ndarray) -> None:
    """Add what is smaller than the lattice's waves: gusts, and specks of warmth and moisture."""
    east, north = air.grid.gradient(GUSTS * noise)
    gusts = np.stack([-north, east])  # of a stream function: they neither gather nor part
    air.wind_850 += gusts
    air.wind_bottom += gusts
    air.t500 += SPECK_T500 * noise
    air.t200 -= SPECK_T500 * noise
    air.water *= np.exp(SPECK_WATER * noise)


def channels(air: Air, when: np.datetime64) -> np.ndarray:
    """The sixteen channels (16, H, W), float32, of the air over a grid."""
    mean = air.mean
    surface = _surface_temperature(air, when)
    reference = surface + SKIN_SHARE * (air.t1000 - LAPSE_RATE * mean.orography - surface)
    below = air.t1000 - LAPSE_RATE * mean.orography / 2
    pressure = air.pressure * np.exp(-mean.orography / (METRES_PER_KELVIN * below))
    z1000 = height_1000(air.pressure, air.t1000)
    water = np.clip(air.water, 0, MOST_WATER)
    humid = 0.55 + 0.4 * np.clip(water / saturated_column(air.t1000), 0, 1) - 0.15 * mean.land
    fields = {
        "PRECT": np.clip(air.rain * above_ground(mean.orography), 0, HEAVIEST_RAIN),
        "PS": pressure,
        "PSL": air.pressure,
        "QREFHT": humid * saturation_humidity(reference),
        "T200": air.t200,
        "T500": air.t500,
        "TMQ": water * above_ground(mean.orography),
        "TREFHT": reference,
        "TS": surface,
        "U850": air.wind_850[0],
        "UBOT": air.wind_bottom[0],
        "V850": air.wind_850[1],
        "VBOT": air.wind_bottom[1],
        "Z1000": z1000,
        "Z200": z1000 + thickness_1000_200(air.t1000, air.t500, air.t200),
        "ZBOT": -METRES_PER_KELVIN * reference * np.log(LOWEST_LEVEL),
    }
    return np.stack([fields[name] for name in CHANNEL]).astype(np.float32)


def _surface_temperature(air: Air, when: np.datetime64) -> np.ndarray:
    """Kelvin: the sea's own; the air's over ice and land, where days are warmer than nights."""
    mean, grid = air.mean, air.grid
    hour = float((when - when.astype("datetime64[D]")) / np.timedelta64(1, "h"))
    local = hour + grid.longitudes / 15 - HOTTEST_HOUR
    swing = DAILY_SWING * np.cos(2 * np.pi * local * 3600 / DAY)
    sun = np.cos(np.radians(grid.latitudes))[:, np.newaxis]
    solid = np.maximum(mean.land, mean.frozen)
    weather = solid * (air.t1000 - mean.air) + mean.land * sun * swing
    return mean.skin + weather - LAPSE_RATE * mean.orography


def boxes(
    grid: Grid, vortices: list[Vortex], cyclones: list[Cyclone], rivers: list[River]
) -> np.ndarray:
    """The boxes (n, 5) of the storms that show in a grid, int32.

    Where there are more than a frame has room for, tropical storms come first, being the rarest;
    among the others the strongest.
    """
    ranked: list[tuple[float, tuple[int, ...]]] = []

    def add(strength: float, extent: Extent, kind: int) -> None:
        box = pixel_box(grid, extent)
        if box is not None:
            ranked.append((strength, (*box, kind)))

    for vortex in vortices:
        strength = 1 + vortex.profile[2].max() / FASTEST
        add(strength, vortex.extent, TROPICAL if vortex.is_cyclone else DEPRESSION)
    for cyclone in cyclones:
        if cyclone.labelled:
            add(cyclone.wind / STRONGEST, cyclone.extent, EXTRATROPICAL)
    for river in rivers:
        add(river.water / WATER[1], river.extent, RIVER)
    ranked.sort(key=lambda entry: -entry[0])
    return np.array([box for _, box in ranked[:MOST_BOXES]], np.int32).reshape(-1, 5)


def pixel_box(grid: Grid, extent: Extent) -> tuple[int, int, int, int] | None:
    """Box in pixels (ymin, xmin, ymax, xmax) of an extent; None if too little of it shows."""
    south, north, west, east = extent
    row, column = grid.pixel((south + north) / 2, (west + east) / 2)
    step_y, step_x = np.diff(grid.latitudes[:2])[0], np.diff(grid.longitudes[:2])[0]
    high, wide = (north - south) / step_y, (east - west) / step_x
    edges = np.array([row - high / 2, column - wide / 2, row + high / 2, column + wide / 2])
    inside = np.clip(edges, 0, np.tile(grid.shape, 2))
    visible = (inside[2] - inside[0]) * (inside[3] - inside[1])
    if visible < VISIBLE * high * wide:
        return None
    ymin, xmin = (int(edge) for edge in np.floor(inside[:2]))
    ymax, xmax = (int(edge) for edge in np.ceil(inside[2:]))
    return ymin, xmin, ymax, xmax
