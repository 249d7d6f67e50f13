"""Extratropical cyclones: lows that grow where the air is baroclinic, with cold air aloft.

Only their pressure and their upper cold air are put in. Fronts and the comma of cloud come of it,
as in nature: a day's transport around the low winds up the temperature between the subtropics and
the poles (C. Doswell, J. Atmos. Sci. 41 (1984): a vortex makes fronts of a gradient).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import sphere
from .background import Climate
from .grid import Extent, distance, ellipse, extent_of, to_plane, unit_vectors
from .physics import EARTH_RADIUS, KILOMETRE, coriolis

MEAN_NUMBER = 10  # a hemisphere, between summer and winter
WINTER_EXCESS = 0.3  # of the mean number, at the height of winter
TRACK_SOUTH, TRACK_NORTH = 28.0, 60.0  # degrees from the equator where cyclones are born
DRIFT = 12.0  # degrees polewards that they may have gone since
HIGHEST_GROUND = 1500.0  # m: over mountains none is born
APART = 1300 * KILOMETRE  # between two cyclones' centres, at least
RADIUS, RADIUS_SPREAD = 430 * KILOMETRE, 0.25  # median and logarithmic spread of the scale
LONGEST, STEEPEST = 1.35, np.radians(70)  # the long axis' stretch and angle to the east, at most
SMALLEST_RADIUS, LARGEST_RADIUS = 270 * KILOMETRE, 700 * KILOMETRE
# m/s: the geostrophic wind a radius away from the centre says how strong a cyclone is.
WEAKEST, STRONGEST, LABELLED = 7.0, 34.0, 14.0
DENSITY = 1.25  # kg/m3, of air near the ground at middle latitudes
COLDEST = 6.0  # K, the upper air's anomaly in the strongest cyclones
COLD_DISTANCE, COLD_SIZE = 0.7, 1.3  # radii: how far west of the centre, and how wide, it is
EDGE = 0.3  # share of the depth at the edge of a cyclone's box


@dataclass(frozen=True)
class Cyclone:
    """A low, longer along its fronts than across.

    Attributes
    ----------
    latitude, longitude : float
        Of the centre, degrees.
    depth : float
        Pa.
    radius : float
        Scale in metres; times ``stretch`` along the long axis, divided by it along the short one.
    wind : float
        Greatest geostrophic wind of a round low of this depth, m/s.
    stretch, tilt : float
        How long it is, and the long axis' angle in radians from eastward to polewards.
    """

    latitude: float
    longitude: float
    depth: float
    radius: float
    wind: float
    stretch: float
    tilt: float

    @property
    def labelled(self) -> bool:
        """Whether it is strong enough for a box: weaker lows are part of the background."""
        return self.wind >= LABELLED

    @property
    def extent(self) -> Extent:
        """Where the anomaly is at least ``EDGE`` of the depth."""
        reach = self.radius * float(np.sqrt(-2 * np.log(EDGE)))
        axes = (reach * self.stretch, reach / self.stretch)
        tilt = self.tilt * float(np.sign(self.latitude))
        return extent_of(ellipse(self.latitude, self.longitude, axes, tilt))

    @property
    def centre(self) -> np.ndarray:
        """Unit vector (3,) of the centre."""
        return unit_vectors(self.latitude, self.longitude)


def draw_cyclones(mean: Climate, warm: np.ndarray, generator: np.random.Generator) -> list[Cyclone]:
    """Draw both hemispheres' cyclones, more of them in winter, along the storm tracks.

    Parameters
    ----------
    mean : Climate
        On the lattice.
    warm : np.ndarray, shape (rows, 1)
        How much it is summer.
    """
    latitudes = sphere.LATITUDES[:, np.newaxis]
    # The Eady model's growth rate goes with the temperature's slope (HH 7.4); seas feed cyclones.
    slope = np.abs(sphere.gradient(mean.t500)[1])
    likely = slope * np.cos(np.radians(latitudes)) * (1 - 0.7 * mean.land)
    polewards = np.abs(latitudes)
    likely *= (polewards > TRACK_SOUTH) & (polewards < TRACK_NORTH)
    likely *= mean.orography < HIGHEST_GROUND
    cyclones: list[Cyclone] = []
    for hemisphere in (latitudes < 0, latitudes > 0):
        chances = np.where(hemisphere, likely, 0).ravel()
        season = float(warm[0 if hemisphere[0, 0] else -1, 0])
        number = generator.poisson(MEAN_NUMBER * (1 - WINTER_EXCESS * season))
        for index in generator.choice(chances.size, number, p=chances / chances.sum()):
            cyclone = _draw_cyclone(*sphere.lattice_point(index), generator)
            near = [float(distance(other.centre, cyclone.centre)) for other in cyclones]
            if min(near, default=np.inf) > APART:
                cyclones.append(cyclone)
    return cyclones


def _draw_cyclone(latitude: float, longitude: float, generator: np.random.Generator) -> Cyclone:
    """Draw size and strength; the depth follows, as p' = -depth exp(-r^2 / 2 R^2).

    Its slope is steepest at r = R: depth e^(-1/2) / R = density f wind.
    """
    latitude += np.sign(latitude) * generator.uniform(0, DRIFT)
    longitude += generator.uniform(-0.5, 0.5) * sphere.SPACING
    radius = RADIUS * np.exp(RADIUS_SPREAD * generator.standard_normal())
    radius = float(np.clip(radius, SMALLEST_RADIUS, LARGEST_RADIUS))
    wind = float(generator.uniform(WEAKEST, STRONGEST))
    stretch, tilt = 1 + generator.uniform(0, LONGEST - 1), generator.uniform(0, STEEPEST)
    depth = DENSITY * abs(float(coriolis(latitude))) * wind * radius * float(np.exp(0.5))
    return Cyclone(latitude, longitude % 360, depth, radius, wind, stretch, tilt)


def pressure_anomaly(cyclone: Cyclone, points: np.ndarray) -> np.ndarray:
    """Pascal that a cyclone adds to the pressure at points (3, ...)."""
    east, north = to_plane(points, cyclone.latitude, cyclone.longitude) / cyclone.radius
    sine, cosine = np.sin(cyclone.tilt) * np.sign(cyclone.latitude), np.cos(cyclone.tilt)
    along = (cosine * east + sine * north) / cyclone.stretch
    across = (cosine * north - sine * east) * cyclone.stretch
    return -cyclone.depth * np.exp(-0.5 * (along**2 + across**2))


def temperature_anomaly(cyclone: Cyclone, points: np.ndarray) -> np.ndarray:
    """Kelvin that a cyclone adds at 500 hPa: the upper trough's cold air, west of the centre."""
    degrees = np.degrees(COLD_DISTANCE * cyclone.radius / EARTH_RADIUS)
    west = cyclone.longitude - degrees / np.cos(np.radians(cyclone.latitude))
    away = distance(points, unit_vectors(cyclone.latitude, west)) / (COLD_SIZE * cyclone.radius)
    return -COLDEST * cyclone.wind / STRONGEST * np.exp(-0.5 * away**2)
