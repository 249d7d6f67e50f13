"""Loss curves: what is read from the log, how it is smoothed, and that pictures are whole."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import UserError
from minidl.runs.plot import draw, plot_runs, read_curve, smooth

losses = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=30)


def write_run(folder, losses, validated=()):
    folder.mkdir(parents=True)
    events = [{"event": "start", "ranks": 1}]
    for number, loss in enumerate(losses, start=1):
        step = {"group": 0, "iteration": number, "samples": 8 * number, "seconds": 0.5 * number}
        events.append({"event": "iteration", **step, "loss": loss})
        if number in validated:
            events.append({"event": "validation", **step, "loss": 2.0})
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, [*events, {"event": "end"}])))
    return folder


@given(losses, st.integers(1, 40))
def test_smoothing_is_the_mean_of_the_last_finite_losses(values, window):
    smoothed = smooth(np.array(values), window)
    for end in range(len(values)):
        last = np.array(values[max(0, end + 1 - window) : end + 1])
        last = last[np.isfinite(last)]
        expected = last.mean() if len(last) else np.nan
        np.testing.assert_allclose(smoothed[end], expected, atol=1e-6)


def test_a_curve_has_validation_where_it_was_made_and_nan_for_null(tmp_path):
    curve = read_curve(write_run(tmp_path / "run", [3.0, None, 1.0], validated=(2,)), "run")
    np.testing.assert_array_equal(curve.samples, [8, 16, 24])
    np.testing.assert_array_equal(curve.loss, [3, np.nan, 1])
    np.testing.assert_array_equal(curve.validation, [[16, 1, 2]])


def test_groups_are_brought_into_the_order_of_time(tmp_path):
    # Rank 0 finishes first, and hears of the second group's iterations after its own.
    rows = [(0, 1, 8, 1.0, 4.0), (0, 2, 16, 3.0, 2.0), (1, 1, 20, 2.0, 3.0), (1, 2, 24, 4.0, 1.0)]
    names = ("group", "iteration", "samples", "seconds", "loss")
    events = [{"event": "iteration", **dict(zip(names, row, strict=True))} for row in rows]
    last = {"group": 0, "iteration": 2, "samples": 24, "seconds": 5.0, "loss": 0.5}
    (tmp_path / "log.jsonl").write_text(
        "\n".join(map(json.dumps, [*events, {"event": "validation", **last}]))
    )
    curve = read_curve(tmp_path, "two groups")
    np.testing.assert_array_equal(curve.seconds, [1, 2, 3, 4])
    np.testing.assert_array_equal(curve.loss, [4, 3, 2, 1])
    np.testing.assert_array_equal(curve.samples, [8, 12, 20, 24])
    np.testing.assert_array_equal(curve.validation, [[24, 5, 0.5]])
    assert curve.window == 2


@pytest.mark.parametrize("extension", ["png", "pdf", "svg"])
def test_a_picture_is_written_in_each_format(tmp_path, extension):
    runs = [write_run(tmp_path / name, [1.0, 0.5, None]) for name in "ab"]
    out = tmp_path / f"loss.{extension}"
    plot_runs(runs, out)
    assert out.read_bytes()[:4] in (b"\x89PNG", b"%PDF", b"<?xm")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", out.name]


@pytest.mark.parametrize(
    "values", [[1.0], [None, None], [1.0, 1.0], [0.0, 100.0], [-1.0, 2.0], [1e30] * 3]
)
def test_awkward_losses_are_drawn(tmp_path, values):
    plot_runs([write_run(tmp_path / "run", values, validated=(1,))], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").exists()


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_names_runs_and_says_what_was_smoothed(tmp_path):
    long = read_curve(write_run(tmp_path / "long", [1.0] * 400, validated=(7,)), "long")
    short = read_curve(write_run(tmp_path / "short", [1.0]), "short")
    assert labels(draw([long, short])) == [
        "long, training, mean of 10 updates",
        "short, training",
        "validation",
    ]


def test_a_target_is_marked_and_in_view(tmp_path):
    curve = read_curve(write_run(tmp_path / "run", [1.0, 0.5]), "run")
    figure = draw([curve], target=0.2)
    assert labels(figure) == ["run, training", "target: loss 0.2"]
    assert all(panel.get_ylim()[0] < 0.2 for panel in figure.axes)


def test_the_scale_is_logarithmic_over_decades_only(tmp_path):
    steep = read_curve(write_run(tmp_path / "steep", [10.0, 1.0, 0.1]), "steep")
    flat = read_curve(write_run(tmp_path / "flat", [1.0, 0.5]), "flat")
    assert [draw([curve]).axes[0].get_yscale() for curve in (steep, flat)] == ["log", "linear"]


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path, monkeypatch):
    runs = [write_run(tmp_path / side / "hep", [1.0]) for side in "ab"]
    drawn = []
    monkeypatch.setattr(
        "minidl.runs.plot.draw", lambda curves: drawn.extend(curves) or draw(curves)
    )
    plot_runs(runs, tmp_path / "loss.png")
    assert [curve.label for curve in drawn] == [str(run) for run in runs]


def refused(message, *arguments):
    with pytest.raises(UserError, match=message) as caught:
        plot_runs(*arguments)
    assert "\n" not in str(caught.value)


def test_mistakes_are_told_in_one_line_and_nothing_is_written(tmp_path):
    run = write_run(tmp_path / "run", [1.0])
    other = tmp_path / "other"
    other.mkdir()
    refused("no log.jsonl", [other], tmp_path / "loss.png")
    refused("no runs", [], tmp_path / "loss.png")
    refused("unknown kind of picture.*--out", [run], tmp_path / "loss.doc")
    refused("unknown kind of picture", [run], tmp_path / "loss")
    refused("no folder", [run], tmp_path / "nowhere" / "loss.png")
    (other / "log.jsonl").write_text('{"event": "start"}\n')
    refused("no iteration", [other], tmp_path / "loss.png")
    (other / "log.jsonl").write_text('[1, 2]\n{"a": 1}\n')
    refused("log.jsonl, line 1: not an event", [other], tmp_path / "loss.png")
    (other / "log.jsonl").write_text('{"event": "start"}\n{"event": "iteration", "loss": 1}\n')
    refused("not the log of a training run", [other], tmp_path / "loss.png")
    (tmp_path / "folder.png").mkdir()
    refused("cannot be written", [run], tmp_path / "folder.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.png", "other", "run"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", [1.0])
    out = tmp_path / "loss.png"
    out.write_text("old")

    def full(*paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    refused("cannot write the picture: No space left", [run], out)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loss.png", "run"]


def test_pyplot_is_left_alone():
    program = (
        "import sys, minidl.runs.plot, minidl.cli.gallery; "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"False"]
