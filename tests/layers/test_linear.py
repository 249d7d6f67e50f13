"""Fully connected layers, and the reshaping that leads to them."""

import numpy as np
import pytest

from minidl.layers import Flatten, Linear


def test_a_linear_layer_worked_out_by_hand():
    layer = Linear(2, 3, generator=np.random.default_rng(0))
    layer.weight[...] = [[1, 2, 3], [4, 5, 6]]
    layer.bias[...] = [10, 20, 30]
    x = np.array([[1, 0], [1, -1]], np.float32)
    np.testing.assert_array_equal(layer.forward(x), [[11, 22, 33], [7, 17, 27]])
    dx = layer.backward(np.array([[1, 0, 0], [0, 1, 2]], np.float32))
    np.testing.assert_array_equal(dx, [[1, 4], [2 + 6, 5 + 12]])
    np.testing.assert_array_equal(layer.dweight, [[1, 1, 2], [0, -1, -2]])
    np.testing.assert_array_equal(layer.dbias, [1, 1, 2])


def test_weights_start_in_the_interval_of_glorot():
    layer = Linear(300, 100, generator=np.random.default_rng(0))
    limit = np.sqrt(6 / 400)
    assert np.abs(layer.weight).max() <= limit
    assert layer.weight.var() == pytest.approx(limit**2 / 3, rel=0.03)
    assert not layer.bias.any()


def test_a_first_layer_may_skip_dx():
    layer = Linear(2, 3, generator=np.random.default_rng(0), input_gradient=False)
    y = layer.forward(np.ones((4, 2), np.float32))
    assert layer.backward(y) is None
    np.testing.assert_array_equal(layer.dbias, y.sum(axis=0))


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (np.zeros((4, 3), np.float32), r"got float32 of shape \(4, 3\)"),
        (np.zeros((4, 2)), r"got float64"),
        (np.zeros((1, 4, 2), np.float32), r"got float32 of shape \(1, 4, 2\)"),
    ],
    ids=["inputs", "precision", "axes"],
)
def test_other_inputs_are_refused_by_name(x, found):
    layer = Linear(2, 3, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"linear: expected float32 of shape \(N, 2\), " + found):
        layer.forward(x)


def test_flops_are_two_a_multiply_add():
    assert Linear(5, 7, generator=np.random.default_rng(0)).flops((5,)) == 2 * 5 * 7


def test_flatten_keeps_the_order_row_column_channel():
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    layer = Flatten()
    np.testing.assert_array_equal(layer.forward(x), np.arange(120).reshape(2, 60))
    np.testing.assert_array_equal(layer.backward(np.arange(120).reshape(2, 60)), x)
