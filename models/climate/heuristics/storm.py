"""A frame to find storms in, and a storm that was found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .sphere import DEGREE, Box, Disc, Point, Sphere, basin, disc

HIGH_TERRAIN = 850e2  # Pa of surface pressure: 1500 m, above which sea-level pressure is a guess


class Frame(NamedTuple):
    """Fields of one time by the names of ``channels``, shape (H, W); NaN is "nothing here"."""

    sphere: Sphere
    fields: dict[str, np.ndarray]

    def closed(self, field: np.ndarray, centre: Point, rise: float, radius: float) -> bool:
        """Does a field rise so far all around a centre, within a radius in degrees?"""
        return basin(field, disc(self.sphere, centre, radius), rise) is not None

    def strongest_wind(self, around: Disc) -> float:
        """The strongest wind near the surface in a disc, m/s; 0 where none is known."""
        east, north = (self.fields[name][around.window] for name in ("UBOT", "VBOT"))
        return float(np.nan_to_num(np.hypot(east, north))[around.inside].max())

    def vorticity(self) -> np.ndarray:
        """Relative vorticity at 850 hPa, 1/s, that of a cyclone positive in both hemispheres.

        Source: J. R. Holton and G. J. Hakim, An Introduction to Dynamic Meteorology (2013),
        chapter 4, on the sphere: (dv/dlambda - d(u cos phi)/dphi) / (a cos phi).
        """
        latitude, longitude = self.sphere
        narrowing = self.sphere.narrowing
        rotation = np.gradient(self.fields["V850"], longitude * DEGREE, axis=1)
        rotation -= np.gradient(self.fields["U850"] * narrowing, latitude * DEGREE, axis=0)
        return rotation / narrowing * np.sign(latitude)[:, None]

    def high(self) -> np.ndarray:
        """Where terrain is too high for sea-level pressure to mean much."""
        return self.fields["PS"] < HIGH_TERRAIN


class Storm(NamedTuple):
    """A class, a box (ymin, xmin, ymax, xmax in pixels), the strength among its class."""

    kind: int
    box: Box
    strength: float
