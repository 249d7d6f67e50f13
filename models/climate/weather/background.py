"""The climate of a date: sea, land and orography from data, the air above from simple profiles.

Sea-surface temperatures are NOAA's monthly means of 1991 to 2020 (OI SST V2), orography is ETOPO
2022, and the land mask goes with it: one and two degrees, as the package climt brings them. The
air's profiles are simple shapes chosen to resemble the zonal means of textbooks (HH chapters 6
and 10); they are fitted to no reanalysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minidl.errors import UserError

from .physics import FREEZING, GRAVITY, HECTOPASCAL

SEA_DATA = "data_ocean/earth_sst_climatology_1deg.nc"
LAND_DATA = "land_mask/earth_landmask_2deg.nc"
OROGRAPHY_DATA = "topography/earth_topography_2deg.nc"
MIXING_SCALE = 4.0  # degrees over which the air mixes what is different below
SOLSTICE_LAG = 200  # day of the year of the northern summer's height
# Sea water freezes at -1.8 degrees: colder than the first, ice begins; than the second, it is shut.
ICE_BEGINS, ICE_IS_SHUT = FREEZING - 0.8, FREEZING - 1.7
OPEN_SEA = FREEZING + 3  # above that, the air has nothing of ice
THERMAL_LOW = -0.7 * HECTOPASCAL  # per kelvin that a continent is warmer than its latitude


@dataclass(frozen=True)
class Climate:
    """What a date's mean state is at some points, all arrays (H, W).

    Attributes
    ----------
    land : np.ndarray
        1 on land, 0 at sea, in between at coasts.
    orography : np.ndarray
        Height of the ground in metres.
    frozen : np.ndarray
        Share of the sea that is ice, 0 to 1.
    skin : np.ndarray
        Temperature of the sea's surface, of ice, and of land if it lay at sea level, K.
    air, t500, t200 : np.ndarray
        Temperature of the air at sea level, 500 and 200 hPa, K; it knows no sharp coasts.
    pressure : np.ndarray
        At sea level, Pa.
    """

    land: np.ndarray
    orography: np.ndarray
    frozen: np.ndarray
    skin: np.ndarray
    air: np.ndarray
    t500: np.ndarray
    t200: np.ndarray
    pressure: np.ndarray


def summer(when: np.datetime64, latitudes: np.ndarray) -> np.ndarray:
    """How much it is summer at these latitudes: 1 at its height, -1 in winter, 0 at the equator."""
    day = (when.astype("datetime64[D]") - when.astype("datetime64[Y]")).astype(int)
    north = np.cos(2 * np.pi * (day - SOLSTICE_LAG) / 365.25)
    return north * np.tanh(latitudes / 15)


def climate(when: np.datetime64, latitudes: np.ndarray, longitudes: np.ndarray) -> Climate:
    """The climate of a date at the points of rows of latitude and columns of longitude."""
    data = _data()

    def at(field: np.ndarray) -> np.ndarray:
        return _sample(field, latitudes, longitudes)

    warm = summer(when, latitudes)[:, np.newaxis]
    sine = np.abs(np.sin(np.radians(latitudes)))[:, np.newaxis]
    # The mask has cells of two degrees: a coast is where it is half land.
    land = np.clip(3 * (at(data["land"]) - 0.5) + 0.5, 0, 1)
    sea = at(_of_the_month(data["sea"], when))
    frozen = np.clip((ICE_BEGINS - sea) / (ICE_BEGINS - ICE_IS_SHUT), 0, 1)
    continent = at(data["continent"])
    ground = 300 - 44 * sine**3 + 26 * sine**2 * warm * (0.2 + 0.8 * np.maximum(continent, land))
    ice = 300 - 44 * sine**3 + 14 * sine**2 * warm
    water = frozen * ice + (1 - frozen) * sea
    # The air above knows no sharp edges, of ice neither.
    mixed = at(_of_the_month(data["mixed sea"], when))
    cold = np.clip((OPEN_SEA - mixed) / (OPEN_SEA - ICE_IS_SHUT), 0, 1)
    above = cold * ice + (1 - cold) * (mixed - 1)
    # Towards the poles, coasts lie so close that no pressure would keep up with them.
    anomaly = 26 * sine**2 * warm * continent * np.minimum(1, 2 * np.sqrt(1 - sine**2))
    return Climate(
        land=land,
        orography=np.maximum(at(data["orography"]), 0) * land,
        frozen=frozen,
        skin=land * ground + (1 - land) * water,
        air=continent * ground + (1 - continent) * above,
        t500=_t500(latitudes[:, np.newaxis], warm) + 0.2 * anomaly,
        t200=np.broadcast_to(_t200(latitudes[:, np.newaxis], warm), land.shape),
        pressure=_pressure(latitudes[:, np.newaxis], warm) + THERMAL_LOW * anomaly,
    )


def _t500(latitude: np.ndarray, warm: np.ndarray) -> np.ndarray:
    """Kelvin at 500 hPa: a warm belt, a front at the jet's latitude, and a cold cap."""
    front = (1 + np.tanh((np.abs(latitude) - 42 - 5 * warm) / 15)) / 2
    return 268 - (31 - 6 * warm) * front


def _t200(latitude: np.ndarray, warm: np.ndarray) -> np.ndarray:
    """Kelvin at 200 hPa: warmest where the tropopause is low and the stratosphere lit."""
    middle = np.exp(-(((np.abs(latitude) - 50) / 20) ** 2))
    return 219 + 4 * middle + (9 * warm - 1) * np.sin(np.radians(latitude)) ** 4


def _pressure(latitude: np.ndarray, warm: np.ndarray) -> np.ndarray:
    """Pascal at sea level: subtropical highs, subpolar lows (deeper in the south), polar highs."""
    polewards = np.abs(latitude) - 2 * warm
    highs = 9 * np.exp(-(((polewards - 33) / 11) ** 2))
    lows = np.where(latitude > 0, 9 - 5 * warm, 25) * np.exp(-(((polewards - 63) / 12) ** 2))
    cap = np.where(latitude > 0, 3, -17) * np.clip((np.abs(latitude) - 60) / 15, 0, 1)
    return HECTOPASCAL * (1011 + highs - lows + cap)


def _of_the_month(monthly: np.ndarray, when: np.datetime64) -> np.ndarray:
    """Interpolate between months' means, which stand for the middle of the month."""
    month = when.astype("datetime64[M]")
    length = (month + 1).astype("datetime64[s]") - month.astype("datetime64[s]")
    share = float((when - month) / length) - 0.5
    first = int(month.astype(int)) % 12 + int(np.floor(share))
    share %= 1
    return (1 - share) * monthly[first % 12] + share * monthly[(first + 1) % 12]


def _sample(field: np.ndarray, latitudes: np.ndarray, longitudes: np.ndarray) -> np.ndarray:
    """Linear in latitude and longitude between cells that cover the sphere from the south pole.

    Both poles get the mean of their row.
    """
    rows, columns = field.shape
    south, north = (np.full(columns, row.mean()) for row in (field[0], field[-1]))
    field = np.vstack([south, field, north])
    cells = (np.arange(rows) + 0.5) * 180 / rows - 90
    below, share = _neighbours(np.concatenate([[-90], cells, [90]]), latitudes)
    field = (1 - share)[:, np.newaxis] * field[below] + share[:, np.newaxis] * field[below + 1]
    place = (longitudes % 360) * columns / 360 - 0.5
    left = np.floor(place).astype(int)
    share = place - left
    return (1 - share) * field[:, left % columns] + share * field[:, (left + 1) % columns]


def _neighbours(axis: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the axis' point at or below each value, and how far it is to the next, 0 to 1."""
    below = np.clip(np.searchsorted(axis, values, side="right") - 1, 0, len(axis) - 2)
    return below, (values - axis[below]) / (axis[below + 1] - axis[below])


@cache
def _data() -> dict[str, np.ndarray]:
    """The package climt's data, rows from south to north; read without importing climt itself."""
    from scipy.io import netcdf_file
    from scipy.ndimage import gaussian_filter

    package = find_spec("climt")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "synthetic weather needs the package climt for sea temperatures and orography; "
            "install minidl[climate]"
        )
    folder = Path(package.submodule_search_locations[0]) / "_data"

    def read(name: str, variable: str) -> np.ndarray:
        with netcdf_file(folder / name, mmap=False) as file:
            field = file.variables[variable][:].astype(np.float64)
            north_first = file.variables["lat"][0] > 0
        return field[..., ::-1, :] if north_first else field

    def mix(field: np.ndarray) -> np.ndarray:
        cells = MIXING_SCALE * field.shape[-2] / 180
        return gaussian_filter(field, cells, mode=("nearest", "wrap"), axes=(-2, -1))

    land = (read(LAND_DATA, "area_type_code") > 0).astype(np.float64)
    sea = read(SEA_DATA, "tos") + FREEZING
    return {
        "sea": sea,
        "mixed sea": mix(sea),
        "land": land,
        "continent": mix(land),
        "orography": read(OROGRAPHY_DATA, "surface_geopotential") / GRAVITY,
    }
