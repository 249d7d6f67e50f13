"""Gradients of whole models: right ones pass, a broken layer is named, targets are found."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from printed import Printed

from minidl import model
from minidl.cli.check import print_check, random_target
from minidl.errors import UserError
from minidl.layers import Conv2d, Flatten, Linear, ReLU, Sequential
from minidl.losses import mean_squared_error, softmax_cross_entropy


def checked(module, shape=(16, 16, 3), width=4, seed=1):
    console = Printed()
    return print_check(module, shape, width, seed, console), console.text


class Forgetful(Linear):
    """Leaves out the bias's gradient."""

    def backward(self, dy, announce=None):
        dx = super().backward(dy, announce)
        self.dbias[...] = 0
        return dx


def classifier(last=Linear, loss=softmax_cross_entropy, **more):
    def network(shape, generator, *, width=3, dtype=np.float32):
        return Sequential(
            conv=Conv2d(shape[2], width, 3, generator=generator, dtype=dtype),
            relu=ReLU(inplace=True),
            flat=Flatten(),
            last=last((shape[0] - 2) * (shape[1] - 2) * width, 3, generator=generator, dtype=dtype),
        )

    return SimpleNamespace(__name__="mine", network=network, loss=loss, **more)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradients_of_the_paper_s_network_are_right(seed):
    right, text = checked(model.load("hep"), seed=seed)
    assert right and "All gradients are right." in text and "WRONG" not in text
    # By itself each layer shows all its gradients; in the network, those that are learnt.
    for name in ("conv1.weight", "conv5.bias", "linear.weight"):
        assert text.count(name) == 2
    for name in ("pool1.input", "relu5.input", "mean.input"):
        assert text.count(name) == 1
    assert "conv1.input" not in text


def test_images_need_not_be_square():
    assert checked(classifier(), (6, 5, 2), None)[0]


def test_a_broken_layer_is_named_and_explained():
    right, text = checked(classifier(last=Forgetful), (5, 6, 2), 2)
    assert not right
    assert len(re.findall(r"last\.bias +3 .* WRONG", text)) == 2
    assert text.count("WRONG") == 2 and "2 of 13 gradients are wrong." in text
    assert re.search(r"last\.bias\[\d\]: backward says 0, differences say", text)


def test_a_model_may_bring_targets_of_its_own():
    def targets(output, generator):
        return generator.standard_normal(output.shape)

    assert checked(classifier(loss=mean_squared_error, random_target=targets), (5, 5, 1), 2)[0]


def test_labels_stand_in_for_the_targets_of_a_classifier():
    target = random_target(SimpleNamespace(), np.zeros((50, 4)), np.random.default_rng(0))
    assert target.shape == (50,) and set(target) == {0, 1, 2, 3}


def test_what_cannot_be_checked_is_told_in_one_line():
    def unfit(output, target):
        raise ValueError("this loss wants boxes")

    def single(shape, generator, *, width=1, dtype=np.float32):
        return Sequential(Conv2d(1, 1, 1, generator=generator))

    for module, message in (
        (classifier(loss=unfit), "mine cannot be checked: this loss wants boxes; .*random_target"),
        (SimpleNamespace(__name__="mine", network=single), "float64"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            checked(module, (5, 5, 1), 2)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no classifier"):
        random_target(module, (np.zeros((2, 3)),), np.random.default_rng(0))
