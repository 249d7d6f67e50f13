"""A network is the same in other programs: its numbers to the bit, its outputs but for rounding."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from events import write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import minidl
from safetensors import safe_open

from minidl import checkpoint
from minidl.cli.export_command import export_run, onnx_file
from minidl.data import Dataset
from minidl.errors import UserError
from minidl.export import arrays
from minidl.layers import (
    AvgPool2d,
    BatchNorm2d,
    Branches,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Strips,
    Tanh,
)
from minidl.layers.algorithms import use_algorithm
from minidl_models.climate.network import network as climate
from minidl_models.hep.network import network as hep

ROUNDING = 1e-5  # of the largest output: float32, summed in another order

# The HEP model, with layers that have statistics or do nothing but in training, and an option.
NORMALISED = """
import numpy as np
from minidl.layers import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear, Sequential
from minidl_models.hep import *
OPTIONS = {"scale": 1.0, "labels": "all"}

def measure(dataset, tell):
    return {"mean": 0.5}

def network(shape, generator, *, width=4, dtype=np.float32):
    return Sequential(
        conv1=Conv2d(shape[2], width, 3, padding=1, generator=generator, dtype=dtype),
        norm=BatchNorm2d(width, dtype=dtype), drop=Dropout(0.5, generator=generator),
        mean=GlobalAvgPool2d(), linear=Linear(width, 2, generator=generator, dtype=dtype),
    )
"""


def drawn():
    return np.random.default_rng(1)


def learnt(network):
    """Fill a network with numbers as if it had learnt them: none is what it starts with."""
    generator = np.random.default_rng(2)
    for leaf in network.leaves():
        leaf.parameters[...] += 0.1 * generator.standard_normal(leaf.parameters.size)
        leaf.statistics[...] = generator.uniform(0.5, 2, leaf.statistics.size)
    use_algorithm(network, "im2col")
    return network


def session(contents):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])


def flat(output):
    return (
        [part for each in output for part in flat(each)] if isinstance(output, tuple) else [output]
    )


def assert_same(network, shape, batch_sizes=(2,)):
    """Run a network and its ONNX on the same batches; return the names of the outputs."""
    theirs = session(onnx_file(learnt(network), shape, {}))
    for size in batch_sizes:
        x = np.random.default_rng(size).standard_normal((size, *shape)).astype(np.float32)
        wanted = [part.copy() for part in flat(network.forward(x.copy(), training=False))]
        found = theirs.run(None, {"images": x})
        for y, their_y in zip(wanted, found, strict=True):
            assert their_y.shape == y.shape
            np.testing.assert_allclose(their_y, y, rtol=ROUNDING, atol=ROUNDING * np.abs(y).max())
    return [output.name for output in theirs.get_outputs()]


def conv(channels, filters, kernel=3, **geometry):
    return Conv2d(channels, filters, kernel, generator=drawn(), **geometry)


NETWORKS = {
    "relu": lambda: ReLU(),
    "relu in place": lambda: Sequential(conv(3, 3), ReLU(inplace=True)),
    "leaky": lambda: LeakyReLU(0.2),
    "sigmoid": lambda: Sigmoid(),
    "tanh": lambda: Tanh(),
    "dropout": lambda: Dropout(0.5, generator=drawn()),
    "norm": lambda: BatchNorm2d(3, epsilon=1e-3),
    "mean": lambda: GlobalAvgPool2d(),
    "flatten": lambda: Flatten(),
    "flatten twice": lambda: Sequential(Flatten(), Flatten()),
    "linear": lambda: Sequential(Flatten(), Linear(7 * 6 * 3, 5, generator=drawn()), Tanh()),
    "conv, then linear": lambda: Sequential(
        conv(3, 2, padding=1), Flatten(), Linear(7 * 6 * 2, 5, generator=drawn())
    ),
    "strips": lambda: Strips(conv(3, 4, padding=1), MaxPool2d(2), ReLU()),
    "residual": lambda: Residual(Sequential(conv(3, 3, padding=1), Tanh())),
    "residual of nothing": lambda: Residual(Sequential()),
    "nothing": lambda: Sequential(),
    "names twice": lambda: Sequential(
        Sequential(one=conv(3, 4)), Sequential(one=conv(4, 2)), Sequential(one=ReLU())
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer_computes_the_same_in_onnx(name):
    assert assert_same(NETWORKS[name](), (7, 6, 3)) == ["output"]


@st.composite
def axis(draw, kind):
    """Kernel, stride, padding, output padding and an image's size, in one direction, that fit."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2 if kind == "pool" else 3))
    more = draw(st.integers(0, stride - 1)) if kind == "deconv" else 0
    least = max(1, kernel - 2 * padding)
    if kind == "deconv":  # at least a pixel is left: (size - 1) stride - 2 padding + ... >= 1
        least = max(1, 1 - (kernel + more - 2 * padding - 1) // stride)
    return kernel, stride, padding, more, least + draw(st.integers(0, 5))


def both_axes(kind):
    """The same, each as (height, width)."""
    return st.tuples(axis(kind), axis(kind)).map(lambda axes: tuple(zip(*axes, strict=True)))


@settings(max_examples=40)
@given(both_axes("conv"))
def test_convolutions_of_any_geometry_compute_the_same(geometry):
    kernel, stride, padding, _, size = geometry
    assert_same(conv(2, 3, kernel, stride=stride, padding=padding), (*size, 2))


@settings(max_examples=40)
@given(both_axes("deconv"))
def test_transposed_convolutions_of_any_geometry_compute_the_same(geometry):
    kernel, stride, padding, more, size = geometry
    layer = ConvTranspose2d(
        2, 3, kernel, stride=stride, padding=padding, output_padding=more, generator=drawn()
    )
    assert_same(layer, (*size, 2))


@settings(max_examples=40)
@given(st.sampled_from([MaxPool2d, AvgPool2d]), both_axes("pool"))
def test_pooling_of_any_geometry_computes_the_same(kind, geometry):
    kernel, stride, padding, _, size = geometry
    assert_same(kind(kernel, stride=stride, padding=padding), (*size, 2))


def test_the_hep_network_computes_the_same_for_batches_of_any_size():
    assert assert_same(hep((32, 48, 3), drawn(), width=8), (32, 48, 3), (1, 3)) == ["output"]


def test_the_climate_network_has_an_output_a_branch():
    names = assert_same(climate((64, 96, 16), drawn(), width=8), (64, 96, 16), (1, 3))
    assert names == ["confidence", "classes", "position", "size", "decoder"]


def test_branches_inside_branches_are_named_after_both():
    inner = Branches(ReLU(), images=Tanh())
    names = assert_same(Branches(far=Sequential(conv(2, 2), inner), images=Sigmoid()), (5, 4, 2))
    assert names == ["far.relu0", "far.images", "images_2"]


def test_a_layer_that_computes_something_else_than_its_base_is_not_taken_for_it():
    class Doubled(ReLU):
        def forward(self, x, training=True, require=None):
            return 2 * super().forward(x, training, require)

    with pytest.raises(UserError, match=r"doubled0: no ONNX is known for .* kind Doubled, only"):
        onnx_file(Sequential(Doubled()), (4, 4, 1), {})


def test_a_layer_that_is_only_built_otherwise_than_its_base_is_taken_for_it():
    class Block(Sequential):
        def __init__(self):
            super().__init__(conv=conv(3, 3), relu=ReLU())

    assert_same(Block(), (5, 5, 3))


def test_layers_keep_their_numbers_where_names_are_not_enough():
    def state(*names):
        one = checkpoint.LayerState(np.zeros(1, np.float32), {"weight": (1,)}, {}, 0)
        return checkpoint.State([1], 9, dict.fromkeys(names, one), {}, np.zeros(0), [])

    assert list(arrays.named_arrays(state("00.a", "01.b"))) == ["a.weight", "b.weight"]
    assert list(arrays.named_arrays(state("00.a", "01.a"))) == ["00.a.weight", "01.a.weight"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of a model of the user's own."""
    place = tmp_path_factory.mktemp("trained")
    write_events(place / "events.h5", 24)
    (place / "normalised.py").write_text(NORMALISED)
    done = minidl(
        *("train", "normalised", "--data", "events.h5", "--iterations", 3, "--batch-size", 4),
        *("--scale", 2, "--out", "run"),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture
def place(trained, monkeypatch):
    """The same, as working directory, with nothing exported yet."""
    monkeypatch.chdir(trained)
    monkeypatch.syspath_prepend(trained)
    for path in (trained / "run").glob("network.*"):
        path.unlink()
    return trained


def rebuilt(place):
    """The network as the checkpoint has it."""
    import normalised

    network = normalised.network((16, 16, 3), drawn())
    checkpoint.load(place / "run" / "checkpoint.h5", network)
    return network


def wanted_arrays(place):
    conv1, norm, *_, linear = rebuilt(place).children
    return {
        "conv1.weight": conv1.weight,
        "conv1.bias": conv1.bias,
        "norm.scale": norm.scale,
        "norm.shift": norm.shift,
        "norm.statistics": norm.statistics,
        "linear.weight": linear.weight,
        "linear.bias": linear.bias,
    }


def assert_equal_to_the_bit(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert (found[name].dtype, found[name].shape) == (wanted[name].dtype, wanted[name].shape)
        assert found[name].tobytes() == wanted[name].tobytes()


def assert_describes(metadata):
    assert metadata["model"] == "normalised"
    assert json.loads(metadata["options"]) == {"scale": 2.0, "labels": "all"}
    assert json.loads(metadata["measured"]) == {"mean": 0.5}
    assert json.loads(metadata["iterations"]) == [3]


def test_an_npz_has_the_network_to_the_bit_and_needs_no_pickle(place):
    done = minidl("export", "run", "--to", "npz", cwd=place)
    assert (done.returncode, done.stdout) == (0, "wrote run/network.npz\n")
    with np.load("run/network.npz", allow_pickle=False) as file:
        found = dict(file)
    metadata = json.loads(str(found.pop("metadata")))
    assert_equal_to_the_bit(found, wanted_arrays(place))
    assert_describes(metadata)
    assert "Conv2d weight (KH, KW, C, K)" in metadata["layout"]


def test_a_safetensors_file_has_the_network_to_the_bit(place):
    path = export_run(place / "run", "safetensors", None, False, ())
    with safe_open(path, "numpy") as file:
        assert_equal_to_the_bit(
            {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
            wanted_arrays(place),
        )
        assert_describes(file.metadata())


def test_an_onnx_file_says_of_prepared_data_what_the_run_does(place):
    import normalised

    assert minidl("export", "run", "--to", "onnx", cwd=place).returncode == 0
    theirs = session("run/network.onnx")
    samples = Dataset([place / "events.h5"], normalised.FIELDS).read(np.arange(5))
    x, _ = normalised.prepare(samples, None)
    wanted = rebuilt(place).forward(x, training=False)
    (found,) = theirs.run(None, {"images": x})
    np.testing.assert_allclose(found, wanted, rtol=ROUNDING, atol=ROUNDING * np.abs(wanted).max())
    assert_describes(theirs.get_modelmeta().custom_metadata_map)


def test_a_file_is_replaced_only_if_asked_for(place):
    out = place / "run" / "network.npz"
    out.write_text("mine")
    done = minidl("export", "run", "--to", "npz", cwd=place)
    assert (done.returncode, out.read_text()) == (2, "mine")
    assert done.stderr.startswith("minidl: run/network.npz: exists already; name another file")
    assert done.stderr.count("\n") == 1
    export_run(place / "run", "npz", None, True, ())
    assert np.load(io.BytesIO(out.read_bytes()))["conv1.bias"].shape == (4,)


def test_a_file_is_written_whole_or_not_at_all(place, monkeypatch):
    def full(descriptor):
        os.ftruncate(descriptor, 100)
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"network.npz: cannot write: no space left"):
        export_run(place / "run", "npz", None, False, ())
    assert not list((place / "run").glob("network*"))


@pytest.mark.parametrize("package", ["onnx", "safetensors"])
def test_a_missing_package_is_named(place, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package}: pip install 'minidl\[exp"):
        export_run(place / "run", package, None, False, ())


def test_a_run_without_its_data_needs_other_data_for_onnx_alone(place):
    events = place / "events.h5"
    other = events.rename(place / "other.h5")
    try:
        with pytest.raises(UserError, match=r"events.h5.*; name files of such images with --data"):
            export_run(place / "run", "onnx", None, False, ())
        export_run(place / "run", "onnx", None, False, [other])
        export_run(place / "run", "npz", None, False, ())
    finally:
        other.rename(events)


def test_what_is_no_run_is_said_in_a_line(place, tmp_path):
    done = minidl("export", tmp_path, "--to", "npz")
    assert done.returncode == 2
    assert done.stderr == f"minidl: {tmp_path}: not the folder of a run: no settings.json in it\n"
    done = minidl("export", place / "run", "--to", "pickle")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_run_without_a_checkpoint_is_said(tmp_path):
    (tmp_path / "settings.json").write_text('{"model": "hep"}')
    with pytest.raises(UserError, match=r"checkpoint.h5"):
        export_run(tmp_path, "npz", None, False, ())


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("", "is a folder"),
        ("run", "is a folder"),
        ("nowhere/a.npz", "cannot write"),
        ("events.h5/a.npz", "cannot write"),
        ("n" * 1000, "cannot write"),
    ],
)
def test_where_nothing_can_be_written_is_said(place, out, message):
    with pytest.raises(UserError, match=message):
        export_run(place / "run", "npz", Path(out), True, ())


def test_every_layer_of_the_library_can_be_exported():
    from minidl import layers
    from minidl.export.operators import OPERATORS

    kinds = {
        getattr(layers, name) for name in layers.__all__ if name not in ("Require", "Announce")
    }
    assert kinds - {Layer} == OPERATORS.keys()
