"""What lies around a point of the sphere: a disc of grid points, and the basin the point is in.

Rules that find storms speak of degrees of a great circle ("within five degrees"), grids of rows
and columns; a column is the narrower the nearer it is to a pole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DEGREE = np.radians(1) * 6.371e6  # m, along a great circle; the earth's mean radius
NARROWEST = 0.02  # of a column at the equator: at a pole itself a column has no width

Box = tuple[int, int, int, int]
Window = tuple[slice, slice]
Point = tuple[int, int]


class Sphere(NamedTuple):
    """The grid: latitude of its rows, longitude of its columns, in degrees, evenly spaced."""

    latitude: np.ndarray
    longitude: np.ndarray

    @property
    def spacing(self) -> tuple[float, float]:
        """Degrees of latitude from row to row, of longitude from column to column."""
        return abs(self.latitude[1] - self.latitude[0]), abs(self.longitude[1] - self.longitude[0])

    @property
    def narrowing(self) -> np.ndarray:
        """A column's width in that of the equator's columns, shape (H, 1)."""
        return np.maximum(np.cos(np.radians(self.latitude)), NARROWEST)[:, None]

    def span(self, row: int, radius: float) -> tuple[int, int]:
        """Rows and columns, rounded up, that a circle of ``radius`` degrees spans either way."""
        height, width = self.spacing
        # The meridians that touch the circle, by the sine rule; over a pole, it meets all.
        sine = np.sin(np.radians(radius)) / self.narrowing[row, 0]
        over_pole = abs(self.latitude[row]) + radius >= 90
        reach = 180.0 if over_pole else np.degrees(np.arcsin(sine))
        return int(np.ceil(radius / height)), int(np.ceil(reach / width))


class Disc(NamedTuple):
    """A window of the grid around a centre.

    Attributes
    ----------
    window : tuple of slice
        Rows and columns, cut at the frame's edges.
    centre : tuple of int
        Row and column within the window.
    distance, bearing : np.ndarray, shape of the window
        Degrees of a great circle from the centre; radians counter-clockwise from east.
    inside : np.ndarray of bool, shape of the window
        Where the distance is at most the radius.
    """

    window: Window
    centre: Point
    distance: np.ndarray
    bearing: np.ndarray
    inside: np.ndarray


def great_circle(
    latitude: np.ndarray, longitude: np.ndarray, to_latitude: np.ndarray, to_longitude: np.ndarray
) -> np.ndarray:
    """Degrees between points that are given in degrees, broadcast: the haversine formula.

    Source: R. W. Sinnott, "Virtues of the haversine", Sky and Telescope 68 (1984), 159.
    """
    phi, to_phi = np.radians(latitude), np.radians(to_latitude)
    turn = np.radians(to_longitude - longitude)
    haversine = np.sin((to_phi - phi) / 2) ** 2
    haversine = haversine + np.cos(phi) * np.cos(to_phi) * np.sin(turn / 2) ** 2
    return 2 * np.degrees(np.arcsin(np.sqrt(np.minimum(haversine, 1))))


def disc(sphere: Sphere, centre: Point, radius: float) -> Disc:
    """The grid points at most ``radius`` degrees from one of them, in a window just larger."""
    row, column = centre
    rows, columns = sphere.span(row, radius)
    top, left = max(row - rows - 1, 0), max(column - columns - 1, 0)
    window = slice(top, row + rows + 2), slice(left, column + columns + 2)
    latitude, longitude = sphere.latitude[window[0]][:, None], sphere.longitude[window[1]]
    here = sphere.latitude[row], sphere.longitude[column]
    distance = great_circle(*here, latitude, longitude)
    bearing = np.arctan2(latitude - here[0], (longitude - here[1]) * sphere.narrowing[row])
    return Disc(window, (row - top, column - left), distance, bearing, distance <= radius)


def basin(field: np.ndarray, around: Disc, depth: float) -> np.ndarray | None:
    """The ground that a flood of ``depth`` over a disc's centre covers, if the disc holds it.

    Parameters
    ----------
    field : np.ndarray
        Of the whole grid. NaN is never covered.

    Returns
    -------
    np.ndarray of bool, shape of the window, or None
        The connected region less than ``depth`` above the centre. None if it leaves the disc: no
        contour of that height closes around the centre. The frame's edge is a wall: what lies
        beyond is not known. Source: the closed-contour criterion of P. Ullrich and C. Zarzycki,
        "TempestExtremes", Geosci. Model Dev. 10 (2017).
    """
    from scipy import ndimage

    ground = field[around.window]
    regions, _ = ndimage.label(ground < ground[around.centre] + depth)
    covered = regions == regions[around.centre]
    return None if np.any(covered & ~around.inside) else covered


def lowest(field: np.ndarray, around: Disc) -> Point | None:
    """Row and column on the grid of a field's minimum in a disc; None where it is all NaN."""
    ground = field[around.window]
    known = np.where(around.inside & ~np.isnan(ground), ground, np.inf)
    row, column = np.unravel_index(known.argmin(), known.shape)
    if not np.isfinite(known[row, column]):
        return None
    return int(row) + around.window[0].start, int(column) + around.window[1].start


def box_of(area: np.ndarray, window: Window) -> Box:
    """The smallest box, as ymin, xmin, ymax, xmax on the grid, around an area of a window."""
    (top, bottom), (left, right) = (np.flatnonzero(area.any(axis=axis))[[0, -1]] for axis in (1, 0))
    y, x = window[0].start, window[1].start
    return y + int(top), x + int(left), y + int(bottom) + 1, x + int(right) + 1
