"""Slopes by differences: which of several steps counts, and what is not told at all."""

import numpy as np
import pytest

from minidl.gradients.differences import STEPS, Function, Slope


def slope(above, below):
    return Slope(np.array(above)[:, np.newaxis], np.array(below)[:, np.newaxis])


def measured(function, x):
    """The slope at the number x of a function of one number."""
    values = np.array([x])
    found = Function(lambda: [function(values)], [np.ones(1)]).slope(values, np.ones(1))
    assert values == x
    return found


@pytest.mark.parametrize(
    "estimates", [(2.5, 2.0, 2.0), (2.0, 2.0, 2.7)], ids=["curvature", "rounding"]
)
def test_the_steps_that_agree_count(estimates):
    found = slope(estimates, estimates)
    assert found.value == 2.0
    assert found.resolved(1e-6)


def test_where_no_steps_agree_nothing_is_told():
    assert not slope((2.5, 2.0, 1.5), (2.5, 2.0, 1.5)).resolved(1e-6)


def test_where_the_sides_differ_at_every_step_there_is_a_kink():
    found = measured(np.abs, 0.0)
    assert found.value == 0
    assert not found.resolved(1e-6)


def test_sides_that_approach_each_other_are_curvature_and_no_kink():
    found = measured(lambda x: 1e4 * x**2, 3.0)
    assert found.resolved(1e-6 * 6e4)
    assert found.value == pytest.approx(6e4, rel=1e-6)


@pytest.mark.parametrize("x", [-1.0, 0.0, 0.3, 2.0])
@pytest.mark.parametrize(
    ("function", "derivative"),
    [(np.sin, np.cos), (np.exp, np.exp), (np.tanh, lambda x: 1 / np.cosh(x) ** 2)],
)
def test_smooth_functions_have_their_derivatives(function, derivative, x):
    assert measured(function, x).value == pytest.approx(derivative(x), rel=1e-8)


def test_each_sample_s_share_is_told():
    values, factors = np.array([2.0, 3.0]), np.array([[1.0, 10.0], [100.0, 1000.0], [0.0, 0.0]])
    outputs = Function(lambda: [np.stack([values**2] * 3)], [factors])
    found = outputs.slope(values, np.array([1.0, 0.0]))
    np.testing.assert_allclose(found.by_sample, [4, 400, 0], rtol=1e-8)
    assert found.value == pytest.approx(404)
    assert found.above.shape == (len(STEPS), 3)
