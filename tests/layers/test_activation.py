"""Activations: their values, their limits, and what writing in place may not change."""

import numpy as np
import pytest
from hypothesis import given
from layers.strategies import LAYERS

from minidl.layers import LeakyReLU, ReLU, Sequential, Sigmoid, Tanh

FEW = np.array([[-2.0, -0.5, 0.0, 0.5, 3.0]])
ONES = np.ones_like(FEW)


def test_relu_passes_positive_numbers_and_at_zero_nothing_comes_back():
    layer = ReLU()
    np.testing.assert_array_equal(layer.forward(FEW), [[0, 0, 0, 0.5, 3]])
    np.testing.assert_array_equal(layer.backward(ONES), [[0, 0, 0, 1, 1]])


@given(case=LAYERS["ReLU"])
def test_in_place_relu_is_the_plain_one_in_the_same_memory(case):
    plain, inplace = ReLU(), ReLU(inplace=True)
    x = case.batch()
    expected, y = plain.forward(x.copy()), inplace.forward(x)
    assert y is x
    np.testing.assert_array_equal(y, expected)
    dy = case.upstream(y)
    dx_expected, dx = plain.backward(dy.copy()), inplace.backward(dy)
    assert dx is dy
    np.testing.assert_array_equal(dx, dx_expected)


@pytest.mark.parametrize(
    "before", [LeakyReLU(0.2), Sigmoid(), Tanh(), ReLU()], ids=lambda a: a.name
)
def test_writing_over_the_output_of_an_activation_does_no_harm(before):
    generator = np.random.default_rng(0)
    x, dy = generator.standard_normal((2, 4, 5))
    dx = []
    for inplace in (False, True):
        layer = Sequential(before, ReLU(inplace=inplace))
        layer.forward(x.copy())
        dx.append(layer.backward(dy.copy()).copy())
    np.testing.assert_array_equal(*dx)


def test_leaky_relu_scales_negative_numbers_down():
    layer = LeakyReLU(0.1)
    np.testing.assert_allclose(layer.forward(FEW), [[-0.2, -0.05, 0, 0.5, 3]])
    np.testing.assert_allclose(layer.backward(ONES), [[0.1, 0.1, 0.1, 1, 1]])


@pytest.mark.parametrize("slope", [-0.1, 1, 2])
def test_other_slopes_are_refused(slope):
    with pytest.raises(ValueError, match=f"between 0 and 1, got {slope}"):
        LeakyReLU(slope)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_and_tanh_have_limits_and_never_overflow(dtype):
    x = np.array([-1e4, -1, 0, 1, 1e4], dtype)
    with np.errstate(all="raise"):
        sigmoid, tanh = Sigmoid().forward(x), Tanh().forward(x)
    e = np.exp(1)
    np.testing.assert_allclose(sigmoid, [0, 1 / (1 + e), 0.5, e / (1 + e), 1], rtol=1e-6)
    np.testing.assert_allclose(tanh, [-1, -np.tanh(1), 0, np.tanh(1), 1], rtol=1e-6)


@pytest.mark.parametrize("layer", [Sigmoid(), Tanh()], ids=lambda layer: layer.name)
def test_where_they_are_flat_nothing_comes_back(layer):
    layer.forward(np.array([-1e4, 1e4]))
    np.testing.assert_array_equal(layer.backward(np.ones(2)), [0, 0])
