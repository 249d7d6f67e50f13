"""Atmospheric rivers: filaments of moisture from the subtropics into a cyclone's warm sector.

Longer than 2000 km and narrower than 1000 km, as the glossary of the American Meteorological
Society and the detectors of the field have it (F. Ralph et al., Bull. Amer. Meteor. Soc. 99
(2018)). One runs ahead of a cyclone's cold front, with the low-level jet and its rain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .air import Air
from .extratropical import Cyclone
from .grid import Extent, extent_of, from_plane, latitude_longitude
from .moisture import saturated_column
from .physics import EARTH_RADIUS, KILOMETRE, MILLIMETRE_PER_HOUR

NEAREST = 34.0  # degrees from the equator, of a cyclone with a river
CHANCE = 0.4  # that a cyclone with a label has a river
POINTS = 60  # of a river's course
LENGTH = (2400 * KILOMETRE, 4200 * KILOMETRE)  # between the ends, as the crow flies
BEARING = (np.radians(35), np.radians(65))  # of the source, westward of the equator's direction
BULGE = 0.16  # of the length, to the cyclone's far side
HALF_WIDTH = (110 * KILOMETRE, 190 * KILOMETRE)  # standard deviation across
WATER = (13.0, 25.0)  # kg/m2 above the surroundings, at its moistest
JET = (7.0, 15.0)  # m/s at 850 hPa
BOTTOM_SHARE = 0.6  # of the jet at the lowest level
WARMTH = 2.5  # K, of the air in it
RAIN = 2.0 * MILLIMETRE_PER_HOUR
SATURATED = (
    1.2  # the column's relative humidity, at most: aloft, a river is warmer than it should be
)
EDGE = 0.5  # of the excess of water, at the edge of a box
FADE = 0.12  # share of the length over which it fades at either end


@dataclass(frozen=True)
class River:
    """A river: its course, unit vectors (3, POINTS) from source to end, and its strength."""

    course: np.ndarray
    half_width: float
    water: float
    jet: float

    @property
    def strength(self) -> np.ndarray:
        """Share (POINTS,) of full strength along the course: fading at both ends."""
        along = np.linspace(0, 1, POINTS)
        return np.sin(np.pi / 2 * np.clip(np.minimum(along, 1 - along) / FADE, 0, 1))

    @property
    def flow(self) -> np.ndarray:
        """Unit vectors (3, POINTS) along the course, tangent to the sphere."""
        flow = np.gradient(self.course, axis=1)
        return flow / np.sqrt((flow**2).sum(axis=0))

    @property
    def extent(self) -> Extent:
        """Where the excess of water is more than ``EDGE`` of its greatest."""
        course, flow = self.course[:, self.strength >= EDGE], self.flow[:, self.strength >= EDGE]
        across = np.cross(course, flow, axis=0)
        angle = self.half_width * np.sqrt(-2 * np.log(EDGE)) / EARTH_RADIUS
        banks = [np.cos(angle) * course + side * np.sin(angle) * across for side in (-1, 1)]
        return extent_of(np.concatenate([banks[0], banks[1][:, ::-1]], axis=1))


def draw_rivers(cyclones: list[Cyclone], generator: np.random.Generator) -> list[River]:
    """Draw the rivers that feed these cyclones."""
    # Every cyclone draws its numbers, whether it has a river or not.
    draws = [(cyclone, generator.random(6)) for cyclone in cyclones]
    return [
        _river(cyclone, *chances)
        for cyclone, (has, *chances) in draws
        if cyclone.labelled and abs(cyclone.latitude) > NEAREST and has < CHANCE
    ]


def _river(
    cyclone: Cyclone, length: float, bearing: float, width: float, water: float, jet: float
) -> River:
    """A bow from the subtropics to ahead of the centre, by chances from 0 to 1."""
    length, bearing, width, water, jet = (
        low + chance * (high - low)
        for chance, (low, high) in zip(
            (length, bearing, width, water, jet),
            (LENGTH, BEARING, HALF_WIDTH, WATER, JET),
            strict=True,
        )
    )
    # On the plane about the cyclone, x eastward and y polewards, in metres.
    end = np.array([0.9, 0.5]) * cyclone.radius
    source = end - length * np.array([np.sin(bearing), np.cos(bearing)])
    # A source beyond the equator would be no source of this hemisphere's.
    limit = -EARTH_RADIUS * np.radians(abs(cyclone.latitude) - 12)
    source[1] = max(source[1], limit)
    across = np.array([np.cos(bearing), -np.sin(bearing)])
    middle = (source + end) / 2 + BULGE * 2 * length * across
    t = np.linspace(0, 1, POINTS)
    plane = np.outer(source, (1 - t) ** 2) + np.outer(middle, 2 * t * (1 - t)) + np.outer(end, t**2)
    plane[1] *= np.sign(cyclone.latitude)
    course = from_plane(plane, cyclone.latitude, cyclone.longitude)
    return River(course, width, water, jet)


def add_river(river: River, air: Air, noise: np.ndarray) -> None:
    """Put a river into the air: water, warmth, a low-level jet, and rain in cells."""
    middle = river.course.mean(axis=1)
    middle /= np.sqrt((middle**2).sum())
    # To the farthest point of the course, and four half widths beyond.
    radius = EARTH_RADIUS * np.arccos(np.clip((middle @ river.course).min(), -1, 1))
    latitude, longitude = latitude_longitude(middle)
    rows, columns = air.grid.window(
        float(latitude), float(longitude), float(radius + 4 * river.half_width)
    )
    points = air.grid.points[:, rows, columns]
    if points.size == 0:
        return
    closeness = np.tensordot(points, river.course, axes=(0, 0))
    nearest = closeness.argmax(axis=-1)
    distance = EARTH_RADIUS * np.arccos(np.clip(closeness.max(axis=-1), -1, 1))
    across = np.exp(-0.5 * (distance / river.half_width) ** 2)
    excess = across * river.strength[nearest]
    t1000 = air.t1000[rows, columns] + WARMTH * excess
    air.t1000[rows, columns] = t1000
    water = air.water[rows, columns]
    most = np.maximum(SATURATED * saturated_column(t1000), water)
    air.water[rows, columns] = np.minimum(water + river.water * excess, most)
    jet = river.jet * excess * river.flow[:, nearest]
    jet = np.einsum("x...,cx...->c...", jet, air.grid.directions[:, :, rows, columns])
    air.wind_850[:, rows, columns] += jet
    air.wind_bottom[:, rows, columns] += BOTTOM_SHARE * jet
    patches = np.clip(1 + 0.6 * noise[rows, columns], 0, None)
    air.rain[rows, columns] += RAIN * excess**2 * patches * river.water / WATER[1]
