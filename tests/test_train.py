"""``minidl train`` through the front door: what a run leaves, repeats, and refuses to overwrite."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from events import write_events
from launch import minidl

from minidl import checkpoint
from minidl.run import read_log
from minidl_models import hep

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


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, events):
    before = sorted(tmp_path.rglob("*"))
    done = minidl("train", "hep", *SMALL, "--data", events, "--dry-run", ranks=2, cwd=tmp_path)
    assert done.returncode == 0
    # conv5 at width 4 has 4*4*9 weights and 4 biases, of 4 bytes each.
    for promise in ("8 per rank, 16 per update", "sync, 2 ranks", "conv5", "592 bytes", "worker"):
        assert promise in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


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


README = (Path(__file__).parent.parent / "README.md").read_text()
README_MODEL = README.split("```python\n")[1].split("```")[0] if "```python" in README else ""


def test_ctrl_c_ends_all_ranks_and_says_what_is_saved(tmp_path, events):
    command = [
        str(Path(sys.executable).with_name("mpiexec")), "-n", "2",
        str(Path(sys.executable).with_name("minidl")), "train", "hep", "--data", str(events),
        "--epochs", "100000", "--checkpoint-every", "1", "--width", "4",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "runs/hep/checkpoint.h5").exists():
        time.sleep(0.1)
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode != 0
    assert stderr.count("minidl: interrupted") == 1
    assert "holds the network of iteration" in stderr
    network = hep.network((16, 16, 3), np.random.default_rng(0), width=4)
    assert checkpoint.load(tmp_path / "runs/hep/checkpoint.h5", network) > 0
    assert not list((tmp_path / "runs").rglob("*.part"))


def test_a_loss_that_diverges_ends_the_run_with_the_last_good_state(tmp_path, events):
    flags = ("--learning-rate", 1e30, "--optimizer", "sgd", "--iterations", 50)
    done = minidl("train", "hep", *SMALL, "--data", events, *flags, ranks=2, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("minidl:") == 1
    assert "smaller --learning-rate" in done.stderr
    saved = parameters(tmp_path / "runs" / "hep")
    assert all(np.isfinite(array).all() for array in saved.values())
    assert read_log(tmp_path / "runs" / "hep")[-1]["loss"] is None
