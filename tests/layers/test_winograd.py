"""Winograd's minimal filtering: exact in fractions, and what rounding makes of it."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.layers import Conv2d
from minidl.layers.cook_toom import cook_toom

fractions = st.fractions(-10, 10, max_denominator=10)


def applied(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def transposed(matrix):
    return list(zip(*matrix, strict=True))


@given(m=st.integers(1, 4), r=st.integers(1, 4), data=st.data())
def test_the_derived_matrices_filter_exactly(m, r, data):
    """y[i] = sum over j of d[i + j] g[j], in m + r - 1 multiplications."""
    A, B, G = cook_toom(m, r)
    d = data.draw(st.lists(fractions, min_size=m + r - 1, max_size=m + r - 1))
    g = data.draw(st.lists(fractions, min_size=r, max_size=r))
    products = [a * b for a, b in zip(applied(G, g), applied(transposed(B), d), strict=True)]
    assert len(products) == m + r - 1
    y = applied(transposed(A), products)
    assert y == [sum(d[i + j] * g[j] for j in range(r)) for i in range(m)]


def test_f_4_3_is_the_one_of_the_literature():
    """Lavin and Gray (2016), section 4.3, from their points."""
    A, B, G = cook_toom(4, 3, tuple(map(Fraction, (0, 1, -1, 2, -2))))
    expected = [4, 0, -5, 0, 1, 0], [0, 4, 0, -5, 0, 1]
    assert ([int(row[0]) for row in B], [int(row[5]) for row in B]) == expected
    assert [row[0] for row in G] == [Fraction(1, n) for n in (4, -6, -6, 24, 24)] + [Fraction(0)]
    assert [[int(a) for a in row] for row in transposed(A)][3] == [0, 1, -1, 8, -8, 1]


def test_a_size_without_points_is_refused():
    with pytest.raises(ValueError, match="no 11 points at which rounding does little harm"):
        cook_toom(8, 5)


@pytest.mark.parametrize(
    ("name", "bound"), [("im2col", 2e-6), ("winograd2", 4e-6), ("winograd4", 1.5e-5)]
)
def test_how_much_single_precision_costs(name, bound):
    """The largest error of y, dx and the weights' gradient, over the largest number there."""
    generator = np.random.default_rng(1)
    x, dy = generator.standard_normal((2, 2, 24, 24, 64))
    found = []
    for dtype, algorithm in ((np.float32, name), (np.float64, "im2col")):
        layer = Conv2d(
            64, 64, 3, padding=1, generator=np.random.default_rng(2), dtype=dtype,
            algorithm=algorithm,
        )  # fmt: skip
        layer.weight[...] = layer.weight.astype(np.float32)
        y = layer.forward(x.astype(np.float32).astype(dtype)).copy()
        dx = layer.backward(dy.astype(np.float32).astype(dtype))
        found.append((y, dx, layer.dweight))
    for single, double in zip(*found, strict=True):
        assert np.abs(single - double).max() < bound * np.abs(double).max()
