"""``minidl bench step`` and ``layers``: what takes turns, what is counted, what adds up."""

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
from events import write_events
from launch import minidl
from printed import Printed

from minidl import model
from minidl.bench import engines, torch_engines
from minidl.bench.layers import measure_layers, print_layers
from minidl.bench.layers_picture import draw
from minidl.bench.problem import make_problem
from minidl.bench.step import MINIDL, compare, measure_step, print_step
from minidl.bench.turns import UnavailableError, take_turns
from minidl.errors import UserError
from minidl.layers import (
    Branches,
    Conv2d,
    ConvTranspose2d,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Strips,
)
from minidl.summary import build, summarize

TINY = ("--size", 16, "--width", 4, "--batch-size", 2, "--repetitions", 1)
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is not installed: make test-torch"
)

MINE = """
import numpy as np
from minidl.layers import Branches, Conv2d, Sequential, Tanh

FIELDS = ("data",)
DEFAULTS = {"optimizer": "sgd"}

def network(shape, generator, *, width=2, dtype=np.float32):
    conv = lambda kernel: Conv2d(shape[2], width, kernel, generator=generator, dtype=dtype)
    return Sequential(tanh=Tanh(), heads=Branches(wide=conv(3), narrow=conv(1)))

def loss(output, target):
    return 0.0, output

def random_target(output, generator):
    return None

def prepare(samples, chances): ...
def shape(dataset): ...
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def tiny(**options):
    return make_problem("hep", (16, 16, 3), 2, width=4, **options)


# Engines of the tests: they run in processes of their own, which import them from here.


def counter():
    calls = []

    def turn():
        calls.append(None)
        return {"call": len(calls), "process": os.getpid()}

    return turn


def talker():
    print("a library says hello")
    return lambda: {}


def absent():
    raise UnavailableError("not on this machine")


def mistaken():
    raise UserError("no such file")


def dying():
    os._exit(3)


def test_engines_take_turns_in_processes_of_their_own_and_the_first_turn_does_not_count():
    answers = take_turns({"a": counter, "b": counter, "c": talker}, repetitions=2).answers
    assert [answer["call"] for answer in answers["a"]] == [2, 3]
    assert [answer["call"] for answer in answers["b"]] == [2, 3]
    assert len({os.getpid(), answers["a"][0]["process"], answers["b"][0]["process"]}) == 3
    assert all(answer["seconds"] > 0 and answer["peak"] > 1e6 for answer in answers["c"])


def test_an_engine_that_cannot_run_here_is_left_out():
    turns = take_turns({"a": counter, "b": absent}, repetitions=1)
    assert turns.left_out == {"b": "not on this machine"}
    assert list(turns.answers) == ["a"]


def test_what_goes_wrong_in_a_process_is_said_in_a_line():
    with pytest.raises(UserError, match=r"^no such file$"):
        take_turns({"a": mistaken}, repetitions=1)
    with pytest.raises(UserError, match=r"^the process of a ended with status 3$"):
        take_turns({"a": dying}, repetitions=1)


def test_a_step_is_measured_beside_the_product_of_matrices():
    done = minidl("bench", "step", "hep", *TINY, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (row,) = found["engines"].values()
    flops = row["gflops"]["median"] * row["seconds"]["median"] * 1e9
    assert flops == pytest.approx(tiny().flops())
    rate = row["of_sgemm"]["median"] * found["sgemm"]["median"]
    assert rate == pytest.approx(row["gflops"]["median"])
    assert row["peak"] > 1e7
    assert found["best"] is found["speed"] is found["memory"] is None


def test_operations_are_those_of_direct_convolution():
    rows = summarize(build(model.load("hep"), (16, 16, 3), 4, np.float32), (16, 16, 3))
    assert tiny().flops() == 2 * sum(row.training for row in rows)
    assert tiny(inference=True).flops() == 2 * sum(row.forward for row in rows)


@pytest.mark.parametrize("inference", [False, True])
def test_the_fastest_of_the_others_counts_and_those_left_out_are_named(inference):
    step = partial(engines.step, tiny(inference=inference, threads=2))
    found = compare({MINIDL: step, "other": step, "absent": absent}, 10**6, 1, repetitions=2)
    assert found.best == "other" and found.left_out == {"absent": "not on this machine"}
    assert found.speed.smallest <= found.speed.median <= found.speed.largest
    console = Printed()
    print_step(found, False, console)
    assert "Left out: absent: not on this machine" in console.text
    assert f"minidl is {found.speed} times as fast as other" in console.text


def test_without_torch_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("minidl.bench.problem.find_spec", lambda name: None)
    for measure in (measure_step, partial(measure_layers, data=None)):
        with pytest.raises(UserError, match=r"PyTorch: pip install 'minidl\[torch\]'"):
            measure(tiny(), against="torch", repetitions=1)


def test_every_second_of_a_step_belongs_to_a_layer_or_is_named():
    found = measure_layers(tiny(), None, None, repetitions=1)
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "mean", "linear"]
    assert [row.name for row in found.layers] == names
    shares = sum(row.share for row in found.layers)
    shares += sum(other.seconds.median for other in found.others) / found.step.median
    assert shares == pytest.approx(1)
    assert [other.name for other in found.others] == ["solver", "rest"]
    assert found.loader is None


def test_a_layer_s_rate_counts_its_operations():
    problem = tiny()
    rows = {row.name: row for row in summarize(problem.network(), (16, 16, 3))}
    for layer in measure_layers(problem, None, None, repetitions=1).layers:
        row = rows[layer.name]
        forward = layer.forward.gflops * layer.forward.seconds.median * 1e9
        backward = layer.backward.gflops * layer.backward.seconds.median * 1e9
        assert forward == pytest.approx(2 * row.forward)
        assert backward == pytest.approx(2 * (row.training - row.forward))


def test_the_algorithm_that_computed_a_convolution_is_named():
    problem = tiny()
    network = problem.network()
    network.forward(problem.x)
    convolutions = [leaf for leaf in network.leaves() if isinstance(leaf, Conv2d)]
    expected = {leaf.name: str(leaf.convolution.algorithm) for leaf in convolutions}
    found = measure_layers(problem, None, None, repetitions=1)
    assert {row.name: row.algorithm for row in found.layers if row.algorithm} == expected


def test_layers_of_a_run_on_data_with_their_picture(tmp_path):
    write_events(tmp_path / "events.h5", 5)
    done = minidl(
        "bench", "layers", "hep", "--data", "events.h5", *TINY[2:], "--picture", "a.png",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for word in ("conv1", "linear", "solver", "rest", "step", "loader", "GFLOP/s"):
        assert word in done.stdout


def test_json_has_all_that_the_table_has():
    found = measure_layers(tiny(), None, None, repetitions=1)
    console = Printed()
    print_layers(found, True, console)
    assert json.loads(console.text) == asdict(found)


def test_the_picture_names_every_layer_and_the_optimiser():
    found = measure_layers(tiny(), None, None, repetitions=1)
    times, rates = draw(found).axes
    labels = [label.get_text().split("\n")[0] for label in times.get_yticklabels()]
    assert labels == [row.name for row in found.layers] + ["solver", "rest"]
    assert times.get_xlabel() == "milliseconds" and "GFLOP/s" in rates.get_xlabel()


@pytest.mark.parametrize("command", ["step", "layers"])
def test_a_model_of_ones_own_is_measured(mine, command):
    done = minidl(
        "bench", command, "mine", "--size", 8, "--channels", 2, "--repetitions", 1, cwd=mine
    )
    assert done.returncode == 0, done.stderr
    assert "minidl" in done.stdout or {"tanh", "wide", "narrow"} < set(done.stdout.split())


@pytest.mark.parametrize(("arguments", "line"), [
    (("step", "hep", "--size", 8), "needs 16 x 16 pixels"),
    (("step", "hep", "--size", 16, "--threads", 0), "--threads must be at least 1"),
    (("step", "hep", "--size", 16, "--batch-size", 0), "--batch-size must be at least 1"),
    (("layers", "hep", "--size", 16, "--repetitions", 0), "--repetitions must be at least 1"),
    (("layers", "hep", "--picture", "a.gif"), "--picture takes a file ending in .png"),
    (("layers", "hep", "--data", "none.h5"), "none.h5: no such file"),
    (("layers", "hep", "--data", "two.h5", "--batch-size", 3), "2 samples are no batch of 3"),
])  # fmt: skip
def test_mistakes_are_answered_in_a_line(tmp_path, arguments, line):
    write_events(tmp_path / "two.h5", 2)
    done = minidl("bench", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr and done.stderr.count("\n") == 1


@needs_torch
@pytest.mark.parametrize("inference", [False, True])
def test_pytorch_computes_the_same_step_in_every_way(inference):
    found = measure_step(tiny(inference=inference), "torch", repetitions=1)
    ways = {"torch NCHW", "torch NHWC", "torch compiled"}
    assert set(found.engines) | set(found.left_out) == {MINIDL, *ways}
    assert found.best in ways and found.memory > 0


@needs_torch
def test_without_a_compiler_the_compiled_step_is_left_out(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    found = measure_step(tiny(), "torch", repetitions=1)
    reason = found.left_out["torch compiled"]
    assert reason.startswith("torch.compile does not work here") and "\n" not in reason


@needs_torch
def test_pytorch_stands_beside_every_layer():
    found = measure_layers(tiny(), None, "torch", repetitions=1)
    assert all(row.forward.torch and row.backward.torch and row.speed for row in found.layers)
    console = Printed()
    print_layers(found, False, console)
    assert "torch" in console.text and found.torch in console.text
    assert "PyTorch's rate" in {text.get_text() for text in draw(found).legends[0].get_texts()}


def branched():
    generator = np.random.default_rng(1)
    geometry = {"stride": 2, "padding": 2, "generator": generator}
    network = Sequential(
        Strips(conv=Conv2d(3, 4, 5, **geometry), pool=MaxPool2d(2), relu=ReLU()),
        Branches(
            classes=Sequential(mean=GlobalAvgPool2d(), linear=Linear(4, 2, generator=generator)),
            drawn=Sequential(
                up=ConvTranspose2d(4, 6, 5, output_padding=1, **geometry), relu=ReLU(inplace=True)
            ),
        ),
    )
    x = generator.standard_normal((2, 16, 12, 3), np.float32)
    outputs = [y.copy() for y in network.forward(x)]
    dy = [generator.standard_normal(y.shape, np.float32) for y in outputs]
    network.backward(tuple(part.copy() for part in dy))
    return network, x, outputs, dy


@needs_torch
def test_pytorch_s_counterpart_of_a_network_computes_the_same():
    from minidl.bench.torch_twin import check, twin

    network, *arrays = branched()
    check([twin(network)], network, *arrays)


@needs_torch
@pytest.mark.parametrize(("spoil", "what"), [
    (lambda network, outputs: outputs[1][0, 0].fill(0), "output 1"),
    (lambda network, outputs: network.layers()[0].dweight[0].fill(0), "conv's .* its weight"),
    (lambda network, outputs: network.layers()[2].dbias.fill(0), "up's .* its bias"),
])  # fmt: skip
def test_engines_that_compute_different_things_are_not_compared(spoil, what):
    from minidl.bench.torch_twin import check, twin

    network, x, outputs, dy = branched()
    spoil(network, outputs)
    with pytest.raises(UserError, match=f"do not compute the same: {what} differs"):
        check([twin(network)], network, x, outputs, dy)


@needs_torch
@pytest.mark.parametrize("inference", [False, True])
def test_a_network_with_branches_and_a_loss_of_its_own_is_compared(inference, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")  # compiling takes long
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    problem = make_problem("climate", (32, 32, 16), 1, width=4, inference=inference)
    found = measure_step(problem, "torch", repetitions=1)
    assert set(found.engines) == {MINIDL, "torch NCHW", "torch NHWC"} and found.memory > 0
    with pytest.raises(UserError, match="takes layers in sequence here; climate has branches"):
        measure_layers(problem, None, "torch", repetitions=1)


@needs_torch
def test_pytorch_s_optimiser_has_the_model_s_momentum():
    rival = make_problem("climate", (32, 32, 16), 1, width=4).for_torch()
    assert (rival.optimizer, rival.momentum) == ("sgd", 0.9)
    group = torch_engines.make_optimizer(rival, rival.modules[0].parameters()).param_groups[0]
    assert group["momentum"] == 0.9


@needs_torch
def test_networks_that_pytorch_is_not_compared_on_are_refused(mine, monkeypatch):
    monkeypatch.syspath_prepend(mine)
    with pytest.raises(UserError, match="--against torch knows no counterpart of tanh, Tanh"):
        measure_step(make_problem("mine", (8, 8, 2), 1), "torch", repetitions=1)
    sys.modules.pop("mine")
