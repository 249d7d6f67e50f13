"""Optimisers in closed form, on one flat vector; schedules by their values."""

import math
import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.optim import (
    PIECE,
    SGD,
    Adam,
    constant,
    cosine,
    explicit_momentum,
    linear_scaling,
    step_decay,
)

P, G, G2 = np.array([1.0, -2.0, 0.5]), np.array([0.5, 0.0, -4.0]), np.array([-1.0, 2.0, 3.0])
CONFIGURATIONS = {
    "plain": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9}),
    "Nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "weight decay": (SGD, {"momentum": 0.5, "weight_decay": 0.1}),
    "Adam": (Adam, {}),
    "Adam with decay": (Adam, {"momentum": 0.5, "beta2": 0.9, "weight_decay": 0.1}),
}
every_optimiser = pytest.mark.parametrize(
    ("kind", "options"), CONFIGURATIONS.values(), ids=CONFIGURATIONS
)


def after(optimiser, *gradients):
    """The parameters after a step with each gradient."""
    for gradient in gradients:
        optimiser.step(gradient)
    return optimiser.parameters


def test_plain_descent_goes_against_the_gradient():
    np.testing.assert_allclose(after(SGD(P.copy(), 0.1), G, G2), P - 0.1 * G - 0.1 * G2)


def test_momentum_repeats_a_share_of_the_step_before():
    found = after(SGD(P.copy(), 0.1, momentum=0.9), G, G2)
    np.testing.assert_allclose(found, P - 0.1 * G - 0.1 * (0.9 * G + G2))


def test_nesterov_looks_one_step_ahead():
    found = after(SGD(P.copy(), 0.1, momentum=0.9, nesterov=True), G, G2)
    first, second = G + 0.9 * G, G2 + 0.9 * (0.9 * G + G2)
    np.testing.assert_allclose(found, P - 0.1 * first - 0.1 * second)


def test_weight_decay_is_the_gradient_of_half_the_squared_parameters():
    found = after(SGD(P.copy(), 0.1, weight_decay=0.3), G)
    np.testing.assert_allclose(found, P - 0.1 * (G + 0.3 * P))
    found = after(Adam(P.copy(), 0.1, weight_decay=0.3), G, G2)
    plain = Adam(P.copy(), 0.1)
    for gradient in (G, G2):
        plain.step(gradient + 0.3 * plain.parameters)
    np.testing.assert_allclose(found, plain.parameters)


def test_adam_worked_out_by_hand():
    found = after(Adam(P.copy(), 0.1, momentum=0.8, beta2=0.9, epsilon=1e-3), G, G2)
    m, v = 0.2 * G, 0.1 * G**2
    expected = P - 0.1 * math.sqrt(0.1) / 0.2 * m / (np.sqrt(v) + 1e-3)
    m, v = 0.8 * m + 0.2 * G2, 0.9 * v + 0.1 * G2**2
    expected -= 0.1 * math.sqrt(1 - 0.81) / (1 - 0.64) * m / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("scale", [1e-3, 1, 1e5])
def test_adam_steps_by_the_learning_rate_under_a_constant_gradient(scale):
    optimiser = Adam(np.zeros(2), 0.01)
    for update in range(1, 50):
        optimiser.step(scale * np.array([1.0, -2.0]))
        np.testing.assert_allclose(optimiser.parameters, [-0.01 * update, 0.01 * update], rtol=1e-3)


@every_optimiser
def test_a_gradient_of_zero_changes_nothing_at_rest(kind, options):
    options = {name: value for name, value in options.items() if name != "weight_decay"}
    np.testing.assert_array_equal(after(kind(P.copy(), 0.1, **options), 0 * G, 0 * G), P)


@every_optimiser
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_updated_in_place_and_the_gradient_is_left(kind, options, dtype):
    parameters, gradient = P.astype(dtype), G.astype(dtype)
    weight = parameters[:2]
    optimiser = kind(parameters, np.float64(0.1), **options)
    assert after(optimiser, gradient) is parameters
    np.testing.assert_array_equal(gradient, G)
    assert weight[0] != P[0]
    for state in optimiser.state.values():
        assert (state.shape, state.dtype) == (P.shape, dtype)


@every_optimiser
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 12))
def test_one_optimiser_a_layer_is_one_for_all(kind, options, seed, cut):
    generator = np.random.default_rng(seed)
    start, gradients = generator.standard_normal(12), generator.standard_normal((3, 12))
    whole = after(kind(start.copy(), 0.1, **options), *gradients)
    front = after(kind(start[:cut].copy(), 0.1, **options), *gradients[:, :cut])
    back = after(kind(start[cut:].copy(), 0.1, **options), *gradients[:, cut:])
    np.testing.assert_allclose(np.concatenate([front, back]), whole, rtol=1e-13)


@every_optimiser
@given(size=st.integers(1, 40), piece=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
def test_an_update_does_not_depend_on_the_size_of_the_pieces(kind, options, size, piece, seed):
    generator = np.random.default_rng(seed)
    start = generator.standard_normal(size, np.float32)
    gradients = generator.standard_normal((3, size), np.float32)
    whole = kind(start.copy(), 0.1, **options)
    after(whole, *gradients)
    with patch("minidl.optim.PIECE", piece):
        cut = kind(start.copy(), 0.1, **options)
        after(cut, *gradients)
    np.testing.assert_array_equal(cut.parameters, whole.parameters)
    for name, values in whole.state.items():
        np.testing.assert_array_equal(cut.state[name], values)


@every_optimiser
def test_an_update_of_a_large_layer_takes_no_memory(kind, options):
    parameters, gradient = np.zeros((2, 20 * PIECE), np.float32)
    optimiser = kind(parameters, 0.1, **options)
    tracemalloc.start()
    optimiser.step(gradient)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < PIECE


@every_optimiser
def test_state_and_updates_are_all_that_has_to_be_saved(kind, options):
    schedule = step_decay(0.1, every=2)
    whole = kind(P.copy(), schedule, **options)
    after(whole, G, G2, G)
    resumed = kind(whole.parameters.copy(), schedule, **options)
    resumed.updates = whole.updates
    for name, values in whole.state.items():
        resumed.state[name][...] = values
    np.testing.assert_array_equal(after(resumed, G2, G), after(whole, G2, G))


@every_optimiser
def test_a_schedule_is_asked_with_the_number_of_updates_made(kind, options):
    asked = []

    def schedule(update):
        asked.append(update)
        return 0.1

    optimiser = kind(P.copy(), schedule, **options)
    after(optimiser, G, G2, G)
    assert asked == [0, 1, 2]
    assert optimiser.updates == 3


@every_optimiser
def test_a_learning_rate_of_zero_moves_nothing(kind, options):
    optimiser = kind(P.copy(), step_decay(0.1, every=1, factor=0), **options)
    moved = after(optimiser, G).copy()
    assert (moved != P).any()
    assert optimiser.learning_rate == 0
    np.testing.assert_array_equal(after(optimiser, G2), moved)


def test_constant_is_what_a_number_means():
    assert [constant(0.3)(update) for update in (0, 1, 1000)] == [0.3] * 3
    assert SGD(P.copy(), 0.3).learning_rate == 0.3


def test_step_decay_falls_by_the_factor_after_every_so_many_updates():
    schedule = step_decay(1.0, every=3, factor=0.5)
    assert [schedule(update) for update in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_cosine_falls_along_half_a_wave_and_stays():
    schedule = cosine(1.0, updates=4, final=0.2)
    quarter = 0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2
    assert [schedule(update) for update in (0, 1, 2, 4, 5, 8)] == pytest.approx(
        [1, quarter, 0.6, 0.2, 0.2, 0.2]
    )


def test_linear_scaling_warms_up_in_a_line_to_the_number_of_ranks():
    schedule = linear_scaling(constant(0.1), ranks=5, warmup=4)
    assert [schedule(update) for update in (0, 1, 2, 4, 100)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.5, 0.5]
    )
    assert linear_scaling(constant(0.1), ranks=5)(0) == pytest.approx(0.5)
    decaying = linear_scaling(step_decay(0.1, every=2), ranks=2)
    assert [decaying(update) for update in (0, 2)] == pytest.approx([0.2, 0.02])


@pytest.mark.parametrize("make", [SGD, Adam])
def test_a_scale_multiplies_the_learning_rate_of_one_update(make):
    gradient = np.array([1.0, -2.0, 0.5])
    scaled, smaller = make(np.zeros(3), 0.1), make(np.zeros(3), 0.025)
    scaled.step(gradient, scale=0.25)
    smaller.step(gradient)
    np.testing.assert_allclose(scaled.parameters, smaller.parameters, rtol=1e-14)
    before = scaled.parameters.copy()
    scaled.step(gradient)
    whole = make(np.zeros(3), 0.1)
    whole.step(gradient)
    zero = whole.parameters.copy()
    whole.step(gradient)
    np.testing.assert_allclose(scaled.parameters - before, whole.parameters - zero, rtol=1e-14)


@pytest.mark.parametrize(
    ("groups", "expected"), [(1, 0.9), (2, 0.4), (4, 0.15), (8, 0.025), (10, 0), (100, 0)]
)
def test_the_more_groups_the_less_momentum_is_asked_for(groups, expected):
    assert explicit_momentum(groups) == pytest.approx(expected)
