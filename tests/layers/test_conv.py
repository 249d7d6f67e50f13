"""Convolution: every algorithm is the textbook's, whatever the geometry and the size of strips."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers.strategies import algorithms, convolutions, deconvolutions

from minidl.layers import Conv2d
from minidl.layers.algorithms import choose
from minidl.layers.direct import Direct
from minidl.layers.im2col import Im2col
from minidl.layers.windows import blocks
from minidl.layers.winograd import Winograd


def everything(layer, case):
    """What a convolution computes: y, the gradients by weights and biases, dx."""
    y = layer.forward(case.batch())
    dx = layer.backward(case.upstream(y))
    return y.copy(), layer.dweight.copy(), layer.dbias.copy(), dx.copy()


def by_plain_loops(layer, case):
    """The same of a ``Conv2d``, by its definition."""
    x, direct = case.batch(), Direct(layer.windows)
    padded = layer.windows.pad(x, np.empty(layer.windows.padded_shape(x.shape)), 0)
    y = np.empty((len(x), *layer.output_shape(x.shape[1:])))
    direct.forward(padded, layer.weight, layer.bias, y)
    dy, dweight, dx = case.upstream(y), np.empty_like(layer.weight), np.empty_like(padded)
    direct.backward_weight(padded, dy, dweight)
    direct.backward_input(dy, layer.weight, dx)
    return y, dweight, dy.sum(axis=(0, 1, 2)), layer.windows.unpad(dx)


@given(case=algorithms(convolutions()))
def test_matrix_products_agree_with_plain_loops(case):
    layer = case.build()
    expected = by_plain_loops(layer, case)
    for found, plain in zip(everything(layer, case), expected, strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-11, atol=1e-11)


@given(case=algorithms(deconvolutions()))
def test_a_transposed_convolution_is_what_its_name_says(case):
    """<A x, dy> = <x, A' dy>, A' being a convolution by the same weights."""
    layer = case.build()
    layer.bias[...] = 0
    y = layer.forward(case.batch()).copy()
    dy = case.upstream(y)
    KH, KW, K, C = layer.weight.shape
    windows = layer.windows
    convolution = Conv2d(
        K, C, (KH, KW), stride=windows.stride, padding=windows.padding,
        generator=np.random.default_rng(0), dtype=np.float64, algorithm="im2col",
    )  # fmt: skip
    convolution.weight[...] = layer.weight
    x = case.batch()
    convolved = convolution.forward(dy).copy()
    assert np.vdot(y, dy) == pytest.approx(np.vdot(x, convolved), rel=1e-10, abs=1e-10)
    np.testing.assert_allclose(convolution.backward(x), y, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layer.backward(dy), convolved, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(layer.dweight, convolution.dweight, rtol=1e-11, atol=1e-11)


@given(case=algorithms(convolutions()), pixels=st.integers(1, 60))
def test_the_size_of_strips_changes_nothing(case, pixels):
    """Strips of one row, of several, of several images; the last ones shorter."""
    expected = everything(case.build(), case)
    with (
        mock.patch.object(Im2col, "strip_pixels", lambda *_: pixels),
        mock.patch.object(Winograd, "strip_pixels", lambda *_: pixels),
    ):
        for found, whole in zip(everything(case.build(), case), expected, strict=True):
            np.testing.assert_allclose(found, whole, rtol=1e-11, atol=1e-11)


@given(case=algorithms(convolutions()))
def test_backward_is_the_adjoint_of_forward(case):
    """<A x, y> = <x, A' y> for all x and y, and the same for the weights."""
    layer = case.build()
    layer.bias[...] = 0
    x = case.batch()
    Ax = layer.forward(x).copy()
    y = case.upstream(Ax)
    ATy = layer.backward(y)
    assert np.vdot(x, ATy) == pytest.approx(np.vdot(Ax, y), rel=1e-10, abs=1e-10)
    assert np.vdot(layer.weight, layer.dweight) == pytest.approx(np.vdot(Ax, y), abs=1e-10)


@given(case=algorithms(convolutions()))
def test_a_first_layer_may_skip_dx_and_learns_the_same(case):
    layer, first = case.build(), case.build()
    first.input_gradient = False
    dy = case.upstream(first.forward(case.batch()))
    assert first.backward(dy) is None
    everything(layer, case)
    np.testing.assert_array_equal(first.gradient, layer.gradient)


def test_a_convolution_worked_out_by_hand():
    layer = Conv2d(1, 1, (1, 2), stride=(1, 2), generator=np.random.default_rng(0))
    layer.weight[...] = np.array([[[[2]], [[-1]]]])
    layer.bias[...] = 10
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5, 1)
    np.testing.assert_array_equal(layer.forward(x).ravel(), [10 + 2 - 2, 10 + 6 - 4])
    dx = layer.backward(np.array([1, 3], np.float32).reshape(1, 1, 2, 1))
    np.testing.assert_array_equal(dx.ravel(), [2, -1, 6, -3, 0])  # the stride leaves the last out
    np.testing.assert_array_equal(layer.dweight.ravel(), [1 + 9, 2 + 12])
    np.testing.assert_array_equal(layer.dbias, [4])


@given(case=algorithms(convolutions()))
def test_the_gradient_is_announced_once_and_complete(case):
    layer, announced = case.build(), []
    y = layer.forward(case.batch())
    layer.backward(case.upstream(y), lambda leaf: announced.append((leaf, leaf.gradient.copy())))
    ((leaf, gradient),) = announced
    assert leaf is layer
    np.testing.assert_array_equal(gradient, layer.gradient)


def test_an_algorithm_is_chosen_by_shape_unless_named():
    def chosen(channels, filters, size, **named):
        layer = Conv2d(channels, filters, 3, padding=1, generator=np.random.default_rng(0), **named)
        y_shape = (1, size, size, filters)
        return choose(layer.algorithm, layer.windows, layer.weight.shape, y_shape)

    assert isinstance(chosen(3, 128, 224), Im2col)
    assert chosen(128, 128, 112).tile == 4
    assert isinstance(chosen(128, 128, 112, algorithm="im2col"), Im2col)
    assert chosen(128, 128, 112, algorithm="winograd2").tile == 2


@pytest.mark.parametrize(
    ("name", "kernel", "message"),
    [
        ("fourier", 3, "no algorithm 'fourier'; there are auto, im2col, winograd2, winograd4"),
        ("winograd4", (3, 5), r"winograd4 takes square kernels .* not \(3, 5\)"),
    ],
)
def test_an_algorithm_that_cannot_be_is_refused(name, kernel, message):
    with pytest.raises(ValueError, match=message):
        Conv2d(3, 2, kernel, generator=np.random.default_rng(0), algorithm=name)


def test_images_of_one_channel_may_have_come_channel_first():
    """NumPy calls such an array contiguous, whatever the last of its strides."""
    x = np.arange(40, dtype=np.float32).reshape(2, 1, 4, 5).transpose(0, 2, 3, 1)
    assert x.flags.c_contiguous
    layer = Conv2d(1, 1, (1, 2), generator=np.random.default_rng(0))
    layer.weight[...] = 1
    np.testing.assert_array_equal(layer.forward(x), x[:, :, :-1] + x[:, :, 1:])


def test_flops_are_two_a_multiply_add():
    layer = Conv2d(3, 8, (3, 5), stride=(1, 2), padding=1, generator=np.random.default_rng(0))
    assert layer.flops((10, 11, 3)) == 2 * (10 * 5) * (3 * 5 * 3) * 8


def test_weights_start_with_the_variance_of_he():
    layer = Conv2d(16, 64, (3, 5), generator=np.random.default_rng(0))
    assert layer.weight.var() == pytest.approx(2 / (3 * 5 * 16), rel=0.03)
    assert abs(layer.weight.mean()) < 1e-3
    assert not layer.bias.any()


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (np.zeros((2, 5, 5, 4), np.float32), r"got float32 of shape \(2, 5, 5, 4\)"),
        (np.zeros((5, 5, 3), np.float32), r"got float32 of shape \(5, 5, 3\)"),
        (np.zeros((2, 5, 5, 3)), "got float64"),
    ],
    ids=["channels", "no batch", "precision"],
)
def test_other_inputs_are_refused_by_name(x, found):
    layer = Conv2d(3, 2, 3, generator=np.random.default_rng(0))
    with pytest.raises(
        ValueError, match=r"conv2d: expected float32 images .*\(N, H, W, 3\), " + found
    ):
        layer.forward(x)


@pytest.mark.parametrize(
    ("kernel", "more"), [(0, {}), (3, {"stride": 0}), (3, {"padding": (0, -1)})]
)
def test_impossible_windows_are_refused(kernel, more):
    with pytest.raises(ValueError, match="kernel >= 1, stride >= 1 and padding >= 0; got"):
        Conv2d(3, 2, kernel, generator=np.random.default_rng(0), **more)


def test_an_image_smaller_than_the_window_is_refused():
    layer = Conv2d(1, 1, (5, 3), padding=(1, 0), generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"\(5, 3\) does not fit into an image of 2 x 9"):
        layer.forward(np.zeros((1, 2, 9, 1), np.float32))


@given(
    images=st.integers(0, 5),
    rows=st.integers(1, 7),
    row_bytes=st.integers(0, 30),
    limit=st.integers(1, 400),
)
def test_blocks_cover_all_rows_once_in_order_and_fit(images, rows, row_bytes, limit):
    covered = []
    for some_images, some_rows in blocks(images, rows, row_bytes, limit):
        here = [
            (image, row)
            for image in range(some_images.start, some_images.stop)
            for row in range(some_rows.start, some_rows.stop)
        ]
        assert len(here) == 1 or len(here) * row_bytes <= limit
        assert len(set(image for image, _ in here)) == 1 or some_rows == slice(0, rows)
        covered += here
    assert covered == [(image, row) for image in range(images) for row in range(rows)]
