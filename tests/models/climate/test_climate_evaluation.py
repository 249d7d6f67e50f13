"""What is said and shown of the boxes that were found, on boxes made by hand."""

import json
import math

import numpy as np
import pytest
from matplotlib.image import imread

from minidl import picture
from minidl_models.climate import evaluation, pictures
from minidl_models.climate.boxes import Detections
from minidl_models.climate.channels import (
    CHANNEL,
    CLASSES,
    EXTRATROPICAL,
    MOST_BOXES,
    RIVER,
    TROPICAL,
    UNUSED,
)

TYPHOON, ELSEWHERE = (10, 10, 30, 30), (60, 60, 80, 80)
SHIFTED = (10, 20, 30, 40)  # overlaps the typhoon by a third


def truth(*boxes):
    """A frame's labels as in a file: boxes (..., class), and rows that are unused."""
    rows = np.full((MOST_BOXES, 5), UNUSED, np.int32)
    rows[: len(boxes)] = np.array(boxes).reshape(-1, 5)
    return rows


def found(*boxes):
    """A frame's detections of (box, class, score)."""
    corners, classes, scores = zip(*boxes, strict=True) if boxes else ((), (), ())
    return Detections(
        np.array(corners, np.float64).reshape(-1, 4), np.array(classes, int), np.array(scores)
    )


TRUTHS = [truth((*TYPHOON, TROPICAL)), truth((*TYPHOON, TROPICAL), (*ELSEWHERE, RIVER)), truth()]
FOUND = [
    found((TYPHOON, TROPICAL, 0.9), (ELSEWHERE, TROPICAL, 0.5)),
    found((SHIFTED, TROPICAL, 0.95), (ELSEWHERE, RIVER, 0.7)),
    found(),
]


def test_the_network_is_judged_by_class_and_by_how_well_boxes_must_fit():
    figures = evaluation.judge(FOUND, TRUTHS)
    assert figures["truths"] == dict(zip(CLASSES, (0, 2, 0, 1), strict=True))
    loose, tight = figures["network"]["0.1"], figures["network"]["0.5"]
    assert loose["average"]["tropical cyclone"] == 1.0
    # The surest box is wrong at 0.5; the second finds half of the storms at precision 1/2: 51
    # of the 101 recalls at which the curve is read.
    assert tight["average"]["tropical cyclone"] == pytest.approx(0.5 * 51 / 101)
    assert loose["average"]["atmospheric river"] == 1.0
    assert loose["mean"] == 1.0
    assert tight["mean"] == pytest.approx((1 + 0.5 * 51 / 101) / 2)


def test_precision_and_recall_are_those_of_boxes_surer_than_the_papers_threshold():
    figures = evaluation.judge(FOUND, TRUTHS)["network"]
    assert figures["0.1"]["precision"]["tropical cyclone"] == 1.0
    assert figures["0.1"]["recall"]["tropical cyclone"] == 1.0
    assert figures["0.5"]["precision"]["tropical cyclone"] == 0.5
    assert figures["0.5"]["recall"]["tropical cyclone"] == 0.5
    assert figures["0.1"]["recall"]["atmospheric river"] == 0.0
    assert figures["0.1"]["precision"]["atmospheric river"] is None


def test_of_a_class_without_labels_nothing_is_said():
    figures = evaluation.judge(FOUND, TRUTHS)["network"]["0.1"]
    for what in ("average", "precision", "recall"):
        assert figures[what]["extratropical cyclone"] is None


def test_the_rival_is_judged_by_the_same_labels_where_there_is_one():
    assert "rival" not in evaluation.judge(FOUND, TRUTHS)
    perfect = evaluation.judge(FOUND, TRUTHS, TRUTHS)["rival"]
    idle = evaluation.judge(FOUND, TRUTHS, [truth()] * 3)["rival"]
    for least in ("0.1", "0.5"):
        assert perfect[least]["mean"] == 1.0
        assert perfect[least]["recall"]["tropical cyclone"] == 1.0
        assert idle[least]["mean"] == 0.0


def test_figures_are_plain_numbers():
    figures = evaluation.judge(FOUND, TRUTHS, TRUTHS)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@pytest.mark.parametrize("rival", [None, TRUTHS], ids=["alone", "with a rival"])
@pytest.mark.parametrize("truths", [TRUTHS, [truth()] * 3], ids=["storms", "no storms"])
def test_the_report_has_a_row_a_class_and_the_mean_below(truths, rival):
    figures = evaluation.judge(FOUND, truths, rival)
    *heading, depression, cyclone, extratropical, river, mean = evaluation.report(figures)
    rows = (depression, cyclone, extratropical, river)
    assert [row[:21].strip() for row in rows] == list(CLASSES)
    assert mean.startswith("mean (mAP)")
    assert all(len(line) < 80 for line in (*heading, *rows, mean))
    assert ("heuristic" in " ".join(heading)) == (rival is not None)
    average = figures["network"]["0.5"]["mean"]
    assert ("-" if average is None else f"{average:.3f}") in mean


def test_the_working_point_of_a_finder_of_nothing_is_no_recall():
    curve = evaluation.curves([found()], [truth((*TYPHOON, TROPICAL))])[0.1][TROPICAL]
    recall, precision = evaluation.working_point(curve)
    assert recall == 0.0
    assert math.isnan(precision)


@pytest.fixture
def coarse(monkeypatch):
    """Pictures of few dots, which are drawn in no time."""
    monkeypatch.setattr(picture, "DOTS_PER_INCH", 40)


def weather(seed=0, height=64, width=96):
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((16, height, width)).astype(np.float32)
    images[CHANNEL["PSL"]] = 101000 + 500 * images[CHANNEL["PSL"]]
    images[CHANNEL["TMQ"]] = 30 + 5 * images[CHANNEL["TMQ"]]
    return images


def drawn(path):
    """Pixels of a picture that has something in it."""
    pixels = imread(path)[..., :3]
    assert pixels.std() > 0.05
    return pixels


def same(one, other):
    return one.shape == other.shape and np.array_equal(one, other)


def test_curves_are_drawn_with_and_without_a_rival_and_without_storms(tmp_path, coarse):
    network, rival = evaluation.curves(FOUND, TRUTHS), evaluation.curves(FOUND[::-1], TRUTHS)
    nothing = evaluation.curves([found()] * 3, [truth()] * 3)
    pages = []
    for curves, other in ((network, None), (network, rival), (nothing, None), (nothing, nothing)):
        pictures.plot_curves(curves, tmp_path / "curves.png", other, "synthetic")
        pages.append(drawn(tmp_path / "curves.png"))
    assert not same(pages[0], pages[1])
    assert not same(pages[0], pages[2])


@pytest.mark.parametrize("frames, count", [(1, 1), (3, MOST_BOXES), (4, 0)])
def test_maps_are_drawn_for_any_number_of_frames_and_boxes(tmp_path, coarse, frames, count):
    boxes = [((4 * i, 5 * i, 4 * i + 8, 5 * i + 12), i % len(CLASSES), 0.5) for i in range(count)]
    labels = truth(*((*box, kind) for box, kind, _ in boxes))
    maps = [pictures.Map(weather(i), labels, found(*boxes), f"frame {i}") for i in range(frames)]
    pictures.plot_maps(maps, tmp_path / "maps.png", "synthetic")
    drawn(tmp_path / "maps.png")


def test_a_map_shows_both_the_labelled_and_the_found_boxes(tmp_path, coarse):
    pages = []
    for labels, boxes in (
        (truth(), found()),
        (truth((*TYPHOON, EXTRATROPICAL)), found()),
        (truth(), found((TYPHOON, EXTRATROPICAL, 0.9))),
    ):
        frame = pictures.Map(weather(), labels, boxes, "one")
        pictures.plot_maps([frame], tmp_path / "maps.png")
        pages.append(drawn(tmp_path / "maps.png"))
    assert not same(pages[0], pages[1])
    assert not same(pages[0], pages[2])
    assert not same(pages[1], pages[2])


def test_reconstructions_are_drawn_beside_their_inputs_gaps_and_perfect_ones_included(
    tmp_path, coarse
):
    images, again = weather(0), weather(1)
    gaps = images.copy()
    gaps[:, :20, :30] = np.nan
    pages = []
    for before, after in ((images, again), (images, images), (gaps, again)):
        pictures.plot_reconstructions(before, after, tmp_path / "drawn.png", "synthetic")
        pages.append(drawn(tmp_path / "drawn.png"))
    assert not same(pages[0], pages[1])
    assert not same(pages[0], pages[2])


@pytest.mark.parametrize("name", ["curves.svg", "curves.pdf"])
def test_pictures_come_in_the_format_that_the_name_asks_for(tmp_path, name):
    pictures.plot_curves(evaluation.curves(FOUND, TRUTHS), tmp_path / name)
    assert (tmp_path / name).read_bytes()[:4] in (b"%PDF", b"<?xm")
    assert [path.name for path in tmp_path.iterdir()] == [name]
