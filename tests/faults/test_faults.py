"""Faults that are caused: every rank ends, one message says why, what was saved is still good.

The whole matrix is ``matrix.py``'s. Here is a sample of it; what can be tried in one process more
simply, and signals, hangs and numbers that are none, have tests of their own elsewhere.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from events import write_events
from launch import BOX, launcher, minidl

from minidl import checkpoint
from minidl.cli.advice import family
from minidl.cli.info import launcher_says

sys.path.insert(0, str(Path(__file__).parent))
from matrix import cells
from promises import broken
from report import Trial, report
from trials import (
    LAYOUTS,
    Cell,
    Outcome,
    attempt,
    compare,
    go_on_together,
    lost_by_the_living,
    rehearse,
    suffer,
    working_in,
)

SEED = 7


def sample():
    """A cell of each of some faults; of a killed rank in every strategy."""
    generator = np.random.default_rng(SEED)
    wanted = [(strategy, "kill") for strategy in LAYOUTS]
    wanted += [("sync", "raise"), ("hybrid", "loader"), ("sync", "flip")]
    for strategy, kind in wanted:
        found = [c for c in cells() if (c.strategy, c.kind) == (strategy, kind)]
        found = [cell for cell in found if cell.phase != "any"]  # for which it may be too quick
        yield found[generator.integers(len(found))]
    yield from (Cell("sync", "disk", "first", phase) for phase in ("checkpoint", "end"))


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return write_events(tmp_path_factory.mktemp("data") / "events.h5", 60)


@pytest.fixture(scope="module")
def rehearsals(events, tmp_path_factory):
    """Of every strategy, once."""
    return {name: rehearse(name, events, tmp_path_factory.mktemp(name)) for name in LAYOUTS}


@pytest.mark.parametrize("cell", list(sample()), ids=str)
def test_a_run_ends_as_promised_and_goes_on_from_its_checkpoint(cell, events, rehearsals, tmp_path):
    outcome = attempt(cell, rehearsals[cell.strategy], [SEED], events, tmp_path, ulfm=False)
    assert broken(cell, outcome, ulfm=False) == []


def test_every_rank_has_faults_in_all_its_phases():
    kills = {(cell.strategy, cell.role, cell.phase) for cell in cells() if cell.kind == "kill"}
    for strategy, layout in LAYOUTS.items():
        for role in layout.roles:
            phases = {phase for *whose, phase in kills if whose == [strategy, role]}
            assert phases >= {"start", "exchange", "checkpoint", "end"}
            assert ("update" in phases) == (role == "server" or strategy == "sync")
            assert ("forward" in phases) == (role != "server")


@pytest.mark.parametrize(
    ("groups", "made", "dead", "kept", "lost"),
    [
        # Half as many workers make twice as many iterations: 16 of 24 are what 8 of 12 were.
        ([0, 1, -1], {0: 5, 1: 6}, 0, (24, [16]), 0),
        ([0, 1, -1], {0: 5, 1: 10}, 0, (24, [16]), 2),
        ([0, 0, 1, 1, -1], {0: 6, 1: 8}, 3, (16, [8, 8]), 2),
        ([0, 0, 0], {0: 9}, 1, (18, [12]), 1),
        ([0, 0, 0], {}, 1, (18, [0]), 0),
    ],
)
def test_what_a_death_loses_is_what_the_living_make_again(groups, made, dead, kept, lost):
    iterations = [
        {"event": "iteration", "group": group, "iteration": number}
        for group, last in made.items()
        for number in range(1, last + 1)
    ]
    total, done = kept
    setback = {"event": "resume", "lost": [dead], "iterations": total, "iterations_made": done}
    log = [{"event": "start", "groups": groups, "iterations": 12}, *iterations, setback]
    assert lost_by_the_living(log, len(log) - 1) == lost


BAD = {
    "hangs": {"status": None},
    "did not come": {"struck": False},
    "processes were left": {"left": 2},
    "a traceback": {"traceback": True},
    "is damaged": {"damaged": ["checkpoint.h5: the checkpoint is damaged"]},
    "status 0, promised 2": {"status": 0},
    "2 messages": {"said": ["minidl: run/x.h5: cannot write", "minidl: what?"]},
    "promised minidl": {"said": ["minidl: what?"]},
    "--resume: status 1": {"resumed": 1},
    "otherwise than": {"equal": False},
    "otherwise than without": {"equal": None},
    "ended 31 s after": {"seconds": 31.0},
    "9 iterations are lost": {"lost": 9},
    "finished with status 2": {"finished": True, "moment": 1.0, "saved": 12, "resumed": 2},
}


@pytest.mark.parametrize("complaint", BAD)
def test_every_broken_promise_is_noticed(complaint):
    cell = Cell("sync", "disk", "first", "checkpoint")
    good = {
        "call": 1, "struck": True, "status": 2, "noticed": "minidl", "saved": 4, "resumed": 0,
        "said": ["minidl: run/checkpoint.h5: cannot write the checkpoint: no space"], "equal": True,
    }  # fmt: skip
    assert broken(cell, Outcome(**good), ulfm=False) == []
    outcome = Outcome(**(good | BAD[complaint]))
    (found,) = broken(cell, outcome, ulfm=False)
    assert complaint in found
    assert found in report([Trial(cell, [1], outcome, [found])], ulfm=True)


CRASHING = """
from minidl_models.hep import *

def prepare(samples, chances):
    raise RuntimeError("no")
"""


def test_runs_go_on_together_but_each_is_judged_by_itself(events, rehearsals, tmp_path):
    """Also where one of them takes the ranks with it."""
    cell, layout = Cell("sync", "kill", "another", "update"), LAYOUTS["sync"]
    outcomes = {}
    for name in ("crashes", "goes on", "has finished"):
        folder = tmp_path / name
        folder.mkdir()
        outcomes[folder] = suffer(cell, rehearsals["sync"], [SEED], events, folder, ulfm=False)
    crashing, good, finished = outcomes
    (crashing / "crashing.py").write_text(CRASHING)
    settings = json.loads((crashing / "run" / "settings.json").read_text())
    (crashing / "run" / "settings.json").write_text(json.dumps(settings | {"model": "crashing"}))
    done = minidl("train", "--resume", "run", ranks=3, cwd=finished)
    assert done.returncode == 0, done.stderr

    go_on_together(outcomes, layout)
    for folder, outcome in outcomes.items():
        compare(outcome, rehearsals["sync"], layout, folder)
    found = {folder: (outcome.resumed, outcome.equal) for folder, outcome in outcomes.items()}
    assert found == {crashing: (1, None), good: (0, True), finished: (2, True)}
    assert "finished" in outcomes[finished].resumed_said
    complaints = broken(cell, outcomes[crashing], ulfm=False)
    assert any("--resume: status 1" in complaint for complaint in complaints)
    assert broken(cell, outcomes[good], ulfm=False) == []


SHRINKING = """
import os
from minidl_models.hep import *
from minidl_models import hep
batches = 0

def prepare(samples, chances):
    global batches
    batches += 1
    if batches == 3:
        os.truncate("events.h5", 60_000)
    return hep.prepare(samples, chances)
"""
SMALL = ("--data", "events.h5", "--width", 4, "--batch-size", 2)


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_data_file_that_is_cut_off_while_it_is_read_is_named(tmp_path, ranks):
    """HDF5 itself reads zeros where the rest of the file was."""
    write_events(tmp_path / "events.h5", 60)
    (tmp_path / "shrinking.py").write_text(SHRINKING)
    done = minidl("train", "shrinking", *SMALL, "--out", "run", ranks=ranks, cwd=tmp_path)
    assert_refused(done, "events.h5: cannot read")
    # Whatever a rank was about to read.
    assert re.search(r"cannot read '(data|label|weight)', sample \d+", done.stderr)
    assert "cut off" in done.stderr
    assert checkpoint.read(tmp_path / "run" / "checkpoint.h5").iterations == [0]


def humbly(folder, *words, ranks=0):
    """Run minidl without root's right to write where nobody may."""
    humble = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
    start = [launcher(), "-n", str(ranks)] if ranks else []
    command = [*humble, *start, str(Path(sys.executable).with_name("minidl")), *map(str, words)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def assert_refused(done, message):
    """One clear line, and the status of what a user can put right."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("minidl:") == 1, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ranks", [0, 3])
def test_a_folder_that_nobody_may_write_to_is_named_and_loses_nothing(tmp_path, ranks):
    write_events(tmp_path / "events.h5", 60)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    words = ("train", "hep", *SMALL, "--iterations", 3)
    done = humbly(tmp_path, *words, "--out", "locked/run", ranks=ranks)
    assert_refused(done, "locked/run: cannot write there")

    assert humbly(tmp_path, *words, "--out", "run", ranks=ranks).returncode == 0
    (tmp_path / "run").chmod(0o555)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    done = humbly(tmp_path, "train", "--resume", "run", "--iterations", 6, ranks=ranks)
    (tmp_path / "run").chmod(0o755)
    assert_refused(done, "run: cannot write there")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("ranks", [0, 3])
@pytest.mark.parametrize("room", [16, 128])
def test_a_disk_that_is_full_is_named_and_what_was_saved_is_good(tmp_path, ranks, room):
    """A disk of its own, in memory, of so many KiB: for no checkpoint, or for one and some log."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes rights that this user does not have")
    write_events(tmp_path / "events.h5", 60)
    (tmp_path / "disk").mkdir()
    start = [launcher(), "-n", str(ranks)] if ranks else []
    words = ("train", "hep", *SMALL, "--iterations", 400, "--checkpoint-every", 1000)
    train = [*start, str(Path(sys.executable).with_name("minidl")), *map(str, words)]
    mount = f"mount -t tmpfs -o size={room}k none disk"
    script = f'{mount} && "$@" --out disk/run; status=$?; cp -r disk/run kept; exit $status'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *train],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert_refused(done, ": cannot write")
    assert re.match("minidl: disk/run/(checkpoint.h5|log.jsonl): .* No space left", done.stderr)
    assert not list((tmp_path / "kept").glob("*.part"))
    if room == 128:
        assert checkpoint.read(tmp_path / "kept" / "checkpoint.h5").iterations == [0]


def test_ranks_without_an_mpi_say_so_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MPI4PY_LIBMPI", "/nowhere/libmpi.so")
    done = minidl("train", "hep", *SMALL, ranks=3, cwd=tmp_path)
    assert_refused(done, "no MPI library can be loaded")


def test_an_mpiexec_of_another_mpi_is_refused(tmp_path, monkeypatch):
    """By what such a launcher tells its ranks; they would not find each other."""
    ours = family(launcher_says(launcher()))
    others = {"MPICH": ("OMPI_COMM_WORLD_SIZE", "2"), "Open MPI": ("HYDI_CONTROL_FD", "9")}
    monkeypatch.setenv(*others[ours])
    done = minidl("train", "hep", *SMALL, cwd=tmp_path)
    assert_refused(done, "mpiexec does not belong to the MPI that was loaded")


def test_ranks_that_another_mpi_has_started_are_refused_once(tmp_path):
    ours = family(launcher_says(launcher()))
    root = Path(__file__).parents[2]
    other = root / {"MPICH": "build/openmpi", "Open MPI": ".venv"}[ours] / "bin" / "mpiexec"
    if not other.exists():
        pytest.skip("there is no other MPI here: make build/openmpi/installed")
    command = [str(other), "-n", "3", str(Path(sys.executable).with_name("minidl")), "train", "hep"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    done.stderr = BOX.sub("", done.stderr)
    assert_refused(done, "mpiexec does not belong to the MPI that was loaded")


def test_processes_that_are_left_behind_are_found(tmp_path):
    process = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    assert working_in(tmp_path) == [process.pid]
    process.kill()
    process.wait(timeout=10)
    assert working_in(tmp_path) == []
