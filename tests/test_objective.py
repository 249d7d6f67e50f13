"""The objective: sums over samples, in one pass or several, clipped or not, asked and announced."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.layers import BatchNorm2d, Branches, Conv2d, Flatten, Linear, ReLU, Residual, Sequential
from minidl.losses import Sum, softmax_cross_entropy
from minidl.objective import Objective


def network(seed=0):
    generator = np.random.default_rng(seed)
    rest = {"generator": generator, "dtype": np.float64}
    return Sequential(
        Conv2d(2, 3, 3, padding=1, **rest),
        Residual(Sequential(ReLU(), BatchNorm2d(3, dtype=np.float64), Conv2d(3, 3, 1, **rest))),
        Flatten(),
        Linear(3 * 4 * 3, 4, **rest),
    )


def samples(count, seed=1):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, 4, 3, 2)), generator.integers(0, 4, count)


def plain():
    generator = np.random.default_rng(0)
    return Sequential(Flatten(), Linear(24, 4, generator=generator, dtype=np.float64))


def gradients(objective, batches):
    announced = []
    total = objective.forward(batches)
    objective.backward(lambda layer: announced.append((layer, layer.gradient.copy())))
    return total, dict(announced)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_passes_add_up_to_sums_over_all_samples(counts):
    net, (x, labels) = plain(), samples(sum(counts))
    objective = Objective(net, softmax_cross_entropy)
    ends = np.cumsum(counts)
    parts = [(x[end - n : end], labels[end - n : end]) for n, end in zip(counts, ends, strict=True)]
    total, found = gradients(objective, parts)
    loss, dy = softmax_cross_entropy(net.forward(x), labels)
    net.backward(dy)
    np.testing.assert_allclose(total, [loss * len(x), len(x), 0], rtol=1e-12)
    for layer, gradient in found.items():
        expected = layer.gradient * len(x)
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)


def halves(logits, labels):
    """The cross-entropy as a sum: a third of it and the rest."""
    value, dy = softmax_cross_entropy(logits, labels)
    return Sum({"third": value / 3, "rest": value * 2 / 3}), dy


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_terms_are_summed_over_all_samples_as_the_loss_is(counts):
    net, (x, labels) = plain(), samples(sum(counts))
    objective = Objective(net, halves)
    ends = np.cumsum(counts)
    parts = [(x[end - n : end], labels[end - n : end]) for n, end in zip(counts, ends, strict=True)]
    (loss, count, _, *terms), found = gradients(objective, parts)
    assert objective.terms == ("third", "rest")
    expected, _ = softmax_cross_entropy(net.forward(x), labels)
    np.testing.assert_allclose([loss, count], [expected * len(x), len(x)], rtol=1e-12)
    np.testing.assert_allclose(terms, [loss / 3, loss * 2 / 3], rtol=1e-12)
    _, without = gradients(Objective(net, softmax_cross_entropy), parts)
    assert all((found[layer] == without[layer]).all() for layer in found)


def test_a_loss_that_is_no_sum_has_no_terms():
    objective = Objective(plain(), softmax_cross_entropy)
    assert len(objective.forward([samples(3)])) == 3
    assert objective.terms == ()


@pytest.mark.parametrize("asked", [False, True])
def test_who_was_asked_to_stop_says_so_with_its_loss(asked):
    objective = Objective(plain(), softmax_cross_entropy)
    objective.asked_to_stop = asked
    assert objective.forward([samples(3), samples(0)])[2] == asked


def test_a_rank_knows_the_mean_loss_of_its_own_samples():
    values = iter([0.5, 2.0, 7.0])
    objective = Objective(plain(), lambda output, labels: (next(values), np.zeros_like(output)))
    objective.forward([samples(3), samples(1)])
    assert objective.own == (3 * 0.5 + 2.0) / 4
    objective.forward([samples(0)])
    assert objective.own == 0


def spoilt(which, loss=1.0):
    """An objective whose gradient is not finite in the given one of its batches."""
    batches = iter(range(100))

    def spoiling(output, labels):
        dy = np.ones_like(output)
        dy[0] = np.nan if next(batches) == which else 1
        return loss, dy

    return Objective(plain(), spoiling)


@pytest.mark.parametrize("which", [0, 1])
def test_the_first_gradient_that_is_not_finite_is_named(which):
    objective = spoilt(which)
    for update in range(which + 1):
        assert objective.origin == ""
        objective.forward([samples(3)])
        objective.backward(lambda layer: None)
        assert bool(objective.origin) == (update == which)
    last = objective.layers[-1].name
    assert objective.origin == f"the gradient of {last} was the first that was not finite"


def test_it_is_named_in_whichever_batch_of_an_update():
    objective = spoilt(0)
    objective.forward([samples(3), samples(3)])
    assert objective.origin.startswith("the gradient of")


def test_parameters_that_are_not_finite_are_the_origin_of_such_gradients():
    net = network()
    objective = Objective(net, softmax_cross_entropy)
    objective.forward([samples(3)])
    net.layers()[-1].parameters[0] = np.nan
    objective.backward(lambda layer: None)
    assert objective.origin == f"the parameters of {net.layers()[-1].name} were not finite any more"


def test_gradients_of_a_loss_that_is_none_are_no_origin():
    objective = spoilt(0, loss=np.nan)
    objective.forward([samples(3), samples(3)])
    objective.backward(lambda layer: None)
    assert objective.origin == ""


def test_every_layer_is_required_before_and_announced_after_its_use():
    net = network()
    told = []
    hidden = {layer: layer.parameters.copy() for layer in net.layers()}
    x, labels = samples(5)
    expected, _ = softmax_cross_entropy(net.forward(x), labels)
    for layer in net.layers():
        layer.parameters[...] = np.nan

    def require(layer):
        told.append(layer)
        layer.parameters[...] = hidden[layer]

    objective = Objective(net, softmax_cross_entropy)
    loss, count, _ = objective.forward([(x, labels)], require=require)
    np.testing.assert_allclose(loss / count, expected)
    assert told == net.layers()
    objective.backward(told.append)
    assert told == net.layers() + net.layers()[::-1]


def test_branches_pass_the_question_on():
    generator = np.random.default_rng(0)
    net = Branches(Linear(3, 2, generator=generator), Linear(3, 1, generator=generator))
    told = []
    net.forward(np.zeros((1, 3), np.float32), require=told.append)
    assert told == net.layers()


@pytest.mark.parametrize("parts", [1, 3])
def test_a_long_gradient_is_scaled_down_to_the_clip(parts):
    net, (x, labels) = network(), samples(6)
    cuts = np.array_split(np.arange(6), parts)
    batches = [(x[cut], labels[cut]) for cut in cuts]
    _, free = gradients(Objective(net, softmax_cross_entropy), batches)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in free.values())) / 6
    _, clipped = gradients(Objective(net, softmax_cross_entropy, clip=norm / 10), batches)
    _, wide = gradients(Objective(net, softmax_cross_entropy, clip=norm * 1.01), batches)
    assert list(clipped) == list(free) == net.layers()[::-1]
    for layer, gradient in free.items():
        np.testing.assert_allclose(clipped[layer], gradient / 10, rtol=1e-10)
        assert wide[layer].tobytes() == gradient.tobytes()


def test_a_clip_waits_until_backward_is_over():
    net, (x, labels) = network(), samples(3)
    objective = Objective(net, softmax_cross_entropy, clip=1e-6)
    objective.forward([(x, labels)])
    first = net.layers()[0]
    first.gradient[...] = np.nan
    finite = []
    objective.backward(lambda layer: finite.append(np.isfinite(first.gradient).all()))
    assert finite and all(finite)
