"""A run's folder with links that lead out of it: nothing outside is written, whatever is done."""

import numpy as np
import pytest
from commands import run
from events import write_events
from launch import minidl

from minidl.files import write_whole
from minidl.hdf5 import write_hdf5
from minidl.parallel.served import UPDATE
from minidl.record import Record
from minidl.runs.trace import write_trace

HEP = ("--data", "events.h5", "--width", "2", "--batch-size", "2", "--checkpoint-every", "1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("linked")
    write_events(folder / "events.h5", 4)
    done = minidl("train", "hep", *HEP, "--iterations", 3, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert minidl("evaluate", "run", "--data", "events.h5", cwd=folder).returncode == 0
    return folder


ACTIONS = {
    "resume": ("train", "--resume", "run", "--iterations", "5"),
    "evaluate": ("evaluate", "run", "--data", "events.h5"),
    "export": ("export", "run", "--to", "npz", "--overwrite"),
    "plot": ("plot", "run", "--out", "run/loss.png"),
    "overwrite": ("train", "hep", *HEP, "--iterations", "1", "--out", "run", "--overwrite"),
}


@pytest.mark.filterwarnings("ignore:Cyclopts application")
def test_no_command_writes_through_a_link(trained, tmp_path, monkeypatch):
    """Every file of the run is one, and so is what will be written first under another name."""
    monkeypatch.chdir(trained)
    (trained / "run" / "network.npz").write_bytes(b"old")
    whole = ("settings.json", "log.jsonl", "loss.png", "evaluation.json", "network.npz")
    for name in ("checkpoint.part", "record.part", *(f"{name}.part" for name in whole)):
        (trained / "run" / name).write_bytes(b"part")
    outside = {}
    for file in (trained / "run").iterdir():
        target = tmp_path / file.name
        file.rename(target)
        file.symlink_to(target)
        outside[target] = target.read_bytes()
    assert len(outside) > 12
    for name, words in ACTIONS.items():
        ended = run(*words)
        assert ended.status == 0, (name, ended)
        assert {target: target.read_bytes() for target in outside} == outside, name
    assert not any(file.is_symlink() for file in (trained / "run").iterdir())


def test_what_is_written_whole_replaces_links(tmp_path):
    (tmp_path / "outside").write_bytes(b"mine")
    for name, write in {
        "plain": lambda path: write_whole(path, b"new"),
        "hdf5": lambda path: write_hdf5(path, lambda file: file.create_dataset("x", data=[1])),
        "trace": lambda path: write_trace(Record([], [], [], np.empty(0, UPDATE)), path),
    }.items():
        for link in (tmp_path / name, tmp_path / f"{name}.part", tmp_path / f".{name}.part"):
            link.symlink_to(tmp_path / "outside")
        write(tmp_path / name)
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / "outside").read_bytes() == b"mine"
