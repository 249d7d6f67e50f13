"""The table of a network's layers, and the numbers of the paper in it."""

from types import SimpleNamespace

import numpy as np
import pytest
from launch import minidl
from printed import Printed

from minidl import model
from minidl.errors import UserError
from minidl.layers import Conv2d, ConvTranspose2d, Linear, MaxPool2d, ReLU, Sequential
from minidl.summary import algorithm, kind, print_summary, summarize, training_flops

RANDOM = np.random.default_rng(0)


def summary(shape, width=None):
    console = Printed()
    print_summary(model.load("hep"), shape, width, console)
    return console.text


def test_the_command_prints_the_numbers_of_the_paper():
    done = minidl("summary", "hep")
    assert done.returncode == 0, done.stderr
    for number in (
        "594,178 parameters, 2.27 MiB in 6 messages",
        "5.26 GFLOP forward, 15.43 GFLOP training",
        "224x224x128",
    ):
        assert number in done.stdout


def test_size_and_width_change_what_they_should():
    assert "594,178 parameters" in summary((64, 64, 3))
    assert "0.43 GFLOP forward, 1.26 GFLOP training" in summary((64, 64, 3))
    assert "594,178" not in summary((64, 64, 3), width=8)


def test_rows_follow_the_network_with_the_shapes_that_forward_has():
    network = model.load("hep").network((48, 32, 3), RANDOM, width=4)
    rows = summarize(network, (48, 32, 3))
    x = np.zeros((2, 48, 32, 3), np.float32)
    for row, leaf in zip(rows, network.leaves(), strict=True):
        x = leaf.forward(x)
        assert (row.name, row.output) == (leaf.name, x.shape[1:])
        assert row.message == 4 * row.parameters == leaf.gradient.nbytes


def test_training_adds_the_gradients_that_a_layer_computes():
    inner = Conv2d(2, 3, 3, generator=RANDOM)
    first = Conv2d(2, 3, 3, generator=RANDOM, input_gradient=False)
    forward = 2 * 4 * 5 * 3 * 3 * 2 * 3
    assert inner.flops((6, 7, 2)) == forward
    assert training_flops(inner, (6, 7, 2)) == 3 * forward
    assert training_flops(first, (6, 7, 2)) == 2 * forward
    assert training_flops(ReLU(), (6, 7, 2)) == 0


def test_kinds_name_window_and_stride():
    assert kind(Conv2d(1, 1, (3, 5), generator=RANDOM)) == "Conv2d 3x5"
    assert kind(Conv2d(1, 1, 5, stride=2, generator=RANDOM)) == "Conv2d 5x5 /2"
    assert kind(MaxPool2d(2, stride=(2, 1))) == "MaxPool2d 2x2 /2x1"
    assert kind(Linear(1, 1, generator=RANDOM)) == "Linear"


def test_the_algorithm_named_is_the_one_that_computes_the_layer():
    network = Sequential(
        Conv2d(3, 64, 1, generator=RANDOM),
        Conv2d(64, 64, 5, stride=2, algorithm="winograd4", generator=RANDOM),
        Conv2d(64, 64, 3, padding=1, generator=RANDOM),
        ConvTranspose2d(64, 4, 4, stride=2, padding=1, generator=RANDOM),
    )
    named = [row.algorithm for row in summarize(network, (33, 33, 3))]
    network.forward(np.zeros((8, 33, 33, 3), np.float32))
    assert named == [str(layer.convolution.algorithm) for layer in network.layers()]
    assert named[:2] == ["im2col", "depth+winograd4"]
    assert algorithm(ReLU(), (1, 1, 1), (1, 1, 1)) == ""


def test_images_that_are_too_small_are_refused_in_one_line():
    done = minidl("summary", "hep", "--size", 8)
    assert done.returncode == 2
    assert "16 x 16" in done.stderr and done.stderr.count("\n") == 1


def test_images_that_a_users_network_cannot_take_are_refused():
    def network(shape, generator, *, width=1, dtype=np.float32):
        return Sequential(MaxPool2d(4))

    module = SimpleNamespace(__name__="mine", network=network)
    with pytest.raises(UserError, match=r"mine has no network for images of 2x2x1.*--size"):
        print_summary(module, (2, 2, 1), None, Printed())
