"""``minidl compare`` over several seeds, and over one rank: two speed-ups, and their spread."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from events import write_events
from hypothesis import given
from hypothesis import strategies as st
from launch import minidl
from printed import Printed
from test_compare import SYNC, curve

from minidl.run import read_log
from minidl.runs.comparison import Comparison
from minidl.runs.seeds_picture import draw_seeds
from minidl.runs.speedup import ratio, spread, with_speedups

STRATEGIES = ["serial", "sync", "async", "hybrid"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A comparison over two seeds, where one of another shape was before."""
    folder = tmp_path_factory.mktemp("seeds")
    write_events(folder / "events.h5", 41)  # the last batch has fewer samples than serial passes
    write_events(folder / "others.h5", 20, seed=1)
    for run in ("sync", "seed-7/async"):
        (folder / "compared" / run).mkdir(parents=True)
        (folder / "compared" / run / "settings.json").write_text("{}")
    done = minidl(
        "compare", "hep", "--data", "events.h5", "--validation", "others.h5", "--ranks", 2,
        "--width", 4, "--iterations", 6, "--batch-size", 4, "--algorithm", "im2col", "--serial",
        "--seeds", 1, 2, "--target-accuracy", 0.01, "--out", "compared", "--overwrite",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    return folder


def test_every_strategy_is_trained_once_from_each_seed(folder):
    figures = json.loads((folder / "compared" / "compare.json").read_text())
    assert list(figures["runs"]) == STRATEGIES
    for strategy, runs in figures["runs"].items():
        assert [run["seed"] for run in runs] == [1, 2]
        assert runs[0]["loss"] != runs[1]["loss"]
        assert figures["over_seeds"][strategy]["loss"]["median"] == pytest.approx(
            (runs[0]["loss"] + runs[1]["loss"]) / 2
        )
        for seed in (1, 2):
            (start, *_) = read_log(folder / "compared" / f"seed-{seed}" / strategy)
            assert start["ranks"] == {"serial": 1, "sync": 2}.get(strategy, 3)
    left = sorted(path.name for path in (folder / "compared").iterdir())
    assert left == ["compare.json", "compare.png", "seed-1", "seed-2"]  # none of those before
    assert (folder / "compared" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_an_earlier_comparison_is_kept_where_none_can_follow(tmp_path):
    old = tmp_path / "compared"
    for run in ("sync", "seed-7/sync"):
        (old / run).mkdir(parents=True)
        (old / run / "settings.json").write_text("{}")
    (old / "compare.json").write_text("{}")
    before = set(old.rglob("*"))
    flags = ("--data", "none.h5", "--ranks", 2, "--out", "compared", "--overwrite")
    done = minidl("compare", "hep", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert before <= set(old.rglob("*"))


def test_one_rank_learns_what_many_learn_together(folder):
    figures = json.loads((folder / "compared" / "compare.json").read_text())
    assert figures["speedups_over"] == "serial"
    for serial, sync in zip(figures["runs"]["serial"], figures["runs"]["sync"], strict=True):
        assert (serial["workers"], sync["workers"]) == (1, 2)
        assert serial["updates"] == sync["updates"] == 6
        assert sync["samples_to_target"] == serial["samples_to_target"]
        assert sync["loss"] == pytest.approx(serial["loss"], rel=1e-4)
        faster = serial["seconds_per_epoch"] / sync["seconds_per_epoch"]
        assert sync["parallel_speedup"] == pytest.approx(faster)
        for reached, speedup in (
            ("seconds_to_target", "learning_speedup"),
            ("seconds_to_accuracy", "accuracy_speedup"),
        ):
            assert sync[speedup] == pytest.approx(serial[reached] / sync[reached])


def test_what_is_printed_defines_its_figures(folder):
    printed = (folder / "printed.txt").read_text()
    assert printed.startswith("serial, seed 1: finished on 1 rank, in ")
    assert "Speed-ups are over serial: one rank" in printed
    assert "DAWNBench (Coleman et al., 2017)" in printed
    assert "The target is the lowest loss that all runs reached" in printed
    assert "medians over 2 seeds" in printed


def test_a_run_of_a_seed_is_a_run_like_others(folder):
    runs = ["compared/seed-1/serial", "compared/seed-1/sync"]
    assert minidl("plot", *runs, cwd=folder).returncode == 0
    done = minidl("diff", *runs, cwd=folder)
    assert done.returncode == 0, done.stdout


def test_a_model_without_accuracy_is_told_from_one_that_is_never_accurate(folder):
    (folder / "silent.py").write_text(
        "from minidl_models.hep import FIELDS, loss, network, prepare, shape\n"
    )
    done = minidl(
        "compare", "silent", "--data", "events.h5", "--validation", "others.h5", "--ranks", 2,
        "--width", 4, "--iterations", 1, "--target-accuracy", 0.5, "--out", "silent-runs",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 2
    assert "this model's validation tells no accuracy" in done.stderr


@given(st.lists(st.one_of(st.floats(0.1, 10), st.just(math.inf)), min_size=1, max_size=7))
def test_what_never_arrived_is_the_slowest_and_is_not_left_out(values):
    low, median, high = spread(values)
    assert low <= median <= high
    assert (high == math.inf) == (math.inf in values)
    in_time = sum(value < math.inf for value in values)
    assert (median < math.inf) == (2 * in_time > len(values))


def test_a_figure_that_a_run_lacks_has_no_median():
    assert spread([1.0, None]) is None
    assert spread([1.0, math.nan]) is None


def test_a_speedup_is_a_ratio_of_times():
    assert ratio(3.0, 2.0) == 1.5
    assert ratio(3.0, None) == 0
    assert ratio(None, 2.0) == math.inf
    assert ratio(None, None) is None
    slow = replace(SYNC, seconds_per_epoch=1.0, seconds_to_target=6.0)
    related = with_speedups(SYNC, slow)
    assert (related.parallel_speedup, related.learning_speedup) == (2, 4)
    assert related.accuracy_speedup is None


def test_the_table_shows_the_median_and_below_it_the_range():
    seeds = [replace(SYNC, seed=n, seconds_to_target=time) for n, time in ((1, 2.0), (2, None))]
    more = replace(SYNC, seed=3, seconds_to_target=4.0, seconds_per_epoch=0.25)
    comparison = Comparison(0.35, 0.9, {"sync": [SYNC] * 3, "async": [*seeds, more]})
    comparison.relate()
    printed = Printed()
    printed.print(comparison.table())
    rows, last = {}, ""
    for line in printed.text.splitlines():
        title, cells = line[:28].strip(), line[28:].split()
        rows[title if title != "range" else f"{last}, range"] = cells
        last = title
    assert rows["time to loss 0.35"] == ["1.5", "s", "4.0", "s"]
    assert rows["time to loss 0.35, range"] == ["2.0-never"]
    assert rows["parallel speed-up"] == ["1.00", "1.00"]
    assert rows["parallel speed-up, range"] == ["1.00-2.00"]
    assert rows["learning speed-up"] == ["1.00", "0.38"]
    assert rows["learning speed-up, range"] == ["0.00-0.75"]
    assert rows["time to accuracy 0.9"] == ["never", "never"]
    assert rows["learning speed-up: accuracy"] == ["-", "-"]
    assert list(comparison.remarks(cores=8)) == [
        "async did not reach loss 0.35 with 1 of 3 seeds: 2.",
        "sync did not reach accuracy 0.9 with 3 of 3 seeds: 1, 1, 1.",
        "async did not reach accuracy 0.9 with 3 of 3 seeds: 1, 2, 3.",
    ]


def test_curves_of_several_seeds_are_one_in_a_band():
    ways = {
        "sync": [curve([3.0, 2.0, 1.0], window=1), curve([5.0, 2.0, 3.0], window=1)],
        "hybrid": [curve([1.0], window=1)] * 2,
    }
    figure = draw_seeds(ways, target=2.0)
    for panel in figure.axes:
        sync, _, alone, *_ = panel.lines
        np.testing.assert_array_equal(sync.get_ydata(), [4, 2, 2])
        assert alone.get_marker() == "."
        band = panel.collections[0].get_paths()[0].vertices
        assert (band[:, 1].min(), band[:, 1].max()) == (1, 5)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "sync, training: mean and range of 2 seeds",
        "hybrid, training: mean and range of 2 seeds",
        "target: loss 2",
    ]
