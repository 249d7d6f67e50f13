"""Every mistake of a user's ends with one clear line and status 2, on one rank and on many."""

import re

import numpy as np
import pytest
from events import write_events
from launch import minidl

COMMANDS = (
    "generate", "inspect", "summary", "check", "train", "evaluate", "plot", "waits", "compare",
    "diff", "replay", "explore", "info", "simulate", "scaling", "explain", "plan",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data sets, of which only ``events.h5`` is in order, and a run."""
    folder = tmp_path_factory.mktemp("files")
    images = np.zeros((8, 3, 16, 16), np.float32)
    spoilt = images.copy()
    spoilt[5, 0, 1, 1] = np.nan
    write_events(folder / "events.h5", 8)
    write_events(folder / "nan.h5", 8, data=spoilt)
    write_events(folder / "labels.h5", 8, label=np.arange(8))
    write_events(folder / "channels.h5", 8, data=images[:, :2])
    write_events(folder / "small.h5", 8, data=images[:, :, :8, :8])
    write_events(folder / "empty.h5", 0)
    write_events(folder / "two.h5", 2)
    write_events(folder / "nameless.h5", 8, data=None)
    (folder / "text.h5").write_text("no data")
    (folder / "cut.h5").write_bytes((folder / "events.h5").read_bytes()[:5000])
    (folder / "occupied").mkdir()
    (folder / "occupied" / "thesis.txt").write_text("mine")
    (folder / "incomplete.py").write_text("FIELDS = ('data', 'label')")
    done = minidl("train", "hep", "--data", "events.h5", "--width", 4, "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


DATA = ("--data", "events.h5", "--width", "4")
MISTAKES = {
    "missing file": ("train hep --data none.h5", "none.h5: no such file"),
    "not HDF5": ("train hep --data text.h5", "text.h5: not an HDF5 file"),
    "cut off": ("train hep --data cut.h5", "cut.h5: cut off"),
    "no images": ("train hep --data nameless.h5", "nameless.h5: no numbers 'data'"),
    "labels": ("train hep --data labels.h5", "sample 2: label 2 is out of range; expected 0 to 1"),
    "channels": ("train hep --data channels.h5", r"expected \(3, height, width\)"),
    "image size": ("train hep --data small.h5", "16 x 16 pixels or more; these are 8 x 8"),
    "not finite": ("train hep --data nan.h5 --out nan", "nan.h5: 'data', sample 5: not a finite"),
    "empty": ("train hep --data empty.h5", "empty.h5: no samples"),
    "too few": ("train hep --data two.h5", "2 samples are fewer than 3 ranks"),
    "no data": ("train hep", "no data to train on"),
    "no model": ("train", "no model named"),
    "unknown model": ("train hap --data events.h5", "no model 'hap'.*hep"),
    "half a model": ("train incomplete --data events.h5", "lacks network, loss, prepare, shape"),
    "unknown strategy": ("train hep --data events.h5 --strategy best", '"serial", "sync"'),
    "serial on many": ("train hep --data events.h5 --strategy serial", "mpiexec started 3"),
    "no worker": ("train hep --data events.h5 --strategy async --servers 3", "leaves no worker"),
    "uneven groups": (
        "train hep --data events.h5 --strategy hybrid --groups 4",
        "3 ranks less 1 parameter servers leave 2 workers, which cannot be dealt to 4",
    ),
    "groups of sync": ("train hep --data events.h5 --groups 2", "--groups goes with.*hybrid"),
    "bound of sync": ("train hep --data events.h5 --staleness-bound 2", "goes with.*async or hy"),
    "bound too small": (
        "train hep --data events.h5 --strategy async --staleness-bound 0",
        "--staleness-bound 0 is too small for 2 groups.*at least 1",
    ),
    "negative bound": (
        "train hep --data events.h5 --strategy async --staleness-bound -1",
        "--staleness-bound -1 is too small",
    ),
    "no groups": ("train hep --data events.h5 --strategy hybrid --groups 0", "--groups must be at"),
    "momentum": ("train hep --data events.h5 --momentum 1", "--momentum must lie in"),
    "odd momentum": ("train hep --data events.h5 --momentum much", "--momentum"),
    "clip": ("train hep --data events.h5 --clip 0", "--clip must be a positive number"),
    "trace nowhere": ("train hep --data events.h5 --trace none/t.json --out t", "none/t.json"),
    "unknown flag": ("train hep --data events.h5 --speed 9", "--speed"),
    "batch size 0": ("train hep --data events.h5 --batch-size 0", "--batch-size must be at least"),
    "not a number": ("train hep --data events.h5 --epochs many", "--epochs.*many"),
    "no rate": ("train hep --data events.h5 --learning-rate nan", "--learning-rate must be"),
    "two lengths": ("train hep --data events.h5 --epochs 1 --iterations 1", "give one"),
    "run exists": ("train hep --data events.h5 --out run", "run: exists already.*--overwrite"),
    "not a run": ("train hep --data events.h5 --out occupied --overwrite", "will not be replaced"),
    "unwritable": ("train hep --data events.h5 --out /proc/run", "/proc/run: cannot write"),
    "out is a file": ("train hep --data events.h5 --out text.h5", "is a file"),
    "from nothing": ("train --from none", "none: not the folder of a run"),
    "evaluate nothing": ("evaluate none --data events.h5", "none: not the folder of a run"),
    "evaluate on text": ("evaluate run --data text.h5", "not an HDF5 file"),
    "plot nothing": ("plot none", "none: not the folder of a run"),
    "inspect nothing": ("inspect none.h5", "none.h5: no such file"),
    "inspect text": ("inspect text.h5", "not an HDF5 file"),
    "summary of nothing": ("summary hap", "no model 'hap'"),
    "unknown command": ("trian hep", "trian"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line_and_status_2(folder, name):
    line, expected = MISTAKES[name]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    # A short set can only be too short for several ranks; training mistakes are made on three.
    ranks = 3 if line.startswith("train") else 0
    done = minidl(*line.split(), cwd=folder, ranks=ranks, timeout=30)
    said = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2, done.stderr
    assert len(said) == 1, said
    assert said[0].startswith("minidl: ")
    assert re.search(expected, said[0])
    assert "Traceback" not in done.stdout
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command):
    done = minidl(command, "--help")
    assert done.returncode == 0
    assert command == "generate" or f"minidl {command}" in done.stdout.replace("Usage:", "")


def test_help_is_one_page_that_names_every_command():
    done = minidl("--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) < 50
    assert all(re.search(rf"│ {command}", done.stdout) for command in COMMANDS)


def test_without_an_mpi_library_training_says_what_to_install(folder, monkeypatch):
    monkeypatch.setenv("MPI4PY_LIBMPI", "/nowhere/libmpi.so")
    done = minidl("train", "hep", "--data", "events.h5", "--out", "no-mpi", cwd=folder)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert "no MPI library" in said
    assert "minidl[mpich]" in said
