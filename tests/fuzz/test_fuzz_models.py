"""Models of users' own that are not as they should be: one line names the part, or it is raised.

What is raised inside of a model's functions is its author's to see, with the place; whatever else
is wrong with a model is told in one line that names the function.
"""

import importlib
import shutil
import sys
import traceback

import pytest
from commands import run
from events import write_events
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from launch import minidl

GOOD = """
import numpy as np

from minidl.data import check_images, check_labels
from minidl.layers import Conv2d, GlobalAvgPool2d, Linear, ReLU, Sequential
from minidl.losses import softmax_cross_entropy

FIELDS = ("data", "label")
GAPS = ()
DEFAULTS = {"batch_size": 2}
OPTIONS = {"kind": "plain", "share": 1.0}
SHAPE = SMALL_SHAPE = (8, 8, 3)


def shape(dataset):
    check_labels(dataset, "label", classes=2)
    return check_images(dataset, "data", channels=3)


def network(shape, generator, *, width=2, dtype=np.float32):
    rest = {"generator": generator, "dtype": dtype}
    return Sequential(
        conv=Conv2d(shape[2], width, 3, padding=1, **rest), relu=ReLU(), mean=GlobalAvgPool2d(),
        linear=Linear(width, 2, **rest),
    )


def measure(dataset, tell):
    return {"mean": 1.0}


def prepare(samples, chances):
    return samples["data"].transpose(0, 2, 3, 1).copy(), samples["label"].astype(int)


def loss(output, target):
    return softmax_cross_entropy(output, target)


def metrics(output, target):
    return {"accuracy": 0.5}


def evaluate(batches, dataset, folder):
    return {"auc": 0.5}


def report(figures):
    return ["good"]


def random_target(output, generator):
    return generator.integers(2, size=len(output))
"""

FUNCTIONS = (
    "network", "loss", "prepare", "shape", "measure", "metrics", "evaluate", "report",
    "random_target",
)  # fmt: skip
CONSTANTS = ("FIELDS", "GAPS", "DEFAULTS", "OPTIONS", "SHAPE", "SMALL_SHAPE")
SIGNATURES = ("()", "(one)", "(*, a)", "(a, b, c, d, e)", "(*given, **named)")
NONSENSE = (
    "None", "True", "-1", "0", "1e400", "float('nan')", "'text'", "b'x'", "()", "[]", "{}",
    "[1, 2]", "(1, 2, 3)", "(0, 8, 3)", "('a', 'b')", "('{none}',)", "('{',)", "(None, None)",
    "(1.0, None)", "(1.0, 2.0)", "object", "object()", "lambda: 0", "np", "np.float32(1)",
    "np.zeros(3)", "np.zeros((2, 2))", "np.zeros((2, 2), complex)", "np.array(['a', 'b'])",
    "np.array([[1], [1, 2]], object)", "(np.zeros(3), np.zeros((2, 2)))",
    "(0.5, np.zeros((2, 2), int))", "(float('nan'), np.zeros((2, 2), np.float32))",
    "(0.5, np.zeros((2, 1), np.float32))", "(0.5, [[0, 0], [0, 0]])",
    "(np.zeros((2, 8, 8, 3)), np.zeros(2, int))", "(np.zeros((2, 8, 8, 3), np.float32), None)",
    "(np.zeros((2, 3, 8, 8), np.float32), np.zeros(2, int))",
    "(np.zeros((2, 8, 8, 3), np.float32), np.full(2, 9))",
    "(np.zeros((3, 8, 8, 3), np.float32), np.zeros(3, int))",
    "(np.zeros((2, 8, 8), np.float32), np.zeros(2, int))",
    "([[1], [1, 2]], np.zeros(2, int))", "Sequential()", "Sequential(relu=ReLU())", "ReLU",
    "Linear(7, 2, generator=np.random.default_rng(0))", "{'a': object()}", "{'a': 'b'}",
    "{1: 2}", "{'kind': None}", "{'a b': 1}", "{'batch_size': 'x'}", "{'batch_size': 0}",
    "{'batchsize': 2}", "{'momentum': []}", "{'data': 3}", "(8, 8)", "(8, 8, 3.5)", "(1, 1, 3)",
    "iter([1, None])", "(x for x in 'ab')", "[None]", "['[/red]']", "{'a': float('inf')}",
)  # fmt: skip

broken_function = st.builds(
    lambda name, signature, value: (name, f"def {name}{signature}:\n    return {value}"),
    st.sampled_from(FUNCTIONS),
    st.sampled_from(SIGNATURES) | st.just("(*given, **named)"),
    st.sampled_from(NONSENSE),
)
raising_function = st.builds(
    lambda name, error: (name, f"def {name}(*given, **named):\n    raise {error}('mine')"),
    st.sampled_from(FUNCTIONS),
    st.sampled_from(["ValueError", "TypeError", "KeyError", "OSError", "AttributeError"]),
)
no_function = st.builds(
    lambda name, value: (name, f"{name} = {value}"),
    st.sampled_from(FUNCTIONS + CONSTANTS),
    st.sampled_from(NONSENSE),
)
missing = st.sampled_from([(name, f"del {name}") for name in FUNCTIONS + CONSTANTS])
broken = st.one_of(broken_function, broken_function, raising_function, no_function, missing)

TRAIN = ("train", "mine", "--data", "events.h5", "--iterations", "2", "--out")
COMMANDS = (
    (*TRAIN, "none", "--dry-run"),
    (*TRAIN, "none", "--dry-run", "--virtual-ranks", "3", "--strategy", "async"),
    (*TRAIN, "none", "--dry-run", "--validation", "events.h5", "--clip", "1"),
    (*TRAIN, "new", "--overwrite"),
    ("summary", "mine", "--size", "8"),
    ("check", "mine", "--width", "2"),
    ("evaluate", "run", "--data", "events.h5"),
    ("export", "run", "--to", "onnx", "--overwrite"),
    ("replay", "run"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data, and a run of the model as it should be."""
    folder = tmp_path_factory.mktemp("trained")
    write_events(folder / "events.h5", 4, size=8)
    (folder / "mine.py").write_text(GOOD)
    done = minidl(*TRAIN, "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(trained, monkeypatch):
    monkeypatch.chdir(trained)
    # A file that is changed within a second must not be taken for the one before.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    shutil.rmtree(trained / "__pycache__", ignore_errors=True)
    yield trained
    (trained / "mine.py").write_text(GOOD)
    sys.modules.pop("mine", None)


def write(place, change):
    (place / "mine.py").write_text(f"{GOOD}\n\n{change}\n")
    sys.modules.pop("mine", None)
    importlib.invalidate_caches()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_model_is_good_before_it_is_broken(place, command):
    write(place, "")
    assert run(*command).status == 0


@example(
    (
        "prepare",
        "def prepare(*given):\n    return np.zeros((2, 8, 8, 3), np.float32), np.full(2, 9)",
    ),
    COMMANDS[0],
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=broken, command=st.sampled_from(COMMANDS))
def test_nonsense_is_told_in_a_line_that_names_it_or_does_no_harm(place, change, command):
    _, text = change
    write(place, text)
    try:
        ended = run(*command)
    except Exception as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        assert str(place / "mine.py") in files, "raised, and not by the model's own code"
        return
    assert ended.status in (0, 1, 2)  # 1: what `check` and `replay` end with
    assert len(ended.lines) == (ended.status == 2), ended.lines
    if ended.status == 2:
        assert ended.lines[0].startswith("minidl:")
        assert "mine" in ended.lines[0]


WHOLE = {
    "nothing returned": ("def loss(output, target):\n    pass", "mine.loss: returned None"),
    "another shape": (
        "def loss(output, target):\n    return 0.5, output[:, :1]",
        "mine.loss: its gradient has shape (2, 1), the output (2, 2)",
    ),
    "double precision": (
        "def prepare(samples, chances):\n    return np.zeros((2, 8, 8, 3)), None",
        "mine.prepare: its x is float64; the network computes in float32",
    ),
    "channels first": (
        "def prepare(samples, chances):\n    return samples['data'], samples['label']",
        "mine.prepare: its x is of shape (2, 3, 8, 8), which the network does not take",
    ),
    "no layer": (
        "def network(shape, generator):\n    return shape",
        "mine.network: returned (8, 8",
    ),
    "signature": ("def prepare(samples):\n    pass", "mine.prepare: cannot be called: too many"),
    "settings": ("DEFAULTS = {'batchsize': 2}", "mine.DEFAULTS: "),
}


@pytest.mark.parametrize("what", WHOLE)
def test_on_two_ranks_it_is_told_in_one_line_too(place, what):
    text, message = WHOLE[what]
    write(place, text)
    done = minidl(*TRAIN, "two", "--overwrite", ranks=2, cwd=place, timeout=60)
    assert done.returncode == 2, done.stderr
    lines = {line for line in done.stderr.splitlines() if line.startswith("minidl:")}
    assert len(lines) == 1, done.stderr
    assert message in lines.pop()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ranks", [0, 2])
@pytest.mark.parametrize("name", ["network", "prepare", "loss", "measure"])
def test_what_a_model_raises_ends_all_ranks_and_says_where(place, name, ranks):
    write(place, f"def {name}(*given, **named):\n    raise RuntimeError('on purpose')")
    done = minidl(*TRAIN, "two", "--overwrite", ranks=ranks, cwd=place, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "RuntimeError: on purpose" in done.stderr
    assert "mine.py" in done.stderr
