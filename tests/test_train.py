"""``minidl train`` through the front door: what a run leaves, repeats, and refuses to overwrite."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from events import write_events
from launch import launcher, minidl

from minidl import checkpoint, record
from minidl.cli.advice import family
from minidl.cli.info import launcher_says
from minidl.run import read_log
from minidl.stopwatch import ACTIVITIES

SMALL = ("--width", 4)


@pytest.fixture
def events(tmp_path):
    return write_events(tmp_path / "events.h5", 43)


def parameters(run):
    with h5py.File(run / "checkpoint.h5") as file:
        return {name: group["parameters"][:] for name, group in file["layers"].items()}


def train(tmp_path, *arguments, out="run", batch=4, **how):
    flags = (*SMALL, "--batch-size", batch, *arguments, "--out", out)
    done = minidl("train", "hep", *flags, cwd=tmp_path, **how)
    assert done.returncode == 0, done.stderr
    return tmp_path / out


def test_a_run_leaves_settings_log_checkpoint_and_picture(tmp_path, events):
    run = train(tmp_path, "--data", events, "--validation", events, "--epochs", 2)
    settings = json.loads((run / "settings.json").read_text())
    assert settings["model"] == "hep"
    assert settings["data"] == [str(events)]
    assert settings["width"] == 4
    log = read_log(run)
    iterations = [event for event in log if event["event"] == "iteration"]
    assert [event["iteration"] for event in iterations] == list(range(1, 23))
    assert iterations[10]["samples"] == 43  # the last batch of an epoch is short, and counted so
    assert iterations[-1]["samples"] == 86
    assert {"loss", "seconds", "learning_rate", "computing", "waiting", "loading"} <= set(log[1])
    validations = [event for event in log if event["event"] == "validation"]
    assert [event["iteration"] for event in validations] == [11, 22]
    assert log[-1] == {"event": "end", "reason": "finished"}
    with h5py.File(run / "checkpoint.h5") as file:
        assert file.attrs["iteration"] == 22
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("ranks", [2, 3])
def test_many_ranks_train_the_network_that_one_does(tmp_path, events, ranks):
    # Plain SGD: Adam would blow up the rounding of gradients that are almost zero.
    how = ("--data", events, "--optimizer", "sgd", "--iterations", 6)
    alone = parameters(train(tmp_path, *how, batch=6, out="alone"))
    shared = parameters(train(tmp_path, *how, batch=6 // ranks, out="shared", ranks=ranks))
    for name in alone:
        np.testing.assert_allclose(shared[name], alone[name], rtol=1e-3, atol=2e-6)


def test_serial_is_sync_with_one_rank(tmp_path, events):
    how = ("--data", events, "--iterations", 4)
    serial = parameters(train(tmp_path, *how, "--strategy", "serial", out="serial"))
    sync = parameters(train(tmp_path, *how, "--strategy", "sync", out="sync"))
    assert all((serial[name] == sync[name]).all() for name in serial)


def test_from_repeats_a_run_to_the_bit_and_flags_change_it(tmp_path, events):
    first = train(tmp_path, "--data", events, "--iterations", 5, "--learning-rate", 0.01)
    for out, flags in {"again": (), "longer": ("--epochs", 1)}.items():
        done = minidl("train", "--from", "run", "--out", out, *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    again = parameters(tmp_path / "again")
    assert all((again[name] == array).all() for name, array in parameters(first).items())
    longer = json.loads((tmp_path / "longer" / "settings.json").read_text())
    assert (longer["epochs"], longer["iterations"]) == (1, None)
    assert longer["learning_rate"] == 0.01


def test_what_is_left_of_a_run_that_died_at_once_is_replaced(tmp_path, events):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json.part").write_text("{")
    train(tmp_path, "--data", events, "--iterations", 2, "--overwrite")
    assert read_log(tmp_path / "run")[-1]["reason"] == "finished"


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, events):
    before = sorted(tmp_path.rglob("*"))
    done = minidl("train", "hep", *SMALL, "--data", events, "--dry-run", ranks=2, cwd=tmp_path)
    assert done.returncode == 0
    # conv5 at width 4 has 4*4*9 weights and 4 biases, of 4 bytes each.
    for promise in ("8 per worker, 16 per update", "sync, 2 ranks", "conv5", "592 bytes"):
        assert promise in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_says_who_holds_what(tmp_path, events):
    how = ("--strategy", "hybrid", "--groups", 2, "--servers", 2, "--accumulate", 2)
    flags = (*SMALL, *how, "--data", events, "--dry-run")
    done = minidl("train", "hep", *flags, ranks=6, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "hybrid, 6 ranks (2 groups of 2, 2 servers): batches of 8 per worker in each of 2 passes, "
        in done.stdout
    )
    assert "32 per update" in done.stdout
    held = re.findall(r"(conv\d|linear) .* rank (\d)", done.stdout)
    assert len(held) == 6
    assert {rank for _, rank in held} == {"4", "5"}


LAYOUTS = {
    "sync": (2, ()),
    "async": (3, ()),
    "async, 2 servers": (4, ("--servers", 2)),
    "hybrid": (5, ("--groups", 2)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_strategy_leaves_the_same_kind_of_log(tmp_path, events, name):
    ranks, flags = LAYOUTS[name]
    strategy = name.split(",")[0]
    groups = {"sync": 1, "async": 2, "hybrid": 2}[strategy]
    flags = (
        "--data",
        events,
        "--validation",
        events,
        "--epochs",
        3,
        "--strategy",
        strategy,
        *flags,
    )
    run = train(tmp_path, *flags, "--momentum", "auto", ranks=ranks)
    log = read_log(run)
    assert log[0]["event"] == "start"
    assert len(log[0]["groups"]) == ranks
    assert log[0]["momentum"] == pytest.approx({1: 0.9, 2: 0.4}[groups])
    iterations = [event for event in log if event["event"] == "iteration"]
    assert sorted({event["group"] for event in iterations}) == list(range(groups))
    for group in range(groups):
        own = [event["iteration"] for event in iterations if event["group"] == group]
        assert own == list(range(1, len(own) + 1))
    assert iterations[-1]["samples"] == 3 * 43
    validations = [event for event in log if event["event"] == "validation"]
    per_epoch = log[0]["iterations"] // 3
    assert sorted(event["iteration"] for event in validations) == [per_epoch * n for n in (1, 2, 3)]
    if groups == 2:
        during = {event["iteration"]: event["group"] for event in validations[:2]}
        assert during == {per_epoch: 1, 2 * per_epoch: 0}, "groups take turns"
    assert log[-1] == {"event": "end", "reason": "finished"}


def test_staleness_is_in_the_log_and_the_record(tmp_path, events):
    flags = ("--data", events, "--strategy", "async", "--iterations", 10)
    run = train(tmp_path, *flags, ranks=4)
    whole = record.load(run)
    assert whole.groups == [0, 1, 2, -1]
    logged = {
        event["layer"]: event["updates"] for event in read_log(run) if event["event"] == "staleness"
    }
    assert list(logged) == whole.layers == ["conv1", "conv2", "conv3", "conv4", "conv5", "linear"]
    for number, name in enumerate(whole.layers):
        assert sum(logged[name].values()) == 3 * 10
        mean = sum(int(staleness) * count for staleness, count in logged[name].items()) / 30
        assert mean == pytest.approx(whole.staleness(number).mean())
        assert 1 < mean < 3  # two others; the first round is fresher


SLOW_TO_JUDGE = """
import time
from minidl_models.hep import *

def metrics(output, target):
    time.sleep(0.1)
    return {}
"""


@pytest.mark.parametrize("name", ["async", "hybrid"])
def test_validation_does_not_stop_the_other_group(tmp_path, events, name):
    ranks, flags = LAYOUTS[name]
    (tmp_path / "judge.py").write_text(SLOW_TO_JUDGE)
    flags = (*SMALL, "--strategy", name, *flags, "--epochs", 3, "--batch-size", 4, "--out", "run")
    done = minidl(
        "train",
        "judge",
        "--data",
        events,
        "--validation",
        events,
        *flags,
        ranks=ranks,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    iterations = [e for e in read_log(tmp_path / "run") if e["event"] == "iteration"]
    whole = record.load(tmp_path / "run")
    judging = whole.spans[whole.groups.index(1)]  # its turn comes first
    judging = judging[judging["activity"] == ACTIVITIES.index("validate")]
    judging = judging[judging["iteration"] == judging["iteration"].min()]  # the last one is of all
    start, end = judging["start"].min(), judging["end"].max()
    assert end - start > 0.4
    assert [e for e in iterations if e["group"] == 0 and start < e["seconds"] < end]
    assert not [e for e in iterations if e["group"] == 1 and start < e["seconds"] < end]


@pytest.mark.parametrize("name", ["sync", "async", "hybrid"])
def test_every_second_of_every_rank_has_one_name(tmp_path, events, name):
    ranks, flags = LAYOUTS[name]
    run = train(tmp_path, "--data", events, "--epochs", 20, "--strategy", name, *flags, ranks=ranks)
    whole = record.load(run)
    assert len(whole.spans) == ranks
    for spans in whole.spans:
        assert (spans["start"] <= spans["end"]).all()
        assert (spans["end"][:-1] <= spans["start"][1:]).all()
        inside = spans["end"][-1] - spans["start"][0]
        assert (spans["end"] - spans["start"]).sum() > 0.8 * inside


def test_what_one_group_has_no_samples_for_the_others_do(tmp_path):
    # 13 samples, batches of 4 for each of 3 workers: the last batch has one sample.
    events = write_events(tmp_path / "few.h5", 13)
    run = train(tmp_path, "--data", events, "--strategy", "async", "--epochs", 2, ranks=4)
    iterations = [event for event in read_log(run) if event["event"] == "iteration"]
    assert sorted((event["group"], event["iteration"]) for event in iterations) == [
        (0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 3), (2, 1), (2, 3)
    ]  # fmt: skip
    assert iterations[-1]["samples"] == 26


@pytest.mark.parametrize("strategy", ["async", "hybrid"])
def test_a_bound_on_staleness_is_kept_in_a_run(tmp_path, events, strategy):
    flags = ("--strategy", strategy, "--staleness-bound", 2, "--scale-by-staleness")
    run = train(tmp_path, "--data", events, *flags, "--epochs", 3, ranks=3)
    whole = record.load(run)
    assert max(whole.staleness(number).max() for number in range(6)) <= 2


@pytest.mark.parametrize("strategy", ["sync", "async", "hybrid"])
def test_every_strategy_learns(tmp_path, strategy):
    """At equal samples, with a staleness of 0, 1 (two groups) and 3 (four workers)."""
    data = write_events(tmp_path / "data.h5", 480, size=64)
    test = write_events(tmp_path / "test.h5", 120, size=64, seed=1)
    ranks = {"sync": 2, "async": 5, "hybrid": 3}[strategy]
    # The bound keeps the staleness to that also where a busy machine stops a rank for long.
    bound = {"sync": (), "async": ("--staleness-bound", 3), "hybrid": ("--staleness-bound", 1)}
    flags = ("--data", data, "--validation", test, "--strategy", strategy, *bound[strategy])
    run = train(tmp_path, *flags, "--epochs", 8, "--momentum", "auto", ranks=ranks)
    validations = [event for event in read_log(run) if event["event"] == "validation"]
    assert validations[-1]["accuracy"] > 0.95


def test_evaluate_reads_what_train_wrote(tmp_path, events):
    train(tmp_path, "--data", events, "--epochs", 1)
    done = minidl("evaluate", "run", "--data", events, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["samples"] == 43
    assert 0 <= figures["accuracy"] <= 1
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text()) == figures


def test_a_module_of_the_users_own_trains(tmp_path, events):
    (tmp_path / "mine.py").write_text(README_MODEL)
    done = minidl("train", "mine", "--data", events, "--epochs", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "mine" / "checkpoint.h5").exists()


README = (Path(__file__).parent.parent / "models" / "README.md").read_text()
README_MODEL = README.split("```python\n")[1].split("```")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
@pytest.mark.parametrize("name", ["sync", "async", "hybrid"])
def test_a_run_that_is_interrupted_saves_all_it_has_done(tmp_path, events, name, number):
    ranks, flags = LAYOUTS[name]
    command = [
        launcher(), "-n", str(ranks),
        str(Path(sys.executable).with_name("minidl")), "train", "hep", "--data", str(events),
        "--epochs", "100000", "--width", "4",
        "--strategy", name, *map(str, flags),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "runs/hep/checkpoint.h5").exists():
        time.sleep(0.1)
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode != 0
    state, *_ = checkpoint.newest(tmp_path / "runs/hep/checkpoint.h5")
    if family(launcher_says(launcher())) == "Open MPI":
        return  # it shows no more of what ranks say, and kills them before they can tidy up
    assert stderr.count("minidl: interrupted") == 1
    assert "goes on from there" in stderr
    assert not list((tmp_path / "runs").rglob("*.part"))
    log = read_log(tmp_path / "runs/hep")
    for group, iteration in enumerate(state.iterations):
        mine = [e for e in log if e["event"] == "iteration" and e["group"] == group]
        assert iteration == mine[-1]["iteration"] > 0
    more = max(state.iterations) + 2
    flags = ("--resume", "runs/hep", "--iterations", more)
    done = minidl("train", *flags, ranks=ranks, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert checkpoint.read(tmp_path / "runs/hep/checkpoint.h5").iterations[0] == more


# An iteration that takes as long as anybody has patience.
SLOW = """
import time
from minidl_models.hep import *
from minidl_models import hep

def loss(output, target):
    open("begun", "w").close()
    time.sleep(60)
    return hep.loss(output, target)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
def test_a_second_signal_ends_a_run_at_once(tmp_path, events, number):
    (tmp_path / "slow.py").write_text(SLOW)
    command = [str(Path(sys.executable).with_name("minidl")), "train", "slow", "--data", events]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "begun").exists():
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):  # the first waits for the iteration's end
        process.communicate(timeout=2)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: -signal.SIGTERM}[number]
    assert "Traceback" not in stderr
    assert checkpoint.read(tmp_path / "runs" / "slow" / "checkpoint.h5").iterations == [0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_loss_that_diverges_ends_the_run_with_the_last_good_state(tmp_path, events, name):
    ranks, flags = LAYOUTS[name]
    flags += ("--strategy", name.split(",")[0], "--optimizer", "sgd", "--learning-rate", 1e30)
    flags += ("--iterations", 50)
    done = minidl("train", "hep", *SMALL, "--data", events, *flags, ranks=ranks, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("minidl:") == 1
    assert "smaller --learning-rate" in done.stderr
    saved = parameters(tmp_path / "runs" / "hep")
    assert all(np.isfinite(array).all() for array in saved.values())
    assert read_log(tmp_path / "runs" / "hep")[-1]["event"] == "diverged"
