"""A coarse lattice of the whole sphere: random fields on it, derivatives, and sampling from it.

Scalars are arrays (rows, columns) whose first and last row are the poles and constant. Velocities
are arrays (3, rows, columns) of vectors in space: unlike their eastward and northward components,
these are smooth across the poles and can be interpolated there.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

from .grid import Grid
from .physics import EARTH_RADIUS

SPACING = 1.5  # degrees
DEGREE = 80  # of the finest spherical harmonic: a wavelength of 500 km, three lattice cells
LATITUDES = np.linspace(-90, 90, 121)
LONGITUDES = np.arange(0, 360, SPACING)
LATTICE = Grid(LATITUDES, LONGITUDES)


@cache
def _legendre() -> np.ndarray:
    """Normalised associated Legendre functions (order, row, degree) at the lattice's rows."""
    from scipy.special import sph_legendre_p_all

    table = sph_legendre_p_all(DEGREE, DEGREE, np.radians(90 - LATITUDES))[0, :, : DEGREE + 1]
    return np.ascontiguousarray(table.transpose(1, 2, 0))


def power_law(peak: int, exponent: float) -> np.ndarray:
    """Variance by degree l, shape (DEGREE + 1,): flat below ``peak``, falling as l^-exponent.

    Degree 0, the mean, has none. A kinetic energy of l^-3, as between 500 and 5000 km (G. Nastrom
    and K. Gage, J. Atmos. Sci. 42 (1985)), is a height's variance of l^-5.
    """
    degree = np.arange(DEGREE + 1)
    return np.where(degree > 0, np.maximum(degree / peak, 1.0) ** -exponent, 0.0)


def draw_coefficients(spectrum: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Random spherical harmonics, complex (degree, order), of an isotropic field of variance 1.

    Parameters
    ----------
    spectrum : np.ndarray, shape (DEGREE + 1,)
        Relative variance by degree.
    generator : np.random.Generator
    """
    real, imaginary = generator.standard_normal((2, DEGREE + 1, DEGREE + 1))
    coefficients = (real + 1j * imaginary) / np.sqrt(2)
    coefficients[:, 0] = real[:, 0]  # of order 0, harmonics are real
    # 2 l + 1 orders share a degree's variance.
    variance = 4 * np.pi * spectrum / spectrum.sum() / (2 * np.arange(DEGREE + 1) + 1)
    return np.tril(coefficients * np.sqrt(variance)[:, np.newaxis])


def synthesize(coefficients: np.ndarray) -> np.ndarray:
    """The field on the lattice of spherical harmonics (degree, order)."""
    parts = np.stack([coefficients.T.real, coefficients.T.imag], axis=-1)
    waves = _legendre() @ parts  # (order, row, 2): along each row, the waves of each order
    columns = len(LONGITUDES)
    rows = np.ascontiguousarray((waves[..., 0] + 1j * waves[..., 1]).T)
    return np.fft.irfft(columns * rows, n=columns, axis=1)


def draw_field(spectrum: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random field of mean 0 and variance 1 on the lattice."""
    return synthesize(draw_coefficients(spectrum, generator))


def gradient(field: np.ndarray) -> np.ndarray:
    """Derivatives per metre to the east and to the north, (2, rows, columns); 0 at the poles."""
    cosine = np.cos(np.radians(LATITUDES))[:, np.newaxis]
    cosine[[0, -1]] = np.inf
    step = EARTH_RADIUS * np.radians(SPACING)
    east = (np.roll(field, -1, axis=1) - np.roll(field, 1, axis=1)) / (2 * step * cosine)
    north = np.gradient(field, step, axis=0)
    north[[0, -1]] = 0
    return np.stack([east, north])


def to_space(components: np.ndarray) -> np.ndarray:
    """Vectors in space (3, rows, columns) of eastward and northward components (2, ...).

    A pole's own components have no meaning: its vector is the mean of the row next to it.
    """
    vectors = np.einsum("c...,cx...->x...", components, LATTICE.directions)
    for pole, neighbour in ((0, 1), (-1, -2)):
        vectors[:2, pole] = vectors[:2, neighbour].mean(axis=1, keepdims=True)
        vectors[2, pole] = 0
    return vectors


@lru_cache(maxsize=4)
def sampling_matrices(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Cubic splines in latitude (H, rows) and, periodic, in longitude (columns, W)."""
    from scipy.interpolate import CubicSpline

    unit = np.eye(len(LATITUDES))
    rows = CubicSpline(LATITUDES, unit)(grid.latitudes)
    unit = np.eye(len(LONGITUDES))
    around = CubicSpline(
        np.append(LONGITUDES, 360), np.vstack([unit, unit[:1]]), bc_type="periodic"
    )
    return rows, np.ascontiguousarray(around(grid.longitudes % 360).T)


def to_grid(fields: np.ndarray, grid: Grid) -> np.ndarray:
    """Fields (..., rows, columns) of the lattice at a grid's pixels, (..., H, W)."""
    rows, columns = sampling_matrices(grid)
    return rows @ fields @ columns


def components(vectors: np.ndarray, grid: Grid) -> np.ndarray:
    """Eastward and northward components (2, H, W) of vectors (3, H, W) at a grid's pixels."""
    return np.einsum("x...,cx...->c...", vectors, grid.directions)


def at_points(fields: np.ndarray, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Fields (n, rows, columns) at any points (...), bilinear; longitudes from 0 to 360 degrees.

    Returns
    -------
    values : np.ndarray, shape (n, ...)
    """
    from scipy.ndimage import map_coordinates

    closed = np.concatenate([fields, fields[..., :1]], axis=-1)
    places = np.stack([(latitude + 90) / SPACING, longitude / SPACING])
    return np.stack([map_coordinates(f, places, order=1, mode="nearest") for f in closed])


def lattice_point(index: int) -> tuple[float, float]:
    """Latitude and longitude of the lattice's ``index``-th point, counted row by row."""
    row, column = divmod(int(index), len(LONGITUDES))
    return float(LATITUDES[row]), float(LONGITUDES[column])
