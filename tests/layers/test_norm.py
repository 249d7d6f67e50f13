"""Batch normalisation: moments of the batch in training, running ones in inference."""

import numpy as np
import pytest
from hypothesis import given
from layers.strategies import LAYERS

from minidl.layers import BatchNorm2d


@pytest.fixture
def x():
    generator = np.random.default_rng(0)
    return generator.normal([1, -2, 300], [0.5, 2, 10], (6, 4, 5, 3))


def test_training_brings_each_channel_to_the_learnt_mean_and_deviation(x):
    layer = BatchNorm2d(3, dtype=np.float64)
    layer.scale[...], layer.shift[...] = [1, 2, 3], [0, 10, -5]
    y = layer.forward(x)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), [0, 10, -5], atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), [1, 2, 3], rtol=1e-4)


def test_epsilon_is_added_to_the_variance(x):
    layer = BatchNorm2d(3, epsilon=4, dtype=np.float64)
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.forward(x), (x - mean) / np.sqrt(variance + 4))


def test_running_moments_follow_the_batches(x):
    layer = BatchNorm2d(3, momentum=0.25, dtype=np.float64)
    mean, variance = np.zeros(3), np.ones(3)
    for batch in (x, 2 * x[:2]):
        layer.forward(batch)
        mean = 0.75 * mean + 0.25 * batch.mean(axis=(0, 1, 2))
        variance = 0.75 * variance + 0.25 * batch.var(axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean)
    np.testing.assert_allclose(layer.running_variance, variance)
    np.testing.assert_array_equal(layer.statistics, [*layer.running_mean, *layer.running_variance])


def test_inference_uses_the_running_moments_and_leaves_them(x):
    layer = BatchNorm2d(3, dtype=np.float64)
    layer.scale[...], layer.shift[...] = [1, 2, 3], [0, 10, -5]
    layer.statistics[...] = [1, 2, 3, 4, 5, 6]
    y = layer.forward(x, training=False)
    z = (x - [1, 2, 3]) / np.sqrt(np.array([4, 5, 6]) + 1e-5)
    np.testing.assert_allclose(y, z * layer.scale + layer.shift)
    np.testing.assert_array_equal(layer.statistics, [1, 2, 3, 4, 5, 6])


def test_an_empty_batch_leaves_the_running_moments(x):
    layer = BatchNorm2d(3, dtype=np.float64)
    layer.statistics[...] = [1, 2, 3, 4, 5, 6]
    layer.forward(x[:0])
    np.testing.assert_array_equal(layer.statistics, [1, 2, 3, 4, 5, 6])


def test_a_single_number_is_its_own_mean():
    layer = BatchNorm2d(1, dtype=np.float64)
    layer.shift[...] = 7
    y = layer.forward(np.full((1, 1, 1, 1), 3.0))
    assert y == 7
    assert layer.running_variance == pytest.approx(0.9)
    assert layer.backward(np.ones_like(y)) == 0


def test_the_moments_of_many_pixels_are_exact_in_single_precision():
    x = np.random.default_rng(0).normal(10, 1, (8, 150, 150, 2)).astype(np.float32)
    layer = BatchNorm2d(2, momentum=1.0)
    layer.forward(x)
    mean, variance = (f(x.astype(np.float64), axis=(0, 1, 2)) for f in (np.mean, np.var))
    np.testing.assert_allclose(layer.running_mean, mean, rtol=3e-7)
    np.testing.assert_allclose(layer.running_variance, variance, rtol=1e-5)


@given(case=LAYERS["batch norm"])
def test_a_shift_or_scale_of_the_batch_changes_next_to_nothing(case):
    layer = case.build()
    x = 100 * case.batch()
    expected = layer.forward(x).copy()
    np.testing.assert_allclose(layer.forward(3 * x + 7), expected, rtol=1e-4, atol=1e-4)
