"""``minidl diff`` on real runs through the front door, and its explanations on written folders."""

import io
import json

import h5py
import numpy as np
import pytest
from events import write_events
from launch import minidl
from rich.console import Console

from minidl.errors import UserError
from minidl.runs.diff_report import print_diff

SMALL = {"width": 4, "optimizer": "sgd", "iterations": 8, "batch-size": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a small network and gives the run's folder."""
    place = tmp_path_factory.mktemp("runs")
    events = write_events(place / "events.h5", 43)  # every sixth update sums over 3 samples only

    def train(out, ranks=0, **settings):
        flags = [f"--{name}={value}" for name, value in {**SMALL, **settings}.items()]
        flags += ["--data", events, "--out", out, "--overwrite"]
        done = minidl("train", "hep", *flags, cwd=place, ranks=ranks)
        assert done.returncode == 0, done.stderr
        return place / out

    return train


def diff(*runs):
    text = io.StringIO()
    equal = print_diff(*runs, False, Console(file=text, soft_wrap=True))
    return equal, text.getvalue()


def test_a_run_and_its_repetition_are_equal_to_the_bit(trained):
    done = minidl("diff", trained("one"), trained("again"))
    assert done.returncode == 0
    assert "equal to the bit." in done.stdout


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_ranks_are_one_with_twice_the_batch_up_to_summation_order(trained, optimizer):
    # Winograd's rounding is small, too, but Adam makes full steps of gradients that should be zero.
    how = {"optimizer": optimizer, "algorithm": "im2col"}
    runs = trained("one", **how), trained("two", ranks=2, **how, **{"batch-size": 4})
    done = minidl("diff", *runs)
    assert done.returncode == 0, done.stdout
    assert "equal up to summation order." in done.stdout
    assert "1 rank x 8 and 2 ranks x 4 samples: as many in every update." in done.stdout
    figures = json.loads(minidl("diff", *runs, "--json").stdout)
    assert figures["verdict"] == "rounding"
    assert figures["largest"] < figures["bound"] / 10  # a margin, on this machine


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("seed", 2, ("--seed 1 and 2", "part at update 1:")),
        ("learning-rate", 1.01e-3, ("from update 1 on: 0.001 and 0.00101 (--learning-rate",)),
        ("momentum", 0.89, ("--momentum 0.9 and 0.89",)),
        ("iterations", 9, ("A made 8 updates, B 9", "agree to rounding")),
    ],
)
def test_a_real_difference_is_found_and_named(trained, setting, value, said):
    done = minidl("diff", trained("one"), trained("other", **{setting: value}))
    assert done.returncode == 1, done.stdout
    for words in ("different.", *said):
        assert words in done.stdout


def test_the_ranks_that_scale_the_learning_rate_are_named(trained):
    how = {"scale-by-ranks": True}
    runs = trained("one", **how), trained("two", ranks=2, **how, **{"batch-size": 4})
    equal, text = diff(*runs)
    assert not equal
    assert "from update 1 on: 0.001 and 0.002 (--scale-by-ranks multiplies by 1 and 2)" in text


def test_what_is_no_run_is_refused_in_a_line(tmp_path):
    done = minidl("diff", tmp_path, tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "not the folder of a run" in done.stderr


# From here on, folders written by hand.

LOSSES = (0.7, 0.6, 0.65, 0.5)
WEIGHT = np.linspace(-1, 1, 50, dtype=np.float32)


@pytest.fixture
def write(tmp_path):
    def run(
        name,
        *,
        losses=LOSSES,
        change=0.0,
        samples=(8, 8, 3, 8),
        rate=1e-3,
        ranks=1,
        groups=None,
        saved=4,
        finished=True,
        gathers=False,
        versions=None,
        **settings,
    ):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"model": "hep", "data": ["x.h5"], "batch_size": 8 // ranks, **settings}
        (folder / "settings.json").write_text(json.dumps(settings))
        start = {"event": "start", "ranks": ranks, "samples": 19, "versions": versions or {}}
        events = [start if groups is None else {**start, "groups": groups}]
        for number, loss in enumerate(losses):
            update = {"iteration": number + 1, "loss": loss, "learning_rate": rate}
            total = sum(samples[: number + 1])
            events.append({"event": "iteration", "samples": total, "seconds": 0, **update})
        if finished:
            events.append({"event": "end", "reason": "finished"})
        (folder / "log.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
        with h5py.File(folder / "checkpoint.h5", "w") as file:
            file.attrs["iteration"] = saved
            file["layers/00.linear/parameters"] = WEIGHT * np.float32(1 + change)
            if gathers:
                file["statistics/01.norm"] = np.full(4, 1 + change)
        return folder

    return run


def changed(number, factor):
    losses = np.array(LOSSES)
    losses[number - 1 :] *= factor
    return tuple(losses)


def test_rounding_is_a_bound_not_a_feeling(write):
    a = write("a")
    # 4 sqrt(8) 2^-24 for each of 4 updates is 2.7e-6.
    equal, text = diff(a, write("within", change=2e-6, ranks=2))
    assert equal and "bound for 4 updates of 8 samples: 2.7e-06" in text
    assert not diff(a, write("beyond", change=4e-6, ranks=2))[0]


def test_a_wrong_mean_over_a_short_batch_is_traced_to_it(write):
    equal, text = diff(write("a"), write("b", losses=changed(4, 1.001), change=1e-3, ranks=2))
    assert not equal
    assert "Losses part at update 4: 0.5 and 0.5005." in text
    assert "Update 3 is an epoch's last, of 3 samples instead of 8" in text
    assert "Nothing in settings or logs explains it" in text


def test_a_difference_that_grows_is_called_amplified_rounding(write):
    losses = [loss * (1 + apart) for loss, apart in zip(LOSSES, (0, 1e-6, 5e-6, 2e-5), strict=True)]
    equal, text = diff(write("a"), write("b", losses=losses, change=1e-3, ranks=2))
    assert not equal
    assert "Losses drift apart at update 3:" in text
    assert "No update stands out" in text and "--iterations 2" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 4, "samples": (4, 4, 4, 4)}, "8 samples (1 rank x 8), of B over 4 (1 rank"),
        ({"samples": (8, 8, 8, 8)}, "update 3 of A sums over 3 samples, of B over 8"),
        ({"data": ["y.h5"]}, "other data files: x.h5 and y.h5 (may be why)"),
        ({"width": 8}, "--width not given and 8"),
        ({"nesterov": True}, "--nesterov off and on"),
        ({"ranks": 4, "groups": [0, 1, 2, -1]}, "with 3 groups: its gradients are stale"),
        ({"momentum": "auto"}, "--momentum 0.9 and auto"),
        ({"ranks": 2, "gathers": True}, "batch normalisation takes its statistics over every rank"),
        ({"ranks": 2}, "--clip shortens each worker's gradient"),
        ({"clip": 1.0}, "--clip 2.0 and 1.0"),
        ({"rate": 2e-3, "schedule": "cosine"}, "0.001 and 0.002 (--schedule constant and cosine)"),
        ({"brand_new": 3}, "--brand-new not given and 3 (may be why)"),
        ({"versions": {"numpy": "2.4"}}, "other versions of numpy: 2.3 and 2.4 (may be why)"),
    ],
)  # fmt: skip
def test_every_cause_has_its_line(write, settings, said):
    a = write("a", versions={"numpy": "2.3"}, clip=2.0)
    b = {"losses": changed(2, 1.1), "change": 0.1, "clip": 2.0, **settings}
    equal, text = diff(a, write("b", **b))
    assert not equal
    assert said in text


def test_another_rule_is_a_difference_also_where_it_does_not_show(write):
    equal, text = diff(write("a"), write("b", change=1e-7, rate=1.0001e-3, learning_rate=1.0001e-3))
    assert not equal
    assert "does not show beyond rounding" in text


def test_other_shapes_are_a_difference_and_json_stays_json(write, capsys):
    a, b = write("a"), write("b", width=8)
    with h5py.File(b / "checkpoint.h5", "a") as file:
        file["layers/01.more/parameters"] = WEIGHT
    assert not print_diff(a, b, True, Console())
    figures = json.loads(capsys.readouterr().out)
    assert figures["verdict"] == "different"
    assert figures["layers"]["00.linear"]["equal_bits"]
    assert figures["layers"]["01.more"]["largest"] is None


def test_an_unfinished_run_is_compared_only_at_the_same_iteration(write):
    a = write("a")
    assert diff(a, write("enough", finished=False))[0]
    with pytest.raises(UserError, match=r"not finished; its checkpoint is of iteration 2.*of 4"):
        diff(a, write("early", finished=False, saved=2))
    with pytest.raises(UserError, match="no update before its checkpoint"):
        diff(a, write("none", saved=0))
    (a / "checkpoint.h5").unlink()
    with pytest.raises(UserError, match="no such file"):
        diff(a, a)
