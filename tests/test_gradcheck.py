"""The checker of gradients: it accepts right ones, finds wrong ones, and says what is wrong."""

import time

import numpy as np
import pytest
from broken_gallery import GALLERY

from minidl.gradients.gradcheck import TOLERANCE, check_layer, check_loss, check_network
from minidl.layers import (
    BatchNorm2d,
    Branches,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from minidl.losses import mean_squared_error, softmax_cross_entropy
from minidl_models.hep.network import network


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def check(subject, shape, generator):
    x = generator.standard_normal(shape)
    if isinstance(subject, Layer):
        return check_layer(subject, x, generator)
    return check_loss(subject, x, generator)


@pytest.mark.parametrize("broken", GALLERY, ids=lambda broken: broken.name)
def test_a_wrong_gradient_is_caught_and_its_cause_named(broken, generator):
    report = check(broken.subject, broken.shape, generator)
    (found,) = (tensor for tensor in report.tensors if tensor.tensor == broken.tensor)
    assert not report.ok
    assert found.error > TOLERANCE
    assert broken.cause in found.failure.cause
    assert broken.cause in str(report)
    right = [tensor for tensor in report.tensors if tensor is not found]
    assert all(tensor.failure is None for tensor in right if broken.name not in SEVERAL), report


# Here one mistake spoils two tensors.
SEVERAL = {"gradient added to the one before", "patches taken one row too far down"}


def test_a_failure_shows_the_place_and_both_numbers(generator):
    layer = Linear(4, 3, generator=generator, dtype=np.float64)
    right, x = layer.backward, generator.standard_normal((5, 4))

    def backward(dy, announce=None):
        dx = right(dy, announce)
        layer.dweight[2, 1] += 0.25
        return dx

    layer.backward = backward
    report = check_layer(layer, x, generator)
    failure = report.tensors[0].failure
    assert failure.index == (2, 1)
    assert [step for step, _ in failure.numeric] == [1e-4, 1e-5, 1e-6]
    for _, slope in failure.numeric:
        assert failure.analytic - slope == pytest.approx(0.25, abs=1e-6)
    lines = str(report).splitlines()
    assert lines[0].startswith("linear.weight         4 x 3             WRONG  error")
    assert lines[2].startswith(f"    linear.weight[2, 1]: backward says {failure.analytic:.9g}, ")
    assert lines[-1].startswith("linear.input          5 x 4             ok     error")


def test_one_wrong_number_among_thousands_is_found(generator):
    layer = Linear(60, 50, generator=generator, dtype=np.float64)
    right = layer.backward

    def backward(dy, announce=None):
        dx = right(dy, announce)
        layer.dweight[7, 9] += 0.1 * np.abs(layer.dweight).mean()
        return dx

    layer.backward = backward
    report = check_layer(layer, generator.standard_normal((5, 60)), generator)
    assert report.tensors[0].failure.index == (7, 9)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_dropout_is_checked_with_one_mask(rate, generator):
    layer = Sequential(Dropout(rate, generator=generator), LeakyReLU(0.2))
    assert check_layer(layer, generator.standard_normal((4, 30)), generator).ok


def test_the_layer_is_left_as_it_was(generator):
    masks = np.random.default_rng(5)
    norm = BatchNorm2d(2, dtype=np.float64)
    conv = Conv2d(2, 3, 2, generator=generator, dtype=np.float64)
    layer = Sequential(norm, conv, Dropout(0.5, generator=masks))
    x = generator.standard_normal((3, 4, 5, 2))
    before = [array.copy() for array in (x, norm.statistics, norm.parameters, conv.parameters)]
    check_layer(layer, x, generator)
    after = [x, norm.statistics, norm.parameters, conv.parameters]
    for was, now in zip(before, after, strict=True):
        assert was.tobytes() == now.tobytes()
    assert masks.bit_generator.state == np.random.default_rng(5).bit_generator.state


def test_a_tuple_of_outputs_and_a_shortcut(generator):
    def conv():
        return Conv2d(2, 2, 3, padding=1, generator=generator, dtype=np.float64)

    layer = Sequential(Residual(Sequential(conv(), ReLU(), conv())), Branches(conv(), MaxPool2d(2)))
    report = check_layer(layer, generator.standard_normal((2, 4, 6, 2)), generator)
    assert report.ok, report
    assert len(report.tensors) == 3 * 2 + 1


def test_a_loss_of_a_tuple(generator):
    target = generator.standard_normal((3, 4))

    def loss(output):
        one, other = output
        (value, dy), (value2, dy2) = (
            mean_squared_error(one, target),
            mean_squared_error(other, target * 2),
        )
        return value + value2, (dy, dy2 * wrong)

    output = (generator.standard_normal((3, 4)), generator.standard_normal((3, 4)))
    wrong = 1
    assert check_loss(loss, output, generator).ok
    wrong = 1.001
    report = check_loss(loss, output, generator)
    assert [tensor.failure is None for tensor in report.tensors] == [True, False]


def test_numbers_at_a_kink_are_left_out_and_counted(generator):
    x = generator.standard_normal((6, 5))
    x[2, :] = 0
    report = check_layer(ReLU(), x, generator)
    assert report.ok
    assert report.tensors[0].skipped == 5
    assert "5 at kinks" in str(report)


def test_kinks_hide_no_error(generator):
    layer = ReLU()
    right, x = layer.backward, generator.standard_normal((6, 5))
    x[2, :] = 0
    layer.backward = lambda dy, announce=None: 1.001 * right(dy)
    report = check_layer(layer, x, generator)
    assert "1.001 times the right one" in str(report)


@pytest.mark.parametrize("layer", [ReLU(), MaxPool2d(2)], ids=["zeros", "ties"])
def test_where_all_is_kinks_nothing_is_called_right(layer, generator):
    report = check_layer(layer, np.zeros((3, 4, 4, 2)), generator)
    assert not report.ok
    assert "nothing can be said" in str(report)


def test_a_gradient_that_is_zero_in_truth_is_accepted_in_spite_of_rounding(generator):
    # A bias before a normalisation changes nothing: backward finds 1e-17 and the like.
    conv = Conv2d(2, 3, 2, generator=generator, dtype=np.float64)
    layer = Sequential(conv, BatchNorm2d(3, dtype=np.float64))
    assert check_layer(layer, generator.standard_normal((4, 5, 6, 2)), generator).ok
    assert 0 < np.abs(conv.dbias).max() < 1e-12


def test_a_loss_of_almost_nothing_is_accepted_in_spite_of_rounding(generator):
    # 5e-14 is the difference of numbers of order one, and its slopes are lost in their rounding.
    logits = np.array([[0.3, 30.8, -12.2]])
    assert check_loss(lambda z: softmax_cross_entropy(z, np.array([1])), logits, generator).ok


@pytest.mark.parametrize("size", [1e-6, 1e4])
def test_small_and_large_numbers_are_checked_as_well(size, generator):
    layer = Linear(3, 2, generator=generator, dtype=np.float64)
    assert check_layer(layer, size * generator.standard_normal((4, 3)), generator).ok
    logits = size * generator.standard_normal((4, 3))
    labels = np.array([0, 2, 1, 1])
    assert check_loss(lambda z: softmax_cross_entropy(z, labels), logits, generator).ok


def test_an_empty_batch_has_gradients_of_zero(generator):
    layer = Sequential(Conv2d(2, 3, 2, generator=generator, dtype=np.float64), Flatten())
    assert check_layer(layer, np.zeros((0, 4, 4, 2)), generator).ok


def test_outputs_that_have_no_slopes_are_refused(generator):
    class Noise(ReLU):
        def forward(self, x, training=True, require=None):
            return super().forward(x, training) + np.random.default_rng().random(x.shape)

    x = generator.standard_normal((4, 3))
    with pytest.raises(ValueError, match=r"two different outputs: what is random must be drawn"):
        check_layer(Noise(), x, generator)
    with pytest.raises(ValueError, match="an output is not finite"):
        check_layer(ReLU(), np.full((4, 3), np.inf), generator)


def test_single_precision_is_refused_with_a_remedy(generator):
    layer = Linear(3, 2, generator=generator)
    with pytest.raises(ValueError, match=r"x: .*this is float32: build .* dtype=np.float64"):
        check_layer(layer, np.zeros((4, 3), np.float32), generator)
    with pytest.raises(ValueError, match=r"batchnorm2d: .*this is float32"):
        check_layer(BatchNorm2d(2), generator.standard_normal((2, 3, 3, 2)), generator)


def test_the_hep_network_is_checked_in_seconds(generator):
    layers = network((16, 16, 3), generator, width=8, dtype=np.float64)
    x, labels = generator.standard_normal((3, 16, 16, 3)), np.array([0, 1, 1])
    start = time.perf_counter()
    report = check_network(layers, softmax_cross_entropy, x, labels, generator)
    assert report.ok, report
    assert len(report.tensors) == 12  # six layers; the first computes no gradient of the data
    assert time.perf_counter() - start < 20


def test_a_mistake_deep_inside_a_network_is_found_in_its_layer(generator):
    layers = network((16, 16, 3), generator, width=8, dtype=np.float64)
    conv3 = layers.layers()[2]
    right = conv3.end_back

    def end_back(announce):
        right(announce)
        conv3.dweight[...] = conv3.dweight.swapaxes(2, 3).copy()

    conv3.end_back = end_back
    x, labels = generator.standard_normal((3, 16, 16, 3)), np.array([0, 1, 1])
    report = check_network(layers, softmax_cross_entropy, x, labels, generator)
    (wrong,) = (tensor for tensor in report.tensors if tensor.failure)
    assert (wrong.layer, wrong.tensor) == ("conv3", "weight")
    assert "axes 2 and 3 are swapped" in wrong.failure.cause
