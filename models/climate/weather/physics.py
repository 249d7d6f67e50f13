"""Constants and textbook formulas of the atmosphere.

Source, unless said otherwise: J. Holton and G. Hakim, "An Introduction to Dynamic Meteorology",
5th edition (2013), here called HH.
"""

from __future__ import annotations

import numpy as np

GRAVITY = 9.80665  # m/s2
GAS_CONSTANT = 287.0  # J/(kg K), of dry air
EARTH_RADIUS = 6.371e6  # m
ROTATION = 7.292e-5  # 1/s, of the Earth
AIR_DENSITY = 1.15  # kg/m3, near the sea's surface in the tropics
LAPSE_RATE = 6.5e-3  # K/m, of the standard atmosphere
FREEZING = 273.15  # K
KILOMETRE = 1e3
HECTOPASCAL = 100.0
DAY = 86400.0  # s
MILLIMETRE_PER_HOUR = 1e-3 / 3600  # m/s
KNOT = 1852 / 3600  # m/s

REFERENCE_PRESSURE = 1000 * HECTOPASCAL
METRES_PER_KELVIN = GAS_CONSTANT / GRAVITY


def coriolis(latitude: np.ndarray | float) -> np.ndarray:
    """Coriolis parameter f = 2 Omega sin(latitude), in 1/s; latitude in degrees (HH 1.3)."""
    return np.asarray(2 * ROTATION * np.sin(np.radians(latitude)))


def saturation_humidity(temperature: np.ndarray) -> np.ndarray:
    """Specific humidity in kg/kg of saturated air at 1000 hPa, temperature in kelvin.

    The vapour's pressure is 6.112 hPa exp(17.67 t / (t + 243.5)), t in Celsius: D. Bolton,
    Mon. Wea. Rev. 108 (1980), eq. 10.
    """
    celsius = temperature - FREEZING
    vapour = 6.112 * HECTOPASCAL * np.exp(17.67 * celsius / (celsius + 243.5))
    return 0.622 * vapour / (REFERENCE_PRESSURE - 0.378 * vapour)


def height_1000(sea_level_pressure: np.ndarray, temperature: np.ndarray | float) -> np.ndarray:
    """Height in metres of the 1000 hPa level over (or below) the sea: hypsometric, HH 1.29."""
    return METRES_PER_KELVIN * temperature * np.log(sea_level_pressure / REFERENCE_PRESSURE)


def thickness_1000_200(t1000: np.ndarray, t500: np.ndarray, t200: np.ndarray) -> np.ndarray:
    """Metres between 1000 and 200 hPa: hypsometric, temperature linear in ln p between levels."""
    lower, upper = np.log(1000 / 500), np.log(500 / 200)
    return METRES_PER_KELVIN * (lower * (t1000 + t500) / 2 + upper * (t500 + t200) / 2)
