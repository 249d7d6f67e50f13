"""What holds for every layer, over random geometries, batches and memory layouts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.strategies import LAYERS, layouts, parts

from minidl.gradients.gradcheck import check_layer

every_layer = pytest.mark.parametrize("kind", LAYERS)
LEARNING = {
    "convolution",
    "transposed convolution",
    "strips",
    "linear",
    "batch norm",
    "sequence",
    "branches",
    "residual",
}
DIFFERENT_IN_INFERENCE = {"dropout", "batch norm", "sequence"}


def run(layer, case, x):
    """One pass: the outputs, dx and all gradients, copied."""
    y = layer.forward(x)
    outputs = parts(y)
    dx = np.array(layer.backward(case.upstream(y)))
    return outputs, dx, [leaf.gradient.copy() for leaf in layer.layers()]


def assert_same(one, other):
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


@every_layer
@settings(max_examples=20)
@given(data=st.data())
def test_gradients_agree_with_differences(kind, data):
    case = data.draw(LAYERS[kind])
    report = check_layer(case.build(), case.batch(), np.random.default_rng(case.seed))
    assert report.ok, report


@every_layer
@given(data=st.data())
def test_an_announced_gradient_belongs_to_whoever_heard_of_it(kind, data):
    """It may be summed over ranks at once: backward does not read it any more."""
    case = data.draw(LAYERS[kind])
    _, expected, _ = run(case.build(), case, case.batch())
    layer = case.build()
    dy = case.upstream(layer.forward(case.batch()))

    def spoil(leaf):
        leaf.gradient[...] = np.nan

    np.testing.assert_array_equal(np.array(layer.backward(dy, spoil)), expected)


@every_layer
@given(data=st.data())
def test_single_precision_is_double_precision_rounded(kind, data):
    case = data.draw(LAYERS[kind])
    layer, twin = case.build(np.float32), case.build(np.float64)
    for leaf, double in zip(layer.layers(), twin.layers(), strict=True):
        double.parameters[...] = leaf.parameters
    x = case.batch(np.float32)
    y, y_twin = layer.forward(x.copy()), twin.forward(x.astype(np.float64))
    dy = case.upstream(y)
    for single, double in zip(parts(y), parts(y_twin), strict=True):
        assert single.dtype == np.float32
        assert double.dtype == np.float64
        rounding = 1e-5 * max(1.0, np.abs(double).max(initial=0.0))  # of sums over large numbers
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=rounding)
    dx = layer.backward(dy)
    dx_twin = twin.backward(double_precision(dy))
    assert dx.dtype == np.float32
    assert dx_twin.dtype == np.float64
    assert_close(dx, dx_twin)
    for leaf, double in zip(layer.layers(), twin.layers(), strict=True):
        assert leaf.gradient.dtype == leaf.parameters.dtype == np.float32
        assert_close(leaf.gradient, double.gradient)


def double_precision(dy):
    return tuple(map(double_precision, dy)) if isinstance(dy, tuple) else dy.astype(np.float64)


def assert_close(single, double):
    """Normalising two numbers that are almost alike, or a ReLU near zero, enlarges rounding."""
    error = np.linalg.norm(single - double)
    assert error <= 2e-4 * np.linalg.norm(double) + 1e-4


@every_layer
@given(data=st.data())
def test_how_numbers_lie_in_memory_changes_nothing(kind, data):
    case = data.draw(LAYERS[kind])
    x = case.batch()
    expected = run(case.build(), case, x.copy())
    layer = case.build()
    y = layer.forward(data.draw(layouts(x)))
    outputs = parts(y)
    dy = case.upstream(y)
    if not isinstance(dy, tuple):
        dy = data.draw(layouts(dy))
    dx = np.array(layer.backward(dy))
    found = outputs, dx, [leaf.gradient for leaf in layer.layers()]
    for left, right in zip(expected, found, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@every_layer
@given(data=st.data())
def test_an_empty_batch_has_empty_outputs_and_no_gradient(kind, data):
    case = data.draw(LAYERS[kind])
    layer = case.build()
    for leaf in layer.layers():
        leaf.gradient[...] = np.nan
    outputs = parts(layer.forward(case.batch()))
    x = case.batch(size=0)
    y = layer.forward(x)
    assert [part.shape for part in parts(y)] == [(0, *part.shape[1:]) for part in outputs]
    assert layer.backward(case.upstream(y)).shape == x.shape
    for leaf in layer.layers():
        assert not leaf.gradient.any()


@every_layer
@given(data=st.data())
def test_output_shape_is_the_shape_of_the_output(kind, data):
    case = data.draw(LAYERS[kind])
    layer = case.build()
    shapes = layer.output_shape(case.shape[1:])
    flat = [part.shape[1:] for part in parts(layer.forward(case.batch()))]
    assert flat == (flatten(shapes) if isinstance(shapes[0], tuple) else [shapes])


def flatten(shapes):
    if isinstance(shapes[0], tuple):
        return [shape for nested in shapes for shape in flatten(nested)]
    return [shapes]


@every_layer
@given(data=st.data(), sizes=st.lists(st.integers(0, 4), min_size=2, max_size=4))
def test_batches_before_leave_no_trace(kind, data, sizes):
    """Buffers are kept from batch to batch: larger, smaller, larger again, all are right."""
    case = data.draw(LAYERS[kind])
    layer = case.build()
    for size in sizes:
        x, fresh = case.batch(size=size), case.build()
        for old, new in zip(layer.leaves(), fresh.leaves(), strict=True):
            if hasattr(old, "rate"):
                new.generator.bit_generator.state = old.generator.bit_generator.state
        assert_same(run(layer, case, x.copy()), run(fresh, case, x.copy()))


@pytest.mark.parametrize("kind", [k for k in LAYERS if k not in LEARNING])
@given(data=st.data())
def test_layers_that_learn_nothing_follow_a_change_of_precision(kind, data):
    case = data.draw(LAYERS[kind])
    layer = case.build()
    for dtype in (np.float32, np.float64, np.float32):
        y = layer.forward(case.batch(dtype))
        assert y.dtype == layer.backward(case.upstream(y)).dtype == dtype


@every_layer
@given(data=st.data())
def test_backward_overwrites(kind, data):
    case = data.draw(LAYERS[kind])
    layer, used = case.build(), case.build()
    for leaf in used.layers():
        leaf.gradient[...] = np.nan
    assert_same(run(layer, case, case.batch()), run(used, case, case.batch()))


@every_layer
@given(data=st.data())
def test_one_forward_allows_one_backward(kind, data):
    case = data.draw(LAYERS[kind])
    layer = case.build()
    y = layer.forward(case.batch())
    layer.backward(case.upstream(y))
    with pytest.raises(RuntimeError, match=r"backward without a forward before it: call forward"):
        layer.backward(case.upstream(y))


@every_layer
@given(data=st.data())
def test_inference_is_no_forward_for_backward(kind, data):
    case = data.draw(LAYERS[kind])
    layer = case.build()
    layer.forward(case.batch())
    y = layer.forward(case.batch(), training=False)
    with pytest.raises(RuntimeError, match=r"call forward\(x, training=True\) once"):
        layer.backward(case.upstream(y))


@pytest.mark.parametrize("kind", [k for k in LAYERS if k not in DIFFERENT_IN_INFERENCE])
@given(data=st.data())
def test_inference_is_forward(kind, data):
    case = data.draw(LAYERS[kind])
    layer = case.build()
    training = parts(layer.forward(case.batch()))
    assert_same([training], [parts(layer.forward(case.batch(), training=False))])


@pytest.mark.parametrize("kind", [k for k in LAYERS if k != "ReLU in place"])
@given(data=st.data())
def test_inputs_and_upstream_gradients_are_left_alone(kind, data):
    case = data.draw(LAYERS[kind])
    layer, x = case.build(), case.batch()
    y = layer.forward(x)
    dy = case.upstream(y)
    before = parts(dy)
    layer.backward(dy)
    np.testing.assert_array_equal(x, case.batch())
    assert_same([before], [parts(dy)])


@every_layer
@given(data=st.data())
def test_each_learning_leaf_is_announced_once_last_first_and_complete(kind, data):
    case = data.draw(LAYERS[kind])
    layer = case.build()
    announced = []
    y = layer.forward(case.batch())
    layer.backward(case.upstream(y), lambda leaf: announced.append((leaf, leaf.gradient.copy())))
    assert [leaf for leaf, _ in announced] == layer.layers()[::-1]
    for leaf, gradient in announced:
        np.testing.assert_array_equal(leaf.gradient, gradient)


@every_layer
@given(data=st.data())
def test_samples_do_not_see_each_other(kind, data):
    """A batch's outputs are its samples' outputs; batch normalisation alone is about batches."""
    case = data.draw(LAYERS[kind])
    layer = case.build()
    whole = parts(layer.forward(case.batch(), training=False))
    for sample in range(case.shape[0]):
        alone = parts(layer.forward(case.batch()[sample : sample + 1], training=False))
        for batch, one in zip(whole, alone, strict=True):
            np.testing.assert_allclose(batch[sample], one[0], rtol=1e-12, atol=1e-12)
