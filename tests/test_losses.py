"""Losses: values, derivatives, and what they owe to single rows."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.errors import UserError
from minidl.gradients.gradcheck import check_loss
from minidl.losses import (
    Sum,
    binary_cross_entropy,
    mean_squared_error,
    smooth_l1,
    softmax_cross_entropy,
)

seeds = st.integers(0, 2**32 - 1)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)
ELEMENTWISE = {
    "binary cross-entropy": binary_cross_entropy,
    "mean squared error": mean_squared_error,
    "smooth L1": smooth_l1,
    "smooth L1, beta 0.3": partial(smooth_l1, beta=0.3),
}
elementwise = pytest.mark.parametrize("loss", ELEMENTWISE.values(), ids=ELEMENTWISE)


@st.composite
def classifications(draw, least=1):
    """Logits (N, K), labels and weights (N,)."""
    N, K = draw(st.integers(least, 6)), draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(seeds))
    logits = draw(st.sampled_from([0.1, 1, 30])) * generator.standard_normal((N, K))
    return logits, generator.integers(0, K, N), generator.uniform(0, 3, N)


@given(classifications(), st.booleans())
def test_softmax_s_gradient_agrees_with_differences(problem, weighted):
    logits, labels, weights = problem
    loss = partial(softmax_cross_entropy, labels=labels, weights=weights if weighted else None)
    report = check_loss(loss, logits, np.random.default_rng(0))
    assert report.ok, report


@elementwise
@given(shape=shapes, seed=seeds)
def test_gradients_by_elements_agree_with_differences(loss, shape, seed):
    generator = np.random.default_rng(seed)
    output, target = 2 * generator.standard_normal(shape), generator.uniform(0, 1, shape)
    report = check_loss(lambda y: loss(y, target), output, generator)
    assert report.ok, report


@given(classifications())
def test_softmax_is_the_mean_negative_logarithm_of_the_right_probability(problem):
    logits, labels, weights = problem
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    losses = -np.log(probabilities[np.arange(len(labels)), labels])
    assert softmax_cross_entropy(logits, labels)[0] == pytest.approx(losses.mean(), abs=1e-12)
    weighted = (weights * losses).mean()
    assert softmax_cross_entropy(logits, labels, weights)[0] == pytest.approx(weighted, abs=1e-12)


def test_two_classes_worked_out_by_hand():
    value, dy = softmax_cross_entropy(np.log([[3.0, 1.0], [1.0, 4.0]]), np.array([0, 0]))
    assert value == pytest.approx(-(np.log(3 / 4) + np.log(1 / 5)) / 2)
    np.testing.assert_allclose(dy, np.array([[-1 / 4, 1 / 4], [-4 / 5, 4 / 5]]) / 2)


@given(classifications(), seeds)
def test_a_row_s_gradient_does_not_depend_on_the_other_rows(problem, seed):
    """Up to the division by N: rows may come in any order, and some may be left out."""
    logits, labels, weights = problem
    _, dy = softmax_cross_entropy(logits, labels, weights)
    rows = np.random.default_rng(seed).permutation(len(labels))[: max(1, len(labels) // 2)]
    # What stands beside a row, however large, must not show in it.
    others = np.vstack([logits[rows], np.full_like(logits[:1], 1e4)])
    _, some = softmax_cross_entropy(
        others, np.append(labels[rows], 0), np.append(weights[rows], 1.0)
    )
    np.testing.assert_allclose(some[:-1] * len(others), dy[rows] * len(logits), rtol=1e-12)


@given(classifications())
def test_each_row_of_softmax_s_gradient_sums_to_zero(problem):
    logits, labels, _ = problem
    np.testing.assert_allclose(softmax_cross_entropy(logits, labels)[1].sum(axis=1), 0, atol=1e-12)


def test_zero_weights_leave_samples_out_and_n_stays():
    logits, labels = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([0, 1])
    value, dy = softmax_cross_entropy(logits, labels, np.array([2.0, 0.0]))
    alone, dy_alone = softmax_cross_entropy(logits[:1], labels[:1])
    assert value == pytest.approx(alone)
    np.testing.assert_allclose(dy, np.vstack([dy_alone, np.zeros((1, 2))]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits_neither_overflow_nor_lose_the_gradient(dtype):
    logits = np.array([[1e4, -1e4], [1e4, -1e4], [0, 0]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, dy = softmax_cross_entropy(logits, np.array([0, 1, 0]))
        assert value == pytest.approx((0 + 2e4 + np.log(2)) / 3)
        np.testing.assert_allclose(dy * 3, [[0, 0], [1, -1], [-0.5, 0.5]], atol=1e-6)
        value, dy = binary_cross_entropy(logits, np.array([[1, 1], [0, 0], [1, 0]], dtype))
    assert value == pytest.approx((0 + 1e4 + 1e4 + 0 + 2 * np.log(2)) / 6)
    np.testing.assert_allclose(dy * 6, [[0, -1], [1, 0], [-0.5, 0.5]], atol=1e-6)


def test_binary_cross_entropy_is_the_negative_logarithm_of_both_probabilities():
    logits, targets = np.array([-2.0, 0.3, 1.5]), np.array([0.0, 1.0, 0.25])
    p = 1 / (1 + np.exp(-logits))
    expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
    value, dy = binary_cross_entropy(logits, targets)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(dy, (p - targets) / 3)


def test_mean_squared_error_worked_out_by_hand():
    value, dy = mean_squared_error(np.array([[1.0, 2.0]]), np.array([[3.0, 1.0]]))
    assert value == (4 + 1) / 2
    np.testing.assert_array_equal(dy, [[-2, 1]])


@pytest.mark.parametrize(
    ("difference", "beta", "expected", "slope"),
    [(0.5, 1, 0.125, 0.5), (-3, 1, 2.5, -1), (1, 4, 0.125, 0.25), (-5, 2, 4, -1), (2, 2, 1, 1)],
)
def test_smooth_l1_is_quadratic_up_to_beta_then_linear(difference, beta, expected, slope):
    output = np.array([10.0 + difference])
    value, dy = smooth_l1(output, np.array([10.0]), beta)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(dy, [slope])


@elementwise
@given(shape=shapes, seed=seeds, dtype=st.sampled_from([np.float32, np.float64]))
def test_the_derivative_has_the_output_s_shape_and_precision(loss, shape, seed, dtype):
    generator = np.random.default_rng(seed)
    output = generator.standard_normal(shape).astype(dtype)
    before = output.copy()
    value, dy = loss(output, generator.uniform(0, 1, shape))
    assert type(value) is float
    assert (dy.shape, dy.dtype) == (shape, dtype)
    np.testing.assert_array_equal(output, before)


@given(problem=classifications(), dtype=st.sampled_from([np.float32, np.float64]))
def test_softmax_keeps_shape_and_precision_and_leaves_the_logits_alone(problem, dtype):
    logits, labels, weights = problem
    logits = logits.astype(dtype)
    before = logits.copy()
    value, dy = softmax_cross_entropy(logits, labels, weights)
    assert type(value) is float
    assert (dy.shape, dy.dtype) == (logits.shape, dtype)
    np.testing.assert_array_equal(logits, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_empty_batch_has_loss_zero_and_an_empty_derivative(dtype):
    empty = np.zeros((0, 3), dtype)
    found = [softmax_cross_entropy(empty, np.zeros(0, int), np.zeros(0))]
    found += [loss(empty, empty) for loss in ELEMENTWISE.values()]
    for value, dy in found:
        assert value == 0.0
        assert (dy.shape, dy.dtype) == ((0, 3), dtype)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(UserError, match="expected 0 to 2"):
        softmax_cross_entropy(np.zeros((2, 3)), np.array([0, label]))


@given(st.dictionaries(st.text(), st.floats(-1e6, 1e6)))
def test_a_sum_is_the_number_that_its_terms_add_up_to(terms):
    value = Sum(terms)
    assert isinstance(value, float)
    assert value == sum(terms.values())
    assert value.terms == terms
    assert list(value.terms) == list(terms)


def test_a_sum_s_terms_are_its_own():
    terms = {"one": 1.0, "two": 2.0}
    value = Sum(terms)
    terms["one"] = 5.0
    assert value.terms == {"one": 1.0, "two": 2.0}
    assert value == 3.0
