"""Dropout: how many are dropped, what happens to the rest, who decides."""

import numpy as np
import pytest

from minidl.layers import Dropout


def test_the_rate_is_dropped_and_the_rest_scaled_so_that_the_mean_stays():
    y = Dropout(0.3, generator=np.random.default_rng(0)).forward(np.ones((200, 500)))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7])
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.01)


def test_what_was_dropped_gets_no_gradient_and_the_rest_is_scaled():
    layer = Dropout(0.5, generator=np.random.default_rng(0))
    x = np.ones((20, 30))
    y = layer.forward(x)
    np.testing.assert_array_equal(layer.backward(3 * x), 3 * y)


def test_every_batch_draws_anew_and_a_generator_repeats_it():
    first, again = (Dropout(0.5, generator=np.random.default_rng(7)) for _ in range(2))
    x = np.ones((20, 30))
    one, other = first.forward(x), first.forward(x)
    assert (one != other).any()
    np.testing.assert_array_equal(again.forward(x), one)


def test_inference_drops_nothing_and_draws_nothing():
    generator = np.random.default_rng(7)
    x = np.random.default_rng(0).standard_normal((20, 30))
    np.testing.assert_array_equal(Dropout(0.5, generator=generator).forward(x, False), x)
    assert generator.random() == np.random.default_rng(7).random()


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5])
def test_other_rates_are_refused(rate):
    with pytest.raises(ValueError, match=rf"lies in \[0, 1\), got {rate}"):
        Dropout(rate, generator=np.random.default_rng(0))
