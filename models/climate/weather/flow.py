"""The planet's weather on the coarse lattice: climate, random waves, and the winds they drive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import sphere
from .background import Climate, climate, summer
from .extratropical import Cyclone, draw_cyclones, pressure_anomaly, temperature_anomaly
from .physics import GRAVITY, HECTOPASCAL, METRES_PER_KELVIN, coriolis, height_1000

WAVE_PEAK, WAVE_EXPONENT = 7, 5  # of the height's spectrum: longest waves about 6000 km
MOIST_PEAK, MOIST_EXPONENT = 12, 3  # humidity is patchier than pressure
WAVE_PRESSURE = 6 * HECTOPASCAL  # standard deviation in the storm tracks
WAVE_T500, WAVE_T200 = 3.0, 2.0  # K, likewise
# A wave that grows tilts westward with height: its cold air follows its low by a quarter.
TILT = np.exp(-0.5j * np.pi)
TILTED_SHARE = 0.7  # of the temperature's waves that go with the pressure's

# Rayleigh drag in 1/s: it damps the wind in a day at 850 hPa, in hours near the ground.
DRAG_850, DRAG_SEA, DRAG_LAND = 1.2e-5, 3e-5, 8e-5
MEAN_TEMPERATURE = 288.0  # K, of the air near the ground
LOG_850 = float(np.log(1000 / 850))


@dataclass(frozen=True)
class Planet:
    """The whole sphere's weather on the lattice.

    Attributes
    ----------
    mean : Climate
        On the lattice.
    pressure : np.ndarray, shape (rows, columns)
        At sea level, Pa.
    t500, t200 : np.ndarray, shape (rows, columns)
        What waves and cyclones add to the climate's temperature, K.
    wind_850, wind_bottom : np.ndarray, shape (3, rows, columns)
        Vectors in space, m/s.
    moist : np.ndarray, shape (rows, columns)
        Noise of mean 0 and variance 1, for the humidity.
    cyclones : list of Cyclone
        Which the above contain.
    """

    mean: Climate
    pressure: np.ndarray
    t500: np.ndarray
    t200: np.ndarray
    wind_850: np.ndarray
    wind_bottom: np.ndarray
    moist: np.ndarray
    cyclones: list[Cyclone]


def draw_planet(when: np.datetime64, generator: np.random.Generator) -> Planet:
    """Draw the sphere's weather of a date."""
    mean = climate(when, sphere.LATITUDES, sphere.LONGITUDES)
    warm = summer(when, sphere.LATITUDES)[:, np.newaxis]
    track = storminess(sphere.LATITUDES[:, np.newaxis], warm)
    spectrum = sphere.power_law(WAVE_PEAK, WAVE_EXPONENT)
    wave = sphere.draw_coefficients(spectrum, generator)
    other = sphere.draw_coefficients(spectrum, generator)
    # Pressure is low where the wave is high; orders above 0 carry the phase.
    tilted = TILTED_SHARE * np.concatenate([wave[:, :1].real, wave[:, 1:] * TILT], axis=1)
    warmth = sphere.synthesize(tilted + np.sqrt(1 - TILTED_SHARE**2) * other)
    cyclones = draw_cyclones(mean, warm, generator)
    pressure = mean.pressure - WAVE_PRESSURE * track * sphere.synthesize(wave)
    pressure += sum(pressure_anomaly(cyclone, sphere.LATTICE.points) for cyclone in cyclones)
    cold = sum(temperature_anomaly(cyclone, sphere.LATTICE.points) for cyclone in cyclones)
    t500 = WAVE_T500 * track * warmth + cold
    wind_850, wind_bottom = balanced_winds(pressure, mean)
    return Planet(
        mean=mean,
        pressure=pressure,
        t500=t500,
        # Where the troposphere is cold, the tropopause is low, and 200 hPa in the stratosphere.
        t200=-0.5 * t500 + WAVE_T200 * track * sphere.draw_field(spectrum, generator),
        wind_850=wind_850,
        wind_bottom=wind_bottom,
        moist=sphere.draw_field(sphere.power_law(MOIST_PEAK, MOIST_EXPONENT), generator),
        cyclones=cyclones,
    )


def storminess(latitudes: np.ndarray, warm: np.ndarray) -> np.ndarray:
    """How strong waves are, as a share of those in a storm track: calm in the tropics."""
    outside = (1 + np.tanh((np.abs(latitudes) - 30) / 8)) / 2
    return (0.25 + 0.75 * outside) * (1 - 0.2 * warm)


def balanced_winds(pressure: np.ndarray, mean: Climate) -> tuple[np.ndarray, np.ndarray]:
    """Winds at 850 hPa and at the lowest level, (3, rows, columns), of a sea-level pressure.

    The lowest level feels the slope of the 1000 hPa height alone, 850 hPa also that of the layer's
    thickness, which is taken to go with the temperature at 500 hPa. The ground's shape is left
    out, as in sea-level pressure.
    """
    bottom = GRAVITY * height_1000(pressure, MEAN_TEMPERATURE)
    aloft = bottom + GRAVITY * METRES_PER_KELVIN * LOG_850 * mean.t500
    drag = DRAG_SEA + (DRAG_LAND - DRAG_SEA) * mean.land
    return damped_geostrophic(aloft, DRAG_850), damped_geostrophic(bottom, drag)


def damped_geostrophic(geopotential: np.ndarray, drag: np.ndarray | float) -> np.ndarray:
    """Steady wind (3, rows, columns) where pressure, the Coriolis force and drag balance.

    From f v = dphi/dx + drag u and -f u = dphi/dy + drag v (HH 8.3: the mixed layer, with linear
    drag). Where f is large it is geostrophic, turned towards low pressure by atan(drag / f); at
    the equator it flows down the slope.
    """
    east, north = sphere.gradient(geopotential)
    f = coriolis(sphere.LATITUDES)[:, np.newaxis]
    strength = f**2 + np.square(drag)
    u = -(drag * east + f * north) / strength
    v = (f * east - drag * north) / strength
    return sphere.to_space(np.stack([u, v]))
