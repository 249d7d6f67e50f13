"""Checkpoints and records that are damaged: refused in one line, or read as they were written."""

import json
import shutil

import h5py
import numpy as np
import pytest
from commands import run
from events import write_events
from launch import minidl
from mutants import outcomes, wrong

from minidl import checkpoint
from minidl.checkpoint import LayerState, State
from minidl.errors import UserError
from minidl.parallel.served import UPDATE
from minidl.record import Record
from minidl.stopwatch import SPAN

MUTANTS = {"checkpoint.h5": 2000, "record.h5": 1000}
MOST_MEMORY = 800_000  # kilobytes, of which the libraries alone may need half


@pytest.fixture
def state():
    generator = np.random.default_rng(0)
    layers = {
        f"0{number}.conv": LayerState(
            generator.random(20).astype(np.float32),
            {"weight": (4, 4), "bias": (4,)},
            {"mean": generator.random(20), "square": generator.random(20)},
            7,
        )
        for number in range(3)
    }
    random = json.dumps([generator.bit_generator.state])
    return State([7], 9, layers, {"03.norm": np.ones(4)}, np.zeros(2, UPDATE), [random], [[7]])


def write_record(path):
    spans = [np.zeros(3, SPAN), np.ones(4, SPAN)]
    Record(["conv", "linear"], [0, -1], spans, np.zeros(5, UPDATE), False, [[3]]).save(path)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_damaged_file_of_a_run_is_refused_in_a_line_or_read(tmp_path, state, name):
    path = tmp_path / name
    checkpoint.save(path, state) if name == "checkpoint.h5" else write_record(path)
    found, kilobytes = outcomes("checkpoint", path, 0, MUTANTS[name])
    assert wrong(found) == {}
    assert {*found.values()} == {"read", "refused"}
    assert len(found) == MUTANTS[name]
    assert kilobytes < MOST_MEMORY


def damaged(name):
    """Ways to have the right names in a checkpoint, and something else behind them."""
    return {
        "text": lambda file: file.__setitem__(name, "text"),
        "group": lambda file: file.create_group(name),
        "link": lambda file: file.__setitem__(name, h5py.ExternalLink("other.h5", "x")),
        "circle": lambda file: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
        "scalar": lambda file: file.__setitem__(name, 3.0),
        "compound": lambda file: file.__setitem__(name, np.zeros(3, [("x", "f4")])),
        "complex": lambda file: file.__setitem__(name, np.zeros(20, complex)),
        "huge": lambda file: file.create_dataset(name, (10**12,), "f4", chunks=(1000,)),
        "gone": lambda file: None,
    }


@pytest.mark.parametrize("kind", damaged(""))
@pytest.mark.parametrize(
    "name",
    ["layers/00.conv/parameters", "layers/00.conv/optimizer/mean", "updates", "generators",
     "meetings", "statistics/03.norm"],
)  # fmt: skip
def test_something_else_under_the_right_name_is_refused(tmp_path, state, name, kind):
    """Or what is left out by design, as statistics and what an optimiser remembers, is absent."""
    path = tmp_path / "checkpoint.h5"
    checkpoint.save(path, state)
    with h5py.File(path, "a") as file:
        del file[name]
        damaged(name)[kind](file)
    try:
        found = checkpoint.read(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        assert str(path) in str(error)
        return
    assert kind == "gone"
    assert name.startswith(("layers/00.conv/optimizer", "statistics"))
    assert found.iterations == [7]


@pytest.mark.parametrize("attribute", ["iterations", "seconds", "samples", "asked"])
@pytest.mark.parametrize("value", ["x", "[1, 2", np.nan, [[1, 2]], h5py.Empty("f4"), "{}", "[]"])
def test_attributes_of_another_kind_are_refused(tmp_path, state, attribute, value):
    path = tmp_path / "checkpoint.h5"
    checkpoint.save(path, state)
    with h5py.File(path, "a") as file:
        file.attrs[attribute] = value
    if (attribute, value) == ("asked", "{}") or (attribute == "seconds" and value is np.nan):
        checkpoint.read(path)
        return
    with pytest.raises(UserError, match=r"checkpoint\.h5: the checkpoint is damaged"):
        checkpoint.read(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose newest checkpoint is cut off."""
    folder = tmp_path_factory.mktemp("trained")
    write_events(folder / "events.h5", 4)
    words = ("--width", 2, "--iterations", 3, "--checkpoint-every", 1, "--out", "run")
    done = minidl("train", "hep", "--data", "events.h5", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    newest = folder / "run" / "checkpoint.h5"
    newest.write_bytes(newest.read_bytes()[:2000])
    return folder


@pytest.mark.filterwarnings("ignore:Cyclopts application", "ignore:The set_")
@pytest.mark.parametrize("words", ["evaluate run --data events.h5 --json",
                                   "export run --to npz --overwrite"])  # fmt: skip
def test_what_uses_a_trained_network_takes_the_newest_whole_one(trained, monkeypatch, words):
    monkeypatch.chdir(trained)
    ended = run(*words.split())
    assert ended.status == 0
    (warning,) = ended.lines
    assert warning.startswith("warning: run/checkpoint.h5: ")
    assert warning.endswith("run/checkpoint.1.h5, of iteration 2, is used instead")
    if "--json" in words:
        assert json.loads(ended.said)["iteration"] == 2
    else:
        with np.load("run/network.npz", allow_pickle=False) as file:
            metadata = json.loads(str(file["metadata"]))
        assert json.loads(metadata["iterations"]) == [2]


@pytest.mark.filterwarnings("ignore:Cyclopts application")
def test_without_a_whole_checkpoint_that_is_said(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "run", tmp_path / "run")
    for path in checkpoint.history(tmp_path / "run" / "checkpoint.h5"):
        path.write_text("no checkpoint")
    for words in (("evaluate", "run", "--data", str(trained / "events.h5")),
                  ("export", "run", "--to", "npz", "--out", "new.npz")):  # fmt: skip
        ended = run(*words)
        assert ended.status == 2
        assert ended.lines[0].startswith("minidl: no checkpoint to go on from: run/checkpoint.h5")
