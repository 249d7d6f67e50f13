"""``minidl train climate`` through the front door: all strategies, options, years, evaluation."""

import json

import h5py
import numpy as np
import pytest
from frames import draw_frames, write_frames
from launch import minidl
from printed import Printed

from minidl import checkpoint
from minidl.model import Model
from minidl.run import read_log
from minidl.runs.replay_report import print_replay
from minidl_models import climate
from minidl_models.climate.channels import CHANNELS, UNUSED

TERMS = ("object", "empty", "class", "position", "size", "reconstruction")
BOX_TERMS = TERMS[:-1]

# An update takes 12 frames, and the last of an epoch 2: of four ranks two then have none.
FRAMES = 14
WIDTH = 4
SMALL = ("--width", WIDTH, "--epochs", 2)
HALF = ("--labelled", 0.5)
JUDGED = (*HALF, "--validation", "frames.h5")
ASYNC = ("--strategy", "async", "--batch-size", 4)
HYBRID = ("--strategy", "hybrid", "--groups", 2, "--servers", 2, "--batch-size", 2)
RUNS = {
    "serial": (0, "--strategy", "serial", "--batch-size", 12, *HALF),
    "sync": (2, "--batch-size", 6, *HALF),
    "three": (3, "--batch-size", 4, *HALF),
    "four": (4, "--batch-size", 3, *JUDGED),
    "virtual": (0, "--virtual-ranks", 4, "--batch-size", 3, *JUDGED),
    "parts": (0, "--batch-size", 3, "--accumulate", 4, *HALF),
    "async": (3, *ASYNC, *JUDGED),
    "hybrid": (6, *HYBRID, *JUDGED),
    "virtual async": (0, "--virtual-ranks", 3, *ASYNC, *JUDGED),
    "virtual hybrid": (0, "--virtual-ranks", 6, *HYBRID, *JUDGED),
    "unlabelled": (0, "--batch-size", 7, "--labelled", 0, "--validation", "frames.h5"),
    "options": (
        0, "--preset", "paper", "--labels", "heuristic", "--labelled", 0.5, "--reconstruction", 3,
        "--batch-size", 7,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, and with the runs that were asked for so far.

    Frames 0 to 4 are also those of one yearly file, and the others of another. The heuristic has
    found no storm at all.
    """
    place = tmp_path_factory.mktemp("runs")
    images, boxes = draw_frames(FRAMES)
    nothing = np.full_like(boxes, UNUSED)
    write_frames(place / "frames.h5", FRAMES, heuristic=nothing)
    for year, part in {"1979": slice(5), "1980": slice(5, None)}.items():
        write_frames(place / f"{year}.h5", 0, images=images[part], boxes=boxes[part])
    stronger, labels = draw_frames(5, seed=1)
    write_frames(
        place / "test.h5", 0, images=3 * stronger + 2, boxes=labels, heuristic=np.roll(labels, 1, 0)
    )
    return place


@pytest.fixture
def trained(place):
    """Return a function that gives a run's folder."""
    return lambda name: place / name if (place / name).exists() else train(place, name, name)


def train(place, name, out, data=("frames.h5",)):
    ranks, *arguments = RUNS[name]
    arguments += [*SMALL, "--data", *data, "--out", out]
    done = minidl("train", "climate", *arguments, cwd=place, ranks=ranks)
    assert done.returncode == 0, done.stderr
    return place / out


def settings(run):
    return json.loads((run / "settings.json").read_text())


def events(run, kind):
    return [event for event in read_log(run) if event["event"] == kind]


def parameters(run):
    with h5py.File(run / "checkpoint.h5") as file:
        return {key.split(".")[1]: group["parameters"][:] for key, group in file["layers"].items()}


def judged_by_hand(run, path):
    """The means over a file's frames of a run's loss and its terms, all labels used."""
    asked = settings(run)
    model = Model(climate, asked["options"])
    model.measured = asked["measured"]
    dataset = model.open([path])
    network = model.network(model.shape(dataset), np.random.default_rng(0), width=WIDTH)
    checkpoint.load(run / "checkpoint.h5", network)
    x, target = model.prepare(dataset.read(np.arange(len(dataset))), None)
    return model.figures(network.forward(x, training=False), target)


@pytest.mark.parametrize("name", RUNS)
def test_every_strategy_logs_six_terms_that_add_up_to_the_loss(trained, name):
    run = trained(name)
    iterations = events(run, "iteration")
    assert iterations
    for event in iterations:
        assert tuple(event["terms"]) == TERMS
        assert sum(event["terms"].values()) == pytest.approx(event["loss"], rel=1e-9)
    assert iterations[-1]["samples"] == 2 * FRAMES
    for event in events(run, "validation"):
        assert sum(event[name] for name in TERMS) == pytest.approx(event["loss"], rel=1e-9)
    assert read_log(run)[-1] == {"event": "end", "reason": "finished"}


@pytest.mark.parametrize("name", ["sync", "three", "four", "virtual", "parts"])
def test_many_ranks_have_the_terms_that_one_has_with_as_many_frames(trained, name):
    """Half of the frames come without labels, and some ranks without a frame."""
    alone, shared = (events(trained(run), "iteration") for run in ("serial", name))
    assert len(alone) == len(shared) == 4
    assert any(event["terms"]["object"] for event in alone)
    for one, many in zip(alone, shared, strict=True):
        for term in TERMS:
            expected = pytest.approx(one["terms"][term], rel=1e-4, abs=1e-6)
            assert many["terms"][term] == expected, term


def test_several_yearly_files_are_one_set(place, trained):
    years = train(place, "serial", "years", ("1979.h5", "1980.h5"))
    whole = trained("serial")
    for kind in ("mean", "deviation"):
        np.testing.assert_allclose(
            settings(years)["measured"][kind], settings(whole)["measured"][kind], rtol=1e-9
        )
    for one, other in zip(events(whole, "iteration"), events(years, "iteration"), strict=True):
        assert one["terms"] == pytest.approx(other["terms"], rel=1e-4)


@pytest.mark.parametrize("strategy", ["sync", "async"])
def test_a_run_that_loses_a_rank_still_knows_what_was_measured(place, strategy):
    flags = ("--data", "frames.h5", "--width", WIDTH, "--batch-size", 1, "--epochs", 2)
    out = f"{strategy} loses"
    virtual = ("--strategy", strategy, "--virtual-ranks", 4, "--death", "1@0.0003", "--out", out)
    done = minidl("train", "climate", *flags, *virtual, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "lost rank 1" in done.stdout
    measured = settings(place / out)["measured"]
    assert len(measured["mean"]) == len(measured["deviation"]) == 16


@pytest.mark.parametrize("name", ["async", "hybrid", "virtual async"])
def test_a_run_is_replayed_to_the_bit(trained, name):
    console = Printed()
    assert print_replay(trained(name), False, console), console.text
    assert "equal to the bit" in console.text


def test_from_repeats_a_run_with_its_options_to_the_bit(place, trained):
    first = trained("options")
    assert settings(first)["options"] == {
        "preset": "paper", "labels": "heuristic", "labelled": 0.5, "reconstruction": 3
    }  # fmt: skip
    done = minidl("train", "--from", first, "--out", "again", cwd=place)
    assert done.returncode == 0, done.stderr
    again = place / "again"
    assert settings(again) == settings(first)
    repeated = parameters(again)
    assert all((repeated[name] == array).all() for name, array in parameters(first).items())
    changed = minidl(
        "train", "--from", first, "--labelled", 1, "--out", "changed", "--dry-run", cwd=place
    )
    assert changed.returncode == 0, changed.stderr


def test_options_are_what_is_learnt(trained):
    """Of the paper's filters; from the heuristic's boxes, of which there are none; weight 3."""
    run = trained("options")
    assert parameters(run)["conv5"].size != parameters(trained("serial"))["conv5"].size
    terms = [event["terms"] for event in events(run, "iteration")]
    for name in ("object", "class", "position", "size"):
        assert all(term[name] == 0 for term in terms)
    assert all(term["empty"] > 0 for term in terms)
    assert terms[0]["reconstruction"] == pytest.approx(3, rel=0.1)  # of fields of deviation 1


def test_without_labels_only_the_reconstruction_is_learnt(trained):
    run = trained("unlabelled")
    for event in events(run, "iteration"):
        assert [event["terms"][name] for name in BOX_TERMS] == [0] * len(BOX_TERMS)
        assert event["terms"]["reconstruction"] > 0
    shape, seed = climate.SMALL_SHAPE, settings(run)["seed"]
    before = climate.network(shape, np.random.default_rng(seed), width=WIDTH)
    after = parameters(run)
    for layer in before.layers():
        same = (after[layer.name] == layer.parameters).all()
        assert same == (layer.name in ("confidence", "classes", "position", "size")), layer.name


@pytest.mark.parametrize("name", ["four", "unlabelled"])
def test_validation_uses_all_labels_and_whole_frames(place, trained, name):
    *_, last = events(trained(name), "validation")
    figures = judged_by_hand(place / name, place / "frames.h5")
    assert last["object"] > 0
    for figure in ("loss", *TERMS):
        assert last[figure] == pytest.approx(figures[figure], rel=1e-4), figure


def test_evaluation_judges_by_what_was_measured_on_the_training_data(place, trained):
    run = trained("serial")
    with h5py.File(place / "frames.h5") as file:
        mean = file["images"][:].mean(axis=(0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(settings(run)["measured"]["mean"], mean, rtol=1e-6, atol=1e-9)
    done = minidl("evaluate", "serial", "--data", "test.h5", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert json.loads((run / "evaluation.json").read_text()) == figures
    # Fields 3 times as strong are 9 times as hard to draw for who has not been told.
    assert figures["reconstruction"] > 5 * climate.OPTIONS["reconstruction"]
    for name, value in judged_by_hand(run, place / "test.h5").items():
        assert figures[name] == pytest.approx(value, rel=1e-4), name
    assert not (place / "test.channels.json").exists()
    for picture in ("curves.png", "storms.png", "reconstruction.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG"), picture


def test_evaluation_judges_against_boxes_whatever_was_learnt_from(place, trained):
    trained("options")
    done = minidl("evaluate", "options", "--data", "test.h5", cwd=place)
    assert done.returncode == 0, done.stderr
    figures = json.loads((place / "options" / "evaluation.json").read_text())
    with h5py.File(place / "test.h5") as file:
        boxes = file["boxes"][:]
    assert sum(figures["truths"].values()) == (boxes[..., 4] != UNUSED).sum() == 7
    assert figures["rival"]["0.5"]["mean"] < 0.5  # the boxes of another frame
    assert "average precision" in done.stdout and "heuristic" in done.stdout


def test_evaluation_without_boxes_to_judge_by_says_so(place, trained):
    trained("options")
    labels = draw_frames(2)[1]
    write_frames(place / "no-truth.h5", 2, boxes=None, heuristic=labels)
    done = minidl("evaluate", "options", "--data", "no-truth.h5", cwd=place)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert "no-truth.h5" in said and "'boxes'" in said


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def test_terms_that_overflow_are_null_in_the_log(place):
    flags = ("--data", "frames.h5", "--width", 2, "--learning-rate", 1e20, "--out", "diverged")
    done = minidl("train", "climate", *flags, cwd=place)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert "the loss is not a finite number any more" in said
    lines = (place / "diverged" / "log.jsonl").read_text().splitlines()
    log = [json.loads(line, parse_constant=refuse_constant) for line in lines]
    iterations = [event for event in log if event["event"] == "iteration"]
    (last,) = (event for event in iterations if event["loss"] is None)
    assert None in last["terms"].values()


LENGTHS = {
    "sgd": ("--iterations", 120, "--learning-rate", 1e-3),
    "adam": ("--iterations", 60, "--learning-rate", 1e-3),
}


@pytest.mark.parametrize("optimizer", LENGTHS)
def test_the_boxes_of_a_handful_of_frames_are_learnt(tmp_path, optimizer):
    data = write_frames(tmp_path / "frames.h5", 6, width=64)
    flags = ("--optimizer", optimizer, *LENGTHS[optimizer], "--batch-size", 6, "--width", 6)
    done = minidl("train", "climate", "--data", data, *flags, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = minidl("evaluate", "run", "--data", data, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["network"]["0.1"]
    assert found["mean"] > 0.9
    assert min(found["recall"].values()) > 0.9  # of boxes that the network is sure of


def test_every_gradient_of_the_network_and_its_loss_is_checked():
    done = minidl("check", "climate", "--width", 1, "--size", 32, "--reconstruction", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All gradients are right." in done.stdout


def test_the_summary_shows_the_paper_s_size():
    done = minidl("summary", "climate", "--preset", "paper")
    assert done.returncode == 0, done.stderr
    assert "302.07 MiB in 14 messages" in done.stdout
    assert f"768x768x{len(CHANNELS)}" in done.stdout
