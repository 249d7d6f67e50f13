"""Where MPI tolerates deaths, a run goes on with the ranks that are left."""

import json
import re

import numpy as np
import pytest
from events import write_events
from launch import launcher, minidl

from minidl import checkpoint
from minidl.cli.advice import family
from minidl.cli.info import launcher_says
from minidl.run import read_log

TOLERANT = ("--with-ft", "ulfm")

# The HEP model. A file says which ranks die, as on a machine that fails, after how many passes; or
# after how many updates, if they are servers.
DYING = """
import json, os, signal
from pathlib import Path
from mpi4py import MPI
from minidl import optim
from minidl_models.hep import *
from minidl_models import hep
most = json.loads(Path("deaths").read_text()).get(str(MPI.COMM_WORLD.rank), 1e9)
passes = updates = 0

def loss(output, target):
    global passes
    passes += 1
    if passes > most:
        os.kill(os.getpid(), signal.SIGKILL)
    return hep.loss(output, target)

def step(self, *arguments):
    global updates
    updates += 1
    if passes == 0 and updates > most:
        os.kill(os.getpid(), signal.SIGKILL)
    update(self, *arguments)

update, optim.Optimizer.step = optim.Optimizer.step, step
"""

SYNC = (3, ())
ASYNC = (4, ("--strategy", "async"))
TWO_SERVERS = (5, ("--strategy", "async", "--servers", 2))
HYBRID = (5, ("--strategy", "hybrid"))


@pytest.fixture(autouse=True)
def tolerance():
    if family(launcher_says(launcher())) != "Open MPI":
        pytest.skip("this MPI tolerates no deaths, Open MPI does: make test-openmpi")


@pytest.fixture
def place(tmp_path):
    write_events(tmp_path / "events.h5", 60)
    (tmp_path / "dying.py").write_text(DYING)
    return tmp_path


def train(place, how, deaths, model="dying"):
    ranks, flags = how
    (place / "deaths").write_text(json.dumps(deaths))
    lengths = ("--batch-size", 2, "--iterations", 24, "--checkpoint-every", 8)
    what = ("--data", "events.h5", "--width", 4, "--out", "run", *lengths, *flags)
    return minidl("train", model, *what, ranks=ranks, cwd=place, timeout=60, options=TOLERANT)


def iterations(events, group):
    return [e["iteration"] for e in events if e["event"] == "iteration" and e["group"] == group]


@pytest.mark.parametrize(
    ("how", "deaths", "lost", "groups"),
    [
        (SYNC, {1: 9}, "rank 1 (a worker)", [0, 0]),
        (SYNC, {0: 9}, "rank 0 (a worker)", [0, 0]),
        (ASYNC, {1: 9}, "rank 1 (of group 1)", [0, 1, -1]),
        (ASYNC, {0: 9}, "rank 0 (of group 0)", [0, 1, -1]),
        (ASYNC, {3: 40}, "rank 3 (a server)", [0, 1, -1]),  # a worker becomes the server
        (TWO_SERVERS, {4: 40}, "rank 4 (a server)", [0, 1, 2, -1]),
        (HYBRID, {1: 9}, "rank 1 (of group 0)", [0, 0, 1, -1]),
        (HYBRID, {2: 9}, "rank 2 (of group 1)", [0, 0, 1, -1]),
        (HYBRID, {0: 9}, "rank 0 (of group 0)", [0, 0, 1, -1]),
        (HYBRID, {4: 40}, "rank 4 (a server)", [0, 0, 1, -1]),
    ],
)
def test_a_run_loses_who_has_died_and_goes_on(place, how, deaths, lost, groups):
    done = train(place, how, deaths)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"lost {lost}; the other {len(groups)} go on" in " ".join(done.stdout.split())
    log = read_log(place / "run")
    (again,) = (event for event in log if event["event"] == "resume")
    assert again["groups"] == groups
    assert log[-1] == {"event": "end", "reason": "finished"}
    state = checkpoint.read(place / "run" / "checkpoint.h5")
    assert all(np.isfinite(layer.parameters).all() for layer in state.layers.values())
    assert set(state.iterations) == {again["iterations"]}  # of as many samples as asked for
    assert again["iterations"] >= 24
    after = log[log.index(again) :]
    for group in range(max(groups) + 1):
        assert iterations(after, group) == [
            *range(again["iterations_made"][group] + 1, again["iterations"] + 1)
        ]


@pytest.mark.parametrize(
    ("dead", "group"), [(2, 1), (3, 1), (1, 0)], ids=["root", "member", "beside the first rank"]
)
def test_other_groups_go_on_when_a_group_loses(place, dead, group):
    done = train(place, HYBRID, {dead: 2})
    assert done.returncode == 0, done.stderr
    log = read_log(place / "run")
    before = log[: [event["event"] for event in log].index("resume")]
    assert iterations(before, 1 - group) == [*range(1, 9)]  # all until the next checkpoint
    assert iterations(before, group) in ([1], [1, 2])


def test_one_after_the_other(place):
    done = train(place, (4, ()), {3: 5, 0: 9, 2: 14})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("lost rank") == 3
    said = " ".join(done.stdout.split())
    assert "lost rank 1 (a worker); the other 1 go on" in said  # who was rank 2 among four
    assert checkpoint.read(place / "run" / "checkpoint.h5").generators[1:] == []


def test_where_too_few_are_left_the_run_ends_and_can_be_resumed(place):
    done = train(place, (2, ("--strategy", "async")), {0: 13})
    assert done.returncode != 0
    (said,) = done.stderr.splitlines()
    assert said == (
        "minidl: 1 rank of 2 left, too few to go on; minidl train --resume goes on with others"
    )
    (place / "deaths").write_text("{}")
    again = minidl("train", "--resume", "run", ranks=2, cwd=place, timeout=60)
    assert again.returncode == 0, again.stderr
    # The last checkpoint, or the one before, if that was on its way to the disk still.
    assert re.search("goes on from .*, of iteration (8|0)$", again.stdout, re.MULTILINE)


def test_an_error_of_one_rank_still_ends_all(place):
    code = DYING.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise RuntimeError('a mistake')")
    (place / "mistaken.py").write_text(code)
    done = train(place, SYNC, {1: 3}, model="mistaken")
    assert done.returncode != 0
    assert "RuntimeError: a mistake" in done.stderr
    assert done.stderr.splitlines()[-1] == "rank 1 failed; all ranks end"


DIVERGING = """
def loss(output, target):
    global passes
    passes += 1
    if passes > most:
        os.kill(os.getpid(), signal.SIGKILL)
    value, dy = hep.loss(output, target)
    return (float("nan") if passes == 20 else value), dy
"""


@pytest.mark.parametrize(("how", "dead"), [(SYNC, {1: 9}), (HYBRID, {3: 5})])
def test_a_run_that_diverges_after_a_death_ends(place, how, dead):
    (place / "diverging.py").write_text(DYING + DIVERGING)
    done = train(place, how, dead, model="diverging")
    assert done.returncode != 0
    (said,) = done.stderr.splitlines()
    assert "the loss is not a finite number any more" in said
    assert checkpoint.read(place / "run" / "checkpoint.h5").iterations[0] >= 8
