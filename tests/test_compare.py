"""``minidl compare``: equal terms for the strategies, and what is said of each."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from events import write_events
from launch import minidl
from printed import Printed

from minidl.cli import app
from minidl.errors import UserError
from minidl.record import Record
from minidl.run import read_settings
from minidl.runs.comparison import Comparison
from minidl.runs.launcher import find_mpiexec, flags
from minidl.runs.outcome import Outcome, first_below, lowest, measure
from minidl.runs.plot import Curve
from minidl.runs.terms import Terms, settings_of_each
from minidl.settings import Settings
from minidl.stopwatch import ACTIVITIES, SPAN

SMALL = ("--ranks", 2, "--groups", 1, "--width", 4, "--iterations", 6, "--batch-size", 4)
STRATEGIES = ("sync", "async", "hybrid")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two data sets, and a comparison of them in ``compared``."""
    folder = tmp_path_factory.mktemp("compare")
    write_events(folder / "events.h5", 43)
    write_events(folder / "others.h5", 20, seed=1)
    (folder / "notes").mkdir()
    (folder / "notes" / "thesis.txt").write_text("mine")
    done = minidl(
        "compare", "hep", "--data", "events.h5", "--validation", "others.h5", *SMALL,
        "--optimizer", "sgd", "--seed", 3, "--momentum", "auto", "--out", "compared", "--json",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "printed.json").write_text(done.stdout)
    (folder / "progress.txt").write_text(done.stderr)
    return folder


def test_the_strategies_are_compared_on_equal_terms(folder):
    figures = json.loads((folder / "printed.json").read_text())
    assert json.loads((folder / "compared" / "compare.json").read_text()) == figures
    runs = {strategy: own for strategy, (own,) in figures["runs"].items()}
    assert list(runs) == list(STRATEGIES)
    assert [run["seed"] for run in runs.values()] == [3, 3, 3]
    assert [run["samples"] for run in runs.values()] == [43, 43, 43]
    assert [run["workers"] for run in runs.values()] == [2, 2, 2]
    assert [run["servers"] for run in runs.values()] == [0, 1, 1]
    assert [run["groups"] for run in runs.values()] == [1, 2, 1]
    assert [run["updates"] for run in runs.values()] == [6, 12, 6]
    assert all(read_settings(folder / "compared" / name)["seed"] == 3 for name in STRATEGIES)
    # One group with servers makes the same updates as no servers do.
    sync, hybrid = runs["sync"], runs["hybrid"]
    assert hybrid["loss"] == pytest.approx(sync["loss"], rel=1e-4)
    assert hybrid["validation"] == pytest.approx(sync["validation"], rel=1e-4)
    assert hybrid["staleness_max"] == 0
    assert runs["async"]["staleness_max"] >= 1
    assert all(run["seconds_to_target"] is not None for run in runs.values())
    assert sync["parallel_speedup"] == sync["learning_speedup"] == 1
    assert figures["speedups_over"] == "sync"


def test_a_comparison_says_one_line_a_run_and_leaves_a_picture(folder):
    lines = (folder / "progress.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == list(STRATEGIES)
    assert (folder / "compared" / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "iteration 6/6" in (folder / "compared" / "async" / "output.txt").read_text()


MISTAKES = {
    "no model": ("", "no model named; expected minidl compare MODEL"),
    "unequal groups": ("hep --ranks 3", "--ranks 3 workers cannot be dealt to 2 equal groups"),
    "no worker": ("hep --ranks 0", "--ranks 0"),
    "too small a bound": ("hep --staleness-bound 2", "too small for 4 groups"),
    "no validation": ("hep --target-accuracy 0.5", "--validation"),
    "no such accuracy": ("hep --target-accuracy 1.5", "must lie in"),
    "no such loss": ("hep --target-loss nan", "must be a number"),
    "a seed twice": ("hep --seeds 1 2 1", "expected each once"),
    "a negative seed": ("hep --seeds=-1", "must not be negative, got -1"),
    "another rate": ("hep --serial --scale-by-ranks", "another rate"),
    "other updates": ("hep --serial --clip 1", "would be others"),
    "a strategy": ("hep --strategy async", "--strategy"),
    "exists": ("hep --out compared", "compared: exists already.*--overwrite"),
    "not a comparison": ("hep --out notes --overwrite", "will not be replaced"),
    "a file": ("hep --out events.h5", "is a file"),
    "a run's own": ("hep --data none.h5 --out new", "sync: .*none.h5: no such file"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line_and_status_2(folder, name):
    line, expected = MISTAKES[name]
    before = sorted(folder.rglob("*"))
    done = minidl("compare", *line.split(), cwd=folder)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(UserError, match=expected):
        raise UserError(done.stderr)
    assert sorted(folder.rglob("*")) == before


def test_started_by_mpiexec_it_says_so_once(folder):
    done = minidl("compare", "hep", "--data", "events.h5", ranks=2, cwd=folder)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line)
    assert "without mpiexec" in line


def test_a_run_that_breaks_down_is_told_from_a_mistake(folder):
    (folder / "broken.py").write_text(
        "from minidl_models.hep import FIELDS, network, prepare, shape\n"
        "def loss(output, target):\n"
        "    raise ValueError('cannot judge this')\n"
    )
    flags = ("--data", "events.h5", *SMALL, "--out", "broken")
    done = minidl("compare", "broken", *flags, cwd=folder)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "sync: the run broke down: ValueError: cannot judge this; see" in line
    assert "Traceback" in Path(folder, line.split("see ")[1]).read_text()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted_it_leaves_no_process_behind(folder, name):
    out = folder / f"interrupted by {name}"
    command = [
        str(Path(sys.executable).with_name("minidl")), "compare", "hep", "--data", "events.h5",
        *map(str, SMALL[:6]), "--epochs", "100000", "--out", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    while not (out / "sync" / "checkpoint.h5").exists():
        time.sleep(0.1)
        assert process.poll() is None
    children = processes_with(str(out))
    assert len(children) >= 4  # this one, mpiexec, and two ranks
    process.send_signal(getattr(signal, name))
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, "minidl: interrupted\n")
    assert not processes_with(str(out))


def processes_with(argument):
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if argument in line]


def test_without_mpiexec_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="minidl\\[mpich\\]"):
        find_mpiexec()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(data=(Path("/a b.h5"), Path("/c.h5")), epochs=3, clip=0.5, seed=0),
        Settings(
            strategy="hybrid", data=(Path("/a.h5"),), groups=3, staleness_bound=0,
            scale_by_staleness=True, momentum="auto", optimizer="sgd", nesterov=True,
            all_reduce="recursive_doubling",
        ),
    ],
)  # fmt: skip
def test_flags_ask_for_the_settings_that_they_were_made_of(settings):
    _, bound, _ = app.parse_args(["train", "hep", *flags(settings)])
    assert bound.arguments["settings"] == settings


def test_each_strategy_has_the_settings_that_it_knows():
    given = Settings(strategy="hybrid", staleness_bound=4, scale_by_staleness=True, seed=7)
    sync, asynchronous, hybrid = settings_of_each(given, Terms(ranks=4)).values()
    assert sync == Settings(seed=7)
    assert hybrid == replace(given, groups=2, servers=1)
    assert asynchronous == replace(given, strategy="async", servers=1)


def test_the_serial_run_makes_the_updates_of_sync():
    given = Settings(strategy="hybrid", accumulate=3, batch_size=8, iterations=5)
    runs = settings_of_each(given, Terms(ranks=4, serial=True))
    assert list(runs) == ["serial", *STRATEGIES]
    assert runs["serial"] == replace(runs["sync"], strategy="serial", accumulate=12)


def curve(losses, window):
    updates = np.arange(1.0, len(losses) + 1)
    return Curve("", 8 * updates, 0.5 * updates, np.array(losses), np.empty((0, 3)), window)


def test_the_target_is_reached_by_the_mean_of_a_whole_window():
    assert first_below(curve([3, 2, 1], window=1), target=2) == 1
    assert first_below(curve([3, 2, 1], window=2), target=2) == 2
    assert first_below(curve([0, 4, 2, 2], window=2), target=1.9) is None
    assert first_below(curve([0, 4, 2, 2], window=2), target=2) == 1


def test_the_lowest_loss_is_one_that_was_reached():
    assert lowest(curve([0, 4, 3, np.nan, 5], window=2)) == 2
    assert first_below(curve([0, 4, 3, np.nan, 5], window=2), target=2) == 1


def spans(**lasting):
    """One span for each activity, one after the other."""
    ends = np.cumsum(list(lasting.values()))
    return np.array(
        [
            (ACTIVITIES.index(activity), -1, -1, 1, end - seconds, end)
            for (activity, seconds), end in zip(lasting.items(), ends, strict=True)
        ],
        SPAN,
    )


def test_an_outcome_is_what_log_and_record_say():
    updates = np.array(
        [(0, 0, 0, 1), (0, 1, 0, 2), (1, 0, 0, 1), (1, 1, 0, 2)],
        [("layer", int), ("group", int), ("read", int), ("made", int)],
    )
    record = Record(
        ["conv", "linear"],
        [0, 1, -1, -1],
        [
            spans(compute=3, wait=1),
            spans(compute=1, wait=1),
            spans(idle=9, update=1),
            spans(idle=2, update=1, send=1),
        ],
        updates,
    )
    events = [{"event": "start", "samples": 4}] + [
        {"event": "validation", "group": 0, "iteration": n, "samples": 8 * n, "seconds": 1.0 * n,
         "loss": 1.0 / n, "accuracy": 0.25 * n}
        for n in (1, 2)
    ]  # fmt: skip
    outcome = Outcome(
        seed=7, workers=2, servers=2, groups=2, seconds=1.0, samples=16, seconds_per_epoch=0.25,
        samples_per_second=16.0, updates=2, staleness_mean=0.5, staleness_max=1, loss=2.0,
        validation={"loss": 0.5, "accuracy": 0.5}, seconds_to_target=None, samples_to_target=None,
        seconds_to_accuracy=None, waiting=0.375, busiest_server=0.5,
    )  # fmt: skip
    losses = curve([3, 2], window=1)
    assert measure(7, losses, events, record, 1, None) == outcome
    accurate = replace(outcome, seconds_to_accuracy=2.0)
    assert measure(7, losses, events, record, 1, 0.4) == accurate


SYNC = Outcome(
    seed=1, workers=4, servers=0, groups=1, seconds=2.0, samples=1600, seconds_per_epoch=0.5,
    samples_per_second=800.0, updates=100, staleness_mean=None, staleness_max=None, loss=0.3,
    validation={"loss": 0.4}, seconds_to_target=1.5, samples_to_target=1200,
    seconds_to_accuracy=None, waiting=0.25, busiest_server=None,
)  # fmt: skip
ASYNC = replace(
    SYNC, servers=1, staleness_mean=2.9, staleness_max=7, seconds_to_target=None,
    samples_to_target=None, validation={"loss": None}, busiest_server=0.06,
)  # fmt: skip


def test_the_table_has_a_column_for_each_strategy():
    printed, comparison = Printed(), Comparison(0.35, None, {"sync": [SYNC], "async": [ASYNC]})
    comparison.relate()
    printed.print(comparison.table())
    rows = {line[:26].strip(): line[26:].split() for line in printed.text.splitlines()}
    assert rows["workers + servers"] == ["4", "4", "+", "1"]
    assert rows["time an epoch"] == ["0.50", "s", "0.50", "s"]
    assert rows["parallel speed-up"] == ["1.00", "1.00"]
    assert rows["staleness: largest"] == ["-", "7"]
    assert rows["validation loss"] == ["0.4000", "not", "finite"]
    assert rows["time to loss 0.35"] == ["1.5", "s", "never"]
    assert rows["samples to loss 0.35"] == ["1,200", "never"]
    assert rows["learning speed-up"] == ["1.00", "0.00"]
    assert rows["workers' time waiting"] == ["25.0%", "25.0%"]
    assert rows["busiest server at work"] == ["-", "6.0%"]
    assert "  range" not in rows


def remarks(other, cores):
    return list(Comparison(0.35, None, {"sync": [SYNC], "async": [other]}).remarks(cores))


def test_an_unfair_comparison_is_called_so():
    assert remarks(replace(SYNC, servers=1), cores=5) == []
    fewer = replace(ASYNC, samples=1599)
    missed, unequal, crowded = remarks(fewer, cores=4)
    assert missed == "async did not reach loss 0.35."
    assert "sync 1,600, async 1,599" in unequal
    assert "5 ranks shared 4 cores" in crowded
