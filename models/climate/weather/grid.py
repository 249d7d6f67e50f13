"""Where a frame's pixels lie on the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from minidl.errors import UserError

from .physics import EARTH_RADIUS

SMALLEST = 8  # pixels a side; fewer show no weather


def unit_vectors(latitude: np.ndarray | float, longitude: np.ndarray | float) -> np.ndarray:
    """Points of the unit sphere, shape (3, ...), at these degrees."""
    phi, lam = np.broadcast_arrays(np.radians(latitude), np.radians(longitude))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


def latitude_longitude(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of unit vectors (3, ...); longitudes from 0 to 360."""
    x, y, z = points
    return np.degrees(np.arcsin(np.clip(z, -1, 1))), np.degrees(np.arctan2(y, x)) % 360


def distance(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Metres along the great circle from points (3, ...) to a centre (3,)."""
    return EARTH_RADIUS * np.arccos(np.clip(np.tensordot(centre, points, axes=1), -1, 1))


def around(points: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Polar coordinates of points (3, ...) about a centre (3,).

    Returns
    -------
    distance : np.ndarray
        Metres along the great circle.
    turning, outward : np.ndarray, shape (3, ...)
        Unit vectors, tangent to the sphere: anticlockwise around the centre, and away from it.
    """
    across = np.cross(centre, points, axisb=0, axisc=0)
    sine = np.sqrt((across**2).sum(axis=0))
    distance = EARTH_RADIUS * np.arctan2(sine, np.tensordot(centre, points, axes=1))
    turning = across / np.maximum(sine, 1e-12)
    return distance, turning, np.cross(turning, points, axis=0)


def to_plane(points: np.ndarray, latitude: float, longitude: float) -> np.ndarray:
    """Metres (2, ...) east and north of a centre, along great circles, of points (3, ...)."""
    away = distance(points, unit_vectors(latitude, longitude))
    direction = np.tensordot(_tangents(latitude, longitude), points, axes=1)
    # np.sinc(x) is sin(pi x) / (pi x); opposite the centre there is no direction.
    return direction * EARTH_RADIUS / np.maximum(np.sinc(away / EARTH_RADIUS / np.pi), 1e-6)


def from_plane(plane: np.ndarray, latitude: float, longitude: float) -> np.ndarray:
    """Points (3, n) at metres (2, n) east and north of a centre: the inverse of ``to_plane``."""
    angle = np.sqrt((plane**2).sum(axis=0)) / EARTH_RADIUS
    direction = _tangents(latitude, longitude).T @ plane / EARTH_RADIUS
    centre = unit_vectors(latitude, longitude)[:, np.newaxis]
    return np.cos(angle) * centre + np.sinc(angle / np.pi) * direction


def _tangents(latitude: float, longitude: float) -> np.ndarray:
    """Unit vectors (2, 3) to the east and to the north of a point."""
    # North of a point is where one arrives after a quarter of a meridian.
    return np.stack([unit_vectors(0.0, longitude + 90), unit_vectors(latitude + 90, longitude)])


class Extent(NamedTuple):
    """A range of latitudes and longitudes in degrees; west < east, whatever the turn."""

    south: float
    north: float
    west: float
    east: float


def extent_of(outline: np.ndarray) -> Extent:
    """The extent of a storm by its outline: unit vectors (3, n), each next to the one before."""
    latitude, longitude = latitude_longitude(outline)
    longitude = np.unwrap(longitude, period=360)
    ends = (latitude.min(), latitude.max(), longitude.min(), longitude.max())
    return Extent(*(float(end) for end in ends))


def ellipse(
    latitude: float, longitude: float, axes: tuple[float, float], tilt: float = 0.0
) -> np.ndarray:
    """Outline (3, 64) of an ellipse about a centre.

    Parameters
    ----------
    axes : tuple of float
        The two half axes in metres.
    tilt : float
        Angle in radians of the first axis, from east to north.
    """
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    along, across = axes[0] * np.cos(angle), axes[1] * np.sin(angle)
    sine, cosine = np.sin(tilt), np.cos(tilt)
    plane = np.stack([cosine * along - sine * across, sine * along + cosine * across])
    return from_plane(plane, latitude, longitude)


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixels in rows of equal latitude, from south to north, and columns eastward.

    Attributes
    ----------
    latitudes, longitudes : np.ndarray, shapes (H,) and (W,)
        Of the pixels' centres, in degrees, evenly spaced and rising.
    """

    latitudes: np.ndarray
    longitudes: np.ndarray

    @classmethod
    def globe(cls, rows: int, columns: int) -> Grid:
        """The whole sphere, as climate models of finite volume have it.

        The first row's pixels lie at the south pole, the last row's at the north pole; the first
        column is longitude 0.

        Raises
        ------
        UserError
            For less than 8 rows or columns.
        """
        _check_size(rows, columns)
        return cls(np.linspace(-90, 90, rows), np.arange(columns) * 360 / columns)

    @classmethod
    def region(
        cls, south: float, north: float, west: float, east: float, rows: int, columns: int
    ) -> Grid:
        """A part of the sphere between these degrees, which are the outer pixels' edges.

        Raises
        ------
        UserError
            If south is not below north within -90 to 90, or east not beyond west by at most 360
            degrees, or for less than 8 rows or columns.
        """
        _check_size(rows, columns)
        if not -90 <= south < north <= 90:
            raise UserError(
                f"a region from latitude {south} to {north}; expected -90 <= south < north <= 90"
            )
        if not west < east <= west + 360:
            raise UserError(
                f"a region from longitude {west} to {east}; expected west < east <= west + 360"
            )
        return cls(
            south + (np.arange(rows) + 0.5) * (north - south) / rows,
            west + (np.arange(columns) + 0.5) * (east - west) / columns,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.latitudes), len(self.longitudes)

    @property
    def spacing(self) -> float:
        """Degrees between rows or columns, whichever is more."""
        return float(max(np.diff(self.latitudes[:2])[0], np.diff(self.longitudes[:2])[0]))

    @cached_property
    def points(self) -> np.ndarray:
        """Unit vectors of the pixels' centres, shape (3, H, W)."""
        return unit_vectors(self.latitudes[:, np.newaxis], self.longitudes)

    @cached_property
    def directions(self) -> np.ndarray:
        """Unit vectors to the east and to the north, shape (2, 3, H, W)."""
        shape = (3, *self.shape)
        east = unit_vectors(0.0, self.longitudes + 90)[:, np.newaxis]
        # North of a point is where one arrives after a quarter of a meridian.
        north = unit_vectors(self.latitudes[:, np.newaxis] + 90, self.longitudes)
        return np.stack([np.broadcast_to(east, shape), north])

    def window(self, latitude: float, longitude: float, radius: float) -> tuple[np.ndarray, ...]:
        """Index of the rows and columns within ``radius`` metres of a point, as of ``np.ix_``."""
        reach = np.degrees(radius / EARTH_RADIUS)
        wide = 180.0  # degrees of longitude to either side: all of them where a pole is within
        if abs(latitude) + reach < 90:
            ratio = np.sin(np.radians(reach)) / np.cos(np.radians(latitude))
            wide = np.degrees(np.arcsin(ratio))
        away = (self.longitudes - longitude + 180) % 360 - 180
        rows = np.flatnonzero(np.abs(self.latitudes - latitude) <= reach)
        return np.ix_(rows, np.flatnonzero(np.abs(away) <= wide))

    def pixel(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Row and column of a point as continuous coordinates: a pixel's edges are integers.

        Of the longitude's turns, that nearest to the middle of the grid is taken; a point at
        row -0.5 lies half a pixel south of the frame.
        """
        middle = (self.longitudes[0] + self.longitudes[-1]) / 2
        away = (longitude - middle + 180) % 360 - 180
        row = (latitude - self.latitudes[0]) / np.diff(self.latitudes[:2])[0]
        column = (middle + away - self.longitudes[0]) / np.diff(self.longitudes[:2])[0]
        return float(row + 0.5), float(column + 0.5)

    def gradient(self, field: np.ndarray) -> np.ndarray:
        """Derivatives of a field (H, W) per metre to the east and to the north, (2, H, W).

        At a pole, where there is no east, both are 0.
        """
        north, east = np.gradient(
            field,
            EARTH_RADIUS * np.radians(self.latitudes),
            EARTH_RADIUS * np.radians(self.longitudes),
        )
        cosine = np.cos(np.radians(self.latitudes))
        at_pole = np.isclose(np.abs(self.latitudes), 90)
        slopes = np.stack([east / np.where(at_pole, np.inf, cosine)[:, np.newaxis], north])
        slopes[:, at_pole] = 0
        return slopes


def _check_size(rows: int, columns: int) -> None:
    if min(rows, columns) < SMALLEST:
        raise UserError(
            f"a grid of {rows} x {columns} pixels; expected at least {SMALLEST} x {SMALLEST}"
        )
