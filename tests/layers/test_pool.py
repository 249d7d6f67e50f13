"""Pooling: windows, ties, padding."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers.strategies import poolings

from minidl.layers import AvgPool2d, GlobalAvgPool2d, MaxPool2d, pool


def windows(layer, x):
    """Every window: its place (n, i, j, c), its numbers in reading order, their places in x."""
    (KH, KW), (down, right) = layer.windows.kernel, layer.windows.stride
    (top, left), (H, W) = layer.windows.padding, x.shape[1:3]
    for n, i, j, c in np.ndindex(len(x), *layer.output_shape(x.shape[1:])):
        rows = [i * down + a - top for a in range(KH)]
        columns = [j * right + b - left for b in range(KW)]
        places = [(n, r, s, c) for r in rows if 0 <= r < H for s in columns if 0 <= s < W]
        yield (n, i, j, c), [x[place] for place in places], places


@given(case=poolings(MaxPool2d), values=st.integers(1, 1000), block=st.integers(1, 2000))
def test_the_first_of_the_largest_numbers_gets_the_whole_gradient(case, values, block):
    """Few different values make ties; padding never wins, even where all numbers are negative."""
    layer = case.build()
    x = np.floor(values * case.batch() / 4) - 3.0 * values
    with mock.patch.object(pool, "BLOCK_BYTES", block):
        y = layer.forward(x).copy()
        dy = case.upstream(y)
        dx = layer.backward(dy)
    expected = np.zeros_like(x)
    for place, numbers, places in windows(layer, x):
        assert y[place] == max(numbers)
        expected[places[int(np.argmax(numbers))]] += dy[place]
    np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-12)


@given(case=poolings(AvgPool2d), block=st.integers(1, 2000))
def test_averages_count_padding_as_zeros(case, block):
    layer = case.build()
    x = case.batch()
    with mock.patch.object(pool, "BLOCK_BYTES", block):
        y = layer.forward(x).copy()
        dy = case.upstream(y)
        dx = layer.backward(dy)
    area = np.prod(layer.windows.kernel)
    expected = np.zeros_like(x)
    for place, numbers, places in windows(layer, x):
        assert y[place] == pytest.approx(sum(numbers) / area)
        for inside in places:
            expected[inside] += dy[place] / area
    np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-12)


@given(case=poolings(AvgPool2d))
def test_the_average_s_backward_is_the_adjoint_of_its_forward(case):
    layer, x = case.build(), case.batch()
    Ax = layer.forward(x).copy()
    y = case.upstream(Ax)
    assert np.vdot(x, layer.backward(y)) == pytest.approx(np.vdot(Ax, y), rel=1e-10, abs=1e-12)


def test_windows_of_more_than_256_places_remember_the_winner():
    x = np.zeros((1, 17, 17, 1), np.float32)
    x[0, 16, 15] = 1
    layer = MaxPool2d(17)
    assert layer.forward(x) == 1
    dx = layer.backward(np.full((1, 1, 1, 1), 5, np.float32))
    assert dx[0, 16, 15] == dx.sum() == 5


def test_the_stride_is_the_kernel_unless_given():
    assert MaxPool2d((2, 3)).output_shape((6, 6, 1)) == (3, 2, 1)
    assert AvgPool2d((2, 3), stride=1).output_shape((6, 6, 1)) == (5, 4, 1)


@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d])
def test_windows_that_lie_outside_of_the_image_are_refused(kind):
    kind((3, 4), padding=(1, 2))
    with pytest.raises(ValueError, match=r"padding \(1, 2\) is more than half of the kernel"):
        kind(3, padding=(1, 2))


def test_the_global_average_takes_images_of_any_size():
    layer = GlobalAvgPool2d()
    for height, width in [(2, 3), (5, 1)]:
        x = np.random.default_rng(0).standard_normal((2, height, width, 3))
        np.testing.assert_allclose(layer.forward(x), x.sum(axis=(1, 2)) / (height * width))
