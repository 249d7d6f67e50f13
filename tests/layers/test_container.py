"""Containers: names, order, and gradients announced from deep inside at the first moment."""

import numpy as np
import pytest
from layers.strategies import branches, parts

from minidl.layers import Branches, Conv2d, Flatten, Linear, ReLU, Residual, Sequential


class Recorder(Linear):
    """Writes down when its backward begins; the announcement comes in the middle of it."""

    def __init__(self, events):
        super().__init__(2, 2, generator=np.random.default_rng(0), dtype=np.float64)
        self.events = events

    def backward(self, dy, announce=None):
        self.events.append(f"{self.name} begins")
        return super().backward(dy, announce)


def test_a_leaf_is_announced_before_the_layer_in_front_of_it_begins():
    events = []
    network = Sequential(
        a=Recorder(events),
        inner=Sequential(
            b=Recorder(events),
            around=Residual(Sequential(c=Recorder(events), d=Recorder(events))),
            relu=ReLU(),
        ),
        heads=Branches(e=Recorder(events), f=Sequential(g=Recorder(events), h=Recorder(events))),
    )
    y = network.forward(np.ones((3, 2)))
    network.backward(y, lambda leaf: events.append(f"{leaf.name} announced"))
    order = [name for leaf in "hgedcba" for name in (f"{leaf} begins", f"{leaf} announced")]
    assert events == order
    assert [leaf.name for leaf in network.layers()] == list("abcdegh")


def test_layers_are_those_that_learn_and_leaves_are_all():
    generator = np.random.default_rng(0)
    network = branches(2, generator, np.float64)
    assert [leaf.name for leaf in network.layers()] == ["trunk", "boxes", "linear1"]
    assert [leaf.name for leaf in network.leaves()] == [
        "trunk",
        "boxes",
        "flatten0",
        "leakyrelu1",
        "globalavgpool2d0",
        "linear1",
    ]


def test_a_trace_follows_the_shapes_that_forward_makes():
    network = branches(2, np.random.default_rng(0), np.float32)
    shapes = {leaf.name: (before, after) for leaf, before, after in network.trace((4, 5, 2))}
    assert shapes["trunk"] == ((4, 5, 2), (4, 5, 2))
    assert shapes["boxes"] == ((4, 5, 2), (4, 5, 1))
    assert shapes["leakyrelu1"] == ((40,), (40,))
    assert shapes["linear1"] == ((2,), (2,))
    assert network.output_shape((4, 5, 2)) == ((4, 5, 1), ((40,), (2,)))


def test_branches_sum_what_comes_back():
    generator = np.random.default_rng(0)
    one, other = (Linear(3, 2, generator=generator, dtype=np.float64) for _ in range(2))
    network = Branches(one, other)
    x, (dy, dz) = generator.standard_normal((4, 3)), generator.standard_normal((2, 4, 2))
    y, z = network.forward(x)
    np.testing.assert_allclose(y, x @ one.weight)
    np.testing.assert_allclose(z, x @ other.weight)
    np.testing.assert_allclose(network.backward((dy, dz)), dy @ one.weight.T + dz @ other.weight.T)


def test_branches_leave_alone_what_they_sum():
    network = Branches(ReLU(), Flatten())  # which sends back its dy as it is
    x = np.ones((2, 3))
    network.forward(x)
    dy = (x.copy(), x.copy())
    np.testing.assert_array_equal(network.backward(dy), 2 * x)
    np.testing.assert_array_equal(dy, (x, x))


def test_branches_want_one_dy_each():
    network = Branches(ReLU(), ReLU())
    network.forward(np.ones((1, 2)))
    with pytest.raises(ValueError, match="zip"):
        network.backward((np.ones((1, 2)),))


def test_a_residual_adds_its_input():
    generator = np.random.default_rng(0)
    inner = Linear(3, 3, generator=generator, dtype=np.float64)
    x, dy = generator.standard_normal((2, 4, 3))
    network = Residual(inner)
    np.testing.assert_allclose(network.forward(x), x + x @ inner.weight)
    np.testing.assert_allclose(network.backward(dy), dy + dy @ inner.weight.T)


def test_inference_reaches_every_layer_inside():
    network = branches(2, np.random.default_rng(0), np.float64)
    y = network.forward(np.ones((3, 4, 5, 2)), training=False)
    assert len(parts(y)) == 3
    for leaf in network.leaves():
        with pytest.raises(RuntimeError, match=f"{leaf.name}: backward without a forward"):
            leaf.backward(np.ones((1, 1)))


def test_weight_and_bias_are_views_of_one_vector():
    layer = Conv2d(2, 3, (3, 1), generator=np.random.default_rng(0))
    assert layer.parameters.shape == layer.gradient.shape == (3 * 1 * 2 * 3 + 3,)
    layer.parameters[...] = np.arange(21)
    np.testing.assert_array_equal(layer.weight.ravel(), np.arange(18))
    np.testing.assert_array_equal(layer.bias, [18, 19, 20])
    views = layer.views(layer.gradient)
    views["bias"][...] = 5
    assert list(views) == ["weight", "bias"]
    np.testing.assert_array_equal(layer.dbias, [5, 5, 5])
    np.testing.assert_array_equal(layer.gradient[-3:], [5, 5, 5])
