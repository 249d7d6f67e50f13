"""``minidl train --all-reduce``: sums that are written out, in whole runs."""

import sys

import numpy as np
import pytest
from events import write_events
from launch import PROGRAMS, minidl, python
from printed import Printed

from minidl import record
from minidl.cli.training_command import train_command
from minidl.errors import AgreedError
from minidl.parallel.allreduce import ALGORITHMS
from minidl.parallel.patience import PatientComm
from minidl.run import read_log, read_settings
from minidl.runs.diff import compare
from minidl.runs.past import read_run
from minidl.runs.replay import replay
from minidl.settings import Settings
from minidl.virtual import Virtual

sys.path.insert(0, str(PROGRAMS))

import train_all_ways


def test_every_algorithm_has_a_name_on_the_command_line():
    assert ("mpi", *ALGORITHMS) == train_all_ways.WAYS


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("sums")
    write_events(place / "events.h5", 33)
    return place


@pytest.mark.parametrize(
    ("strategy", "ranks"), [("sync", 2), ("sync", 3), ("sync", 4), ("hybrid", 4)]
)
def test_a_run_learns_the_same_whoever_adds_up(place, strategy, ranks):
    out = place / f"{strategy}-{ranks}"
    python(ranks, "train_all_ways.py", strategy, place / "events.h5", out)
    by_mpi = read_run(out / "mpi")
    for name in ALGORITHMS:
        run = read_run(out / name)
        assert run.setting("all_reduce") == name
        difference = compare(by_mpi, run)
        assert difference.verdict in ("bits", "rounding"), (name, difference)
        losses = [[update.loss for update in each.updates.values()] for each in (by_mpi, run)]
        assert len(losses[0]) == 6
        np.testing.assert_allclose(*losses, rtol=1e-5)


def test_the_order_of_ranks_is_that_of_virtual_ranks_and_of_a_replay(place):
    """So that bits are the same everywhere, without a word from the MPI library."""
    train_all_ways.train("sync", "mpi", place / "events.h5", place / "virtual", 3)
    real, virtual = read_run(place / "sync-3" / "naive"), read_run(place / "virtual")
    assert compare(real, virtual).verdict == "bits"
    done = replay(real, record.load(real.folder), lambda *_: None)
    assert (done.verdict, done.bound) == ("bits", 0.0)


def test_a_replay_of_another_order_is_within_rounding(place):
    train_all_ways.train("sync", "ring", place / "events.h5", place / "ring", 3)
    run = read_run(place / "ring")
    done = replay(run, record.load(run.folder), lambda *_: None)
    assert done.verdict in ("bits", "rounding")
    assert done.bound > 0


def test_virtual_ranks_take_the_time_of_the_messages(place):
    """Of short ones it is their number that counts: 14 on a ring of 8, and 3 by doubling."""
    seconds = {}
    for way in ("ring", "recursive_doubling"):
        out = place / f"{way} on 8"
        train_all_ways.train("sync", way, place / "events.h5", out, 8)
        seconds[way] = max(event.get("seconds", 0.0) for event in read_log(out))
    assert seconds["ring"] > 2 * seconds["recursive_doubling"]


def test_an_unknown_algorithm_is_refused_in_one_line(place):
    done = minidl("train", "hep", "--data", "events.h5", "--all-reduce", "star", cwd=place)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "--all-reduce" in line


@pytest.mark.parametrize("death", [("1@0.5",), ()])
def test_where_ranks_may_die_it_is_refused(place, monkeypatch, death):
    monkeypatch.setattr(PatientComm, "tolerant", not death)
    settings = Settings(data=(place / "events.h5",), all_reduce="ring")
    virtual = Virtual(virtual_ranks=2 if death else None, death=death)
    with pytest.raises(AgreedError, match="does not outlive the death"):
        train_command("hep", settings, virtual, place / "no", False, None, False, None, Printed())
    assert not (place / "no").exists()


def test_going_on_with_another_algorithm_is_said(place):
    run, printed = place / "resumed", Printed()
    train_all_ways.train("sync", "mpi", place / "events.h5", run, 3)
    asked = {**read_settings(run), "iterations": 7, "all_reduce": "tree"}
    del asked["virtual"]["machine"]
    virtual, settings = Virtual(**asked["virtual"]), Settings.from_json(asked)
    train_command("hep", settings, virtual, None, False, run, False, None, printed)
    assert "changed: all_reduce mpi -> tree" in printed.text
