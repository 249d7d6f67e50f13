"""The matrices of Winograd's minimal filtering, derived exactly for any size.

A filter of r numbers slides over m + r - 1 numbers and leaves m. Directly that takes m * r
multiplications; m + r - 1 are enough. The way there is the product of two polynomials, which is
known once its values at enough points are: evaluate both factors, multiply value by value,
interpolate. A filter is the transpose of such a product, and so are its three steps::

    y = A' [(G g) * (B' d)]

with d the numbers, g the filter, * value by value; A and G evaluate at the points, B interpolates.

Sources: A. Toom (1963) and S. Cook (1966) for products; S. Winograd, Arithmetic Complexity of
Computations (1980), for filters; A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural
Networks (CVPR 2016), for their use here.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain
from math import prod

# Besides 0 and infinity, by how many: each with its negative and its reciprocal. The powers of
# points grow or vanish, and rounding with them, the least where none is far from 1: for
# F(4x4, 3x3) these make half the error of 1, -1, 2 and -2.
SIZES = ((), (1,), (Fraction(2, 3), Fraction(3, 2)), (1, Fraction(1, 2), 2))

Points = tuple[Fraction, ...]
Matrix = tuple[tuple[Fraction, ...], ...]


def good_points(count: int) -> Points:
    """Choose points besides infinity.

    Raises
    ------
    ValueError
        If there are no good ones.
    """
    if count // 2 >= len(SIZES):
        raise ValueError(f"there are no {count} points at which rounding does little harm")
    sizes = chain.from_iterable((Fraction(size), -Fraction(size)) for size in SIZES[count // 2])
    return (Fraction(0), *sizes)[:count]


def cook_toom(m: int, r: int, points: Points | None = None) -> tuple[Matrix, Matrix, Matrix]:
    """Derive A (n, m), B (n, n) and G (n, r), where n = m + r - 1, as fractions.

    ``points`` are n - 1 different ones; the last is infinity, where a polynomial's value is its
    highest coefficient.

    Raises
    ------
    ValueError
        If there are no good points for so many numbers.
    """
    points = good_points(m + r - 2) if points is None else points
    A = [powers(point, m) for point in points] + [infinity(m)]
    B, G = [], []
    for point in points:
        others = [other for other in points if other != point]
        # Lagrange's polynomial of the point is the product of (x - other) / (point - other). The
        # divisors go into G: a filter is transformed once, the numbers it slides over often.
        divisor = prod(point - other for other in others)
        B.append((*polynomial(others), Fraction(0)))
        G.append(tuple(power / divisor for power in powers(point, r)))
    B.append(polynomial(points))
    G.append(infinity(r))
    return tuple(A), tuple(zip(*B, strict=True)), tuple(G)


def powers(point: Fraction, count: int) -> tuple[Fraction, ...]:
    """1, x, x^2, ... at a point."""
    return tuple(point**power for power in range(count))


def infinity(count: int) -> tuple[Fraction, ...]:
    """The highest of so many coefficients."""
    return (*[Fraction(0)] * (count - 1), Fraction(1))


def polynomial(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients, lowest first, of the product of (x - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [*(root * c for c in coefficients), Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)
