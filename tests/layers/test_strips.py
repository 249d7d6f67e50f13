"""Strips: the numbers of the same layers one after the other; the same bits on any threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers.strategies import strips

from minidl import threads
from minidl.layers import AvgPool2d, Conv2d, MaxPool2d, ReLU, Sequential, Strips


@pytest.fixture
def _one_thread_afterwards():
    yield
    threads.use_threads(1)


def results(network, case):
    y = network.forward(case.batch(np.float32)).copy()
    dx = network.backward(case.upstream(y)).copy()
    return [y, dx, *(layer.gradient.copy() for layer in network.layers())]


@given(case=strips())
def test_strips_are_the_layers_in_sequence(case):
    network = case.build(np.float32)
    sequence = Sequential(**{layer.name: layer for layer in case.build(np.float32).children})
    for strip, whole in zip(results(network, case), results(sequence, case), strict=True):
        np.testing.assert_allclose(strip, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("_one_thread_afterwards")
@given(case=strips(), images=st.integers(1, 9))
def test_any_number_of_threads_makes_the_same_bits(case, images):
    case = case._replace(shape=(images, *case.shape[1:]))
    expected = None
    for count in (1, 2, 3, 5):
        threads.use_threads(count)
        found = results(case.build(np.float32), case)
        for one, other in zip(expected or found, found, strict=True):
            np.testing.assert_array_equal(one, other)
        expected = found


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (MaxPool2d(3, stride=2), "pool: its rows need more than the rows at their place"),
        (MaxPool2d(2, padding=1), "pool: its rows need more"),
        (AvgPool2d(2), "pool: its rows need more"),
    ],
)
def test_layers_that_look_beyond_their_rows_are_refused(layer, message):
    conv = Conv2d(3, 2, 3, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        Strips(conv=conv, pool=layer)


def test_strips_begin_with_a_convolution():
    with pytest.raises(ValueError, match="relu: strips begin with a Conv2d"):
        Strips(relu=ReLU())
