"""Real training on virtual ranks: what it leaves, that it repeats, and its clock."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from events import write_events
from launch import minidl
from printed import Printed

from minidl import record
from minidl.machines import read_machine
from minidl.parallel.virtual import CORI, Machine
from minidl.run import read_log
from minidl.runs.plot import draw, read_curve
from minidl.runs.replay_report import print_replay
from minidl.runs.wait_report import print_waits
from minidl.summary import summarize
from minidl_models import hep

# In batches of 4, an epoch of 33 samples ends with an update of one.
SAMPLES = 33
SMALL = ("--width", 4, "--epochs", 2, "--data", "events.h5", "--jitter", 0.3)
SGD = ("--optimizer", "sgd", "--learning-rate", 0.02)
HYBRID = ("--strategy", "hybrid", "--batch-size", 2)
RUNS = {
    "serial": (1, "--strategy", "serial", "--batch-size", 4),
    "sync": (3, "--batch-size", 4, "--validation", "events.h5", *SGD, "--nesterov"),
    "async": (5, "--strategy", "async", "--servers", 2, "--scale-by-staleness"),
    "hybrid": (7, *HYBRID, "--validation", "events.h5", "--slow-share", 0.5, "--slow-factor", 2),
    "bounded": (9, *HYBRID, "--groups", 4, "--staleness-bound", 3, "--accumulate", 2, *SGD),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, and with the runs that were asked for so far."""
    place = tmp_path_factory.mktemp("runs")
    spoilt = np.zeros((SAMPLES, 3, 16, 16), np.float32)
    spoilt[5, 0, 1, 1] = np.nan
    write_events(place / "events.h5", SAMPLES)
    write_events(place / "nan.h5", SAMPLES, data=spoilt)
    (place / "list.json").write_text("[1, 2]")
    (place / "slow.json").write_text(json.dumps(asdict(replace(CORI, flops=-1))))
    return place


@pytest.fixture
def trained(place):
    """Return a function that gives a run's folder."""
    return lambda name: place / name if (place / name).exists() else train(place, name, name)


def train(place, name, out, *more):
    ranks, *arguments = RUNS[name]
    arguments += ["--virtual-ranks", ranks, *SMALL, *more]
    done = minidl("train", "hep", *arguments, "--out", out, cwd=place)
    assert done.returncode == 0, done.stderr
    return place / out


def replay(folder):
    console = Printed()
    return print_replay(folder, False, console), console.text


def losses(run):
    return [
        (event["iteration"], event["loss"])
        for event in read_log(run)
        if event["event"] == "iteration"
    ]


@pytest.mark.parametrize("name", RUNS)
def test_a_virtual_run_is_replayed_to_the_bit(trained, name):
    equal, text = replay(trained(name))
    assert equal and f"{name}: equal to the bit" in text, text


@pytest.mark.parametrize("name", ["sync", "async", "hybrid"])
def test_the_same_command_leaves_the_same_files_to_the_bit(trained, name):
    first = trained(name)
    again = train(first.parent, name, f"again/{name}")
    assert {path.name for path in first.iterdir()} == {
        "settings.json", "log.jsonl", "checkpoint.h5", "checkpoint.1.h5", "record.h5", "loss.png"
    }  # fmt: skip
    for path in first.iterdir():
        if path.suffix == ".h5":  # HDF5 notes when it was written
            assert_same_numbers(path, again / path.name)
        else:
            assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def numbers(path):
    """Every array of an HDF5 file, by its name."""
    found = {}

    def keep(name, node):
        if isinstance(node, h5py.Dataset):
            found[name] = node[:]

    with h5py.File(path) as file:
        file.visititems(keep)
    return found


def assert_same_numbers(a, b):
    one, other = numbers(a), numbers(b)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_a_virtual_run_is_repeated_from_its_folder(trained):
    first = trained("async")
    done = minidl("train", "--from", first, "--out", "repeated", cwd=first.parent)
    assert done.returncode == 0, done.stderr
    for name in ("settings.json", "log.jsonl"):
        assert (first / name).read_bytes() == (first.parent / "repeated" / name).read_bytes(), name
    for name in ("checkpoint.h5", "record.h5"):
        assert_same_numbers(first / name, first.parent / "repeated" / name)


def test_two_virtual_ranks_end_where_two_real_ones_do_to_the_bit(place):
    """Of two numbers there is one sum."""
    flags = ("train", "hep", "--data", "events.h5", "--width", 4, "--epochs", 2, *SGD)
    for out, how in (("real", {"ranks": 2}), ("two", {})):
        ranks = () if how else ("--virtual-ranks", 2)
        done = minidl(*flags, *ranks, "--out", out, cwd=place, **how)
        assert done.returncode == 0, done.stderr
    real, virtual = place / "real", place / "two"
    assert losses(virtual) == losses(real)
    assert_same_numbers(virtual / "checkpoint.h5", real / "checkpoint.h5")


def test_staleness_is_real(trained):
    whole = record.load(trained("bounded"))
    staleness = np.concatenate([whole.staleness(layer) for layer in range(6)])
    assert 1 < staleness.mean() <= staleness.max() == 3


def test_two_updates_that_change_places_are_noticed_and_the_place_named(trained, tmp_path):
    run = shutil.copytree(trained("hybrid"), tmp_path / "copy")
    with h5py.File(run / "record.h5", "a") as file:
        updates = file["updates"][:]
        own = np.flatnonzero(updates["layer"] == 0)
        groups = updates["group"][own]
        last = np.flatnonzero(np.diff(groups))[0]
        groups[last : last + 2] = groups[last : last + 2][::-1].copy()
        updates["group"][own] = groups
        read = dict.fromkeys(groups.tolist(), 0)
        for row, group in zip(
            own, groups.tolist(), strict=True
        ):  # all numbers count as they should
            updates["read"][row], read[group] = read[group], updates["made"][row]
        file["updates"][...] = updates
    equal, text = replay(run)
    assert not equal
    assert re.search(r"First difference: the loss of group \d in iteration [2-9] is", text), text


def test_a_single_bit_counts_also_where_three_are_added(trained, tmp_path):
    run = shutil.copytree(trained("hybrid"), tmp_path / "copy")
    with h5py.File(run / "checkpoint.h5", "a") as file:
        parameters = file["layers/01.conv2/parameters"]
        parameters[7] = np.nextafter(parameters[7], np.float32(1))
    equal, text = replay(run)
    assert not equal and "All losses agree" in text


def test_whoever_reads_a_run_is_told_that_it_was_virtual(trained):
    run = trained("hybrid")
    assert json.loads((run / "settings.json").read_text())["virtual"] == {
        "virtual_ranks": 7, "machine": None, "jitter": 0.3, "slow_share": 0.5, "slow_factor": 2.0,
        "death": [],
    }  # fmt: skip
    start = read_log(run)[0]
    assert start["virtual"] == {
        "machine": asdict(read_machine("cori-knl", "hep")),
        "jitter": 0.3,
        "slow_share": 0.5,
        "slow_factor": 2.0,
    }
    assert "mpi" not in start
    console = Printed()
    print_waits(run, False, console)
    assert "% of their virtual time" in console.text
    assert re.search("Virtual (milli|micro)seconds that a rank", console.text)
    samples, seconds = draw([read_curve(run, "hybrid")]).axes
    assert (samples.get_xlabel(), seconds.get_xlabel()) == ("samples", "virtual seconds")


def test_time_is_what_the_machine_makes_of_every_sample(place):
    (place / "abacus.json").write_text(
        json.dumps(asdict(Machine("abacus", 1e6, 0.5, 1e3, half_batch=2, memory=1e8)))
    )
    flags = ("--width", 4, "--data", "events.h5", "--epochs", 1, "--batch-size", 8)
    machine = ("--virtual-ranks", 1, "--machine", "abacus.json")
    done = minidl("train", "hep", *flags, *machine, "--out", "alone", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "1 virtual rank:" in done.stdout
    assert re.search(r"[\d.]+ virtual seconds took [\d.]+ real ones", done.stdout)
    rows = summarize(hep.network((16, 16, 3), np.random.default_rng(1), width=4), (16, 16, 3))
    a_sample = sum(row.training for row in rows) / 1e6
    update = 7 * sum(row.message for row in rows) / 1e8
    events = [event for event in read_log(place / "alone") if event["event"] == "iteration"]
    computing = [event["computing"] for event in events]
    # Updates are made where parameters are needed, in the iteration after; 33 is 4 * 8 + 1.
    first, *others, last = 10 * a_sample, *3 * [10 * a_sample + update], 3 * a_sample + update
    assert computing == pytest.approx([first, *others, last])
    assert events[-1]["seconds"] == pytest.approx(sum(computing))
    assert [event["loading"] for event in events] == 5 * [0.0]


MISTAKES = {
    "no ranks": ("--virtual-ranks 0", "--virtual-ranks must be at least 1, got 0"),
    "no number of ranks": ("--machine cori-knl", "say how many there are: --virtual-ranks"),
    "jitter of real ranks": ("--jitter 0.1", "--jitter.*are about virtual ranks"),
    "jitter": ("--virtual-ranks 2 --jitter -1", "--jitter must not be negative"),
    "share": ("--virtual-ranks 2 --slow-share 2", r"--slow-share must lie in \[0, 1\]"),
    "factor": ("--virtual-ranks 2 --slow-factor 0", "--slow-factor must be a positive number"),
    "machine": ("--virtual-ranks 2 --machine summit", "summit: no such machine.*cori.*bench"),
    "no JSON": ("--virtual-ranks 2 --machine events.h5", "events.h5: does not describe a machine"),
    "no object": ("--virtual-ranks 2 --machine list.json", "list.json: does not describe"),
    "no rate": ("--virtual-ranks 2 --machine slow.json", "slow.json: does not describe"),
    "serial": ("--virtual-ranks 2 --strategy serial", "one rank alone, not --virtual-ranks 2"),
    "no worker": ("--virtual-ranks 1 --strategy async", "leaves no worker.*--virtual-ranks 3"),
    "too few samples": ("--virtual-ranks 40", "33 samples are fewer than 40 ranks"),
    "not finite": ("--virtual-ranks 3 --data nan.h5", "nan.h5: 'data', sample 5: not a finite"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line_and_status_2(place, name):
    line, expected = MISTAKES[name]
    data = () if "--data" in line else ("--data", "events.h5")
    done = minidl("train", "hep", *line.split(), *data, "--width", 4, "--out", "no", cwd=place)
    (said,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert re.search(expected, said), said
    shutil.rmtree(place / "no", ignore_errors=True)


def test_virtual_ranks_behind_mpiexec_are_refused(place):
    flags = ("--data", "events.h5", "--width", 4, "--virtual-ranks", 4)
    done = minidl("train", "hep", *flags, ranks=2, cwd=place)
    assert done.returncode == 2
    assert done.stderr.count("minidl:") == 1
    assert "mpiexec started 2; start without mpiexec" in done.stderr


@pytest.mark.parametrize(
    ("strategy", "ranks", "bound"),
    [("serial", 1, ()), ("sync", 3, ()), ("async", 4, ()), ("hybrid", 9, ("--staleness-bound", 3))],
)
def test_a_loss_that_diverges_ends_the_run_with_the_last_good_state(
    place, tmp_path, strategy, ranks, bound
):
    groups = ("--groups", 4) if strategy == "hybrid" else ()
    how = ("--strategy", strategy, "--virtual-ranks", ranks, *groups, *bound)
    wild = ("--optimizer", "sgd", "--learning-rate", 1e30, "--iterations", 50)
    flags = ("--data", "events.h5", "--width", 4, "--batch-size", 2, *how, *wild)
    done = minidl("train", "hep", *flags, "--out", tmp_path / "run", cwd=place)
    (said,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "smaller --learning-rate" in said and "the last good state is" in said
    assert read_log(tmp_path / "run")[-1]["event"] == "diverged"


def test_ctrl_c_ends_the_run_and_says_what_is_saved(place, tmp_path):
    command = [
        str(Path(sys.executable).with_name("minidl")), "train", "hep", "--data", "events.h5",
        "--epochs", "100000", "--width", "4", "--strategy", "async", "--virtual-ranks", "4",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "run" / "checkpoint.h5").exists():
        time.sleep(0.1)
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    (said,) = stderr.splitlines()
    assert re.search(
        r"minidl: interrupted; .*checkpoint.h5, of iteration \d+; minidl train --resume", said
    )


def test_a_dry_run_says_how_long_a_step_would_take(place):
    flags = ("--data", "events.h5", "--width", 4, "--virtual-ranks", 3, "--dry-run")
    done = minidl("train", "hep", *flags, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "sync, 3 virtual ranks: batches of 8 per worker" in done.stdout
    assert re.search(r"One step: loss [\d.]+, [-\de.]+ virtual seconds\.", done.stdout)
