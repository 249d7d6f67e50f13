"""Water: how moist the air is, and where it rains."""

from __future__ import annotations

import numpy as np

from .background import Climate
from .grid import Grid
from .physics import (
    EARTH_RADIUS,
    GRAVITY,
    KILOMETRE,
    MILLIMETRE_PER_HOUR,
    REFERENCE_PRESSURE,
    saturation_humidity,
)

MOIST_LAYER = 0.27  # of the surface's humidity times the air's mass: a saturated column's water
WATER_HEIGHT = 2300.0  # m, over which the humidity falls to 1/e
GROUND_HEIGHT = 3500.0  # m, likewise over rising ground, which warms the air
FRICTION_LAYER = 1000.0  # m, whose convergence lifts the air above
STABILITY = 3.5e-3  # K/m, by which the potential temperature rises in a common troposphere
FASTEST = 0.10  # m/s, the strongest ascent over an area of 25 km
NOISE = 0.11  # standard deviation of the relative humidity
CONVECTION = 7.5 * MILLIMETRE_PER_HOUR  # where cells and the column are at their best
CELL_SIZE = 90 * KILOMETRE  # of clusters of convection
CUBE = 48  # cells a side of the noise that is laid through the sphere


def saturated_column(temperature: np.ndarray) -> np.ndarray:
    """Water vapour in kg/m2 of a column saturated throughout, by its temperature at sea level."""
    return MOIST_LAYER * saturation_humidity(temperature) * REFERENCE_PRESSURE / GRAVITY


def above_ground(orography: np.ndarray) -> np.ndarray:
    """Share of a column's water, were it to reach down to the sea, that is above the ground."""
    return np.exp(-orography / GROUND_HEIGHT)


def relative_humidity(mean: Climate, noise: np.ndarray) -> np.ndarray:
    """Of the column, as a share: moist over the warmest seas and in high latitudes.

    Air rises over the warmest sea, above 299 K or so, and sinks beside it (HH 10.1 and 11.1). The
    numbers are chosen: with them the globe's mean column holds about 24 kg/m2, as observed.

    Parameters
    ----------
    mean : Climate
    noise : np.ndarray
        Of mean 0 and variance 1.
    """
    warmest = 1 / (1 + np.exp(-(mean.air - 299.8) / 0.7))
    cool = 1 / (1 + np.exp((mean.air - 288) / 4))
    dry_land = 0.10 * mean.land * (1 - cool)
    return np.clip(0.54 + 0.23 * warmest + 0.20 * cool - dry_land + NOISE * noise, 0.08, 1.0)


def cells(grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Isotropic noise (H, W) of mean 0 and variance 1 with cells of about ``CELL_SIZE``.

    The sphere is laid through a cube of noise that repeats itself: no pole is special, and the
    same generator gives the same noise on every grid.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    cube = gaussian_filter(generator.standard_normal((CUBE, CUBE, CUBE)), 0.8, mode="wrap")
    places = grid.points * (EARTH_RADIUS / CELL_SIZE)
    return map_coordinates(cube / cube.std(), places, order=1, mode="grid-wrap")


def ascent(
    temperature: np.ndarray, wind_850: np.ndarray, wind_bottom: np.ndarray, grid: Grid
) -> np.ndarray:
    """Vertical wind in m/s: friction's convergence below, and warm air gliding over cold.

    The first is Ekman pumping (HH 8.3.4), the second the omega equation's warm advection, with
    the air rising as fast as it keeps its temperature (HH 6.4).
    """
    east, north = grid.gradient(temperature)
    gliding = -(wind_850[0] * east + wind_850[1] * north) / STABILITY
    cosine = np.cos(np.radians(grid.latitudes))[:, np.newaxis]
    # div V = du/dx + d(v cos(latitude))/dy / cos(latitude)
    divergence = grid.gradient(wind_bottom[0])[0]
    divergence += grid.gradient(wind_bottom[1] * cosine)[1] / cosine
    return np.clip(gliding - FRICTION_LAYER * divergence, -FASTEST, FASTEST)


def rainfall(
    water: np.ndarray, temperature: np.ndarray, rising: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Rain and snow in m/s, of columns of water (kg/m2) that rise (m/s), and of convection.

    What condenses is the vapour's vertical gradient times the ascent: water / height * w, once the
    column is nearly saturated. Convection fires in cells over warm and moist columns. The
    thresholds are chosen such that it rains 2 to 3.5 mm a day over the globe; observed are 2.7.
    """
    humidity = water / saturated_column(temperature)
    moist = 1 / (1 + np.exp(-(humidity - 0.67) / 0.06))
    frontal = moist * np.maximum(rising, 0) * water / 1000 / WATER_HEIGHT
    warm = 1 / (1 + np.exp(-(temperature - 296) / 2))
    firing = np.maximum(noise + 8 * (humidity - 0.85) + 10 * rising, 0) ** 2 / 10
    return frontal * np.exp(0.4 * noise) + CONVECTION * warm * moist * np.minimum(firing, 1)
