"""Boxes in images, names of channels, which way up: what is printed and drawn of them."""

import re
from itertools import combinations

import h5py
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from printed import Printed

from minidl.cli.box_survey import BoxSurvey
from minidl.cli.contents import Contents
from minidl.cli.gallery import draw_samples
from minidl.cli.inspect import inspect_file

RANDOM = np.random.default_rng(0)

HEIGHT, WIDTH = 12, 20
ROWS = [  # of three samples; the rest of their four rows is not used
    [(2, 3, 5, 9, 1), (0, 0, 12, 20, 0)],
    [],
    [(4, 4, 6, 6, 1)],
]


def storms(path, rows=ROWS, channels=2, classes=("calm", "storm", "flood"), **more):
    """A file of images with boxes, which are given as lists of rows."""
    boxes = np.full((len(rows), 4, 5), -1)
    for sample, given in zip(boxes, rows, strict=True):
        sample[: len(given)] = np.reshape(given, (-1, 5))
    images = RANDOM.normal(size=(len(rows), channels, HEIGHT, WIDTH))
    with h5py.File(path, "w") as file:
        for name, array in {"images": images, "boxes": boxes, **more}.items():
            file[name] = array
        if classes:
            file.attrs["classes"] = np.array(classes, np.bytes_)
    return path


def inspected(path):
    console = Printed()
    inspect_file(path, None, console)
    return console.text


def drawn(path):
    with h5py.File(path) as file:
        return draw_samples(Contents(file), None)


def fields(path, images):
    """A file of images alone."""
    with h5py.File(path, "w") as file:
        file["images"] = images
    return path


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


def test_boxes_are_counted_by_class_and_by_sample(tmp_path):
    text = inspected(storms(tmp_path / "a.h5"))
    assert re.search(r"boxes +calm +1 +33.3% *\n.*storm +2 +66.7% *\n.*flood +0 +0.0%", text)
    assert "boxes: 1 a sample, at most 2; 1 of 3 samples without any" in text
    assert "warning" not in text


def test_boxes_without_names_of_classes_are_counted_by_number(tmp_path):
    text = inspected(storms(tmp_path / "a.h5", classes=None))
    assert re.search(r"boxes +0 +1 +33.3% *\n.*1 +2 +66.7%", text)


def test_numbers_of_boxes_are_no_statistics(tmp_path):
    path = storms(tmp_path / "a.h5", heuristic=np.full((3, 4, 5), -1))
    text = inspected(path)
    assert len(re.findall(r"^boxes .*%", text, re.MULTILINE)) == 3  # its classes
    assert "heuristic: 0 a sample, at most 0; 3 of 3 samples without any" in text
    assert not re.search(r"^(boxes|heuristic) .* -1 ", text, re.MULTILINE)


def test_boxes_that_are_no_numbers_are_warned_of_and_left_out(tmp_path):
    boxes = np.full((3, 4, 5), -1.0)
    boxes[1, 0] = 1, 2, 3, 4, np.nan
    boxes[1, 1] = 1, 2, 3, 4, 1
    path = storms(tmp_path / "a.h5", boxes=boxes)
    text = inspected(path)
    assert re.search(r"calm +0 .*\n.*storm +1 ", text)
    assert "warning: boxes: of the numbers looked at, 1 are NaN" in text
    assert sum(len(axes.patches) for axes in panels(drawn(path))) == 2  # channels


def test_boxes_are_counted_alike_in_any_pieces(tmp_path, monkeypatch):
    rows = [[(1, 1, 3, 3, 2)]] * 5 + [[(1, 1, 30, 3, 2), (3, 3, 1, 1, 0)]] + [[]] * 3
    with h5py.File(storms(tmp_path / "a.h5", rows)) as file:
        whole = BoxSurvey(file["boxes"], (HEIGHT, WIDTH))
        monkeypatch.setattr("minidl.cli.box_survey.BLOCK", 2 * 4 * 5)
        pieces = BoxSurvey(file["boxes"], (HEIGHT, WIDTH))
    for found in (whole, pieces):
        assert (found.boxes, found.empty, found.most) == (7, 3, 2)
        assert found.classes == {2: 6, 0: 1}
    assert whole.problems() == pieces.problems() and len(whole.problems()) == 2


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((0, 0, HEIGHT + 1, 4, 0), "not wholly inside"),
        ((0, 0, 4, WIDTH + 1, 0), "not wholly inside"),
        ((-2, 0, 4, 4, 0), "not wholly inside"),
        ((0, -2, 4, 4, 0), "not wholly inside"),
        ((5, 1, 4, 4, 0), "without height or width"),
        ((1, 5, 4, 4, 0), "without height or width"),
        ((4, 1, 4, 4, 0), "without height or width"),
    ],
)
def test_wrong_boxes_are_warned_of(tmp_path, box, problem):
    text = inspected(storms(tmp_path / "a.h5", [[], [(0, 0, HEIGHT, WIDTH, 0), box]]))
    assert len(re.findall(r"warning: ", text)) == 1
    assert re.search(rf"warning: boxes: 1 of 2 {problem}.*, first in sample 1;", text)


def test_each_sample_has_its_boxes_on_all_its_channels(tmp_path):
    figure = drawn(storms(tmp_path / "a.h5"))
    found = [[patch.get_bbox().extents.tolist() for patch in a.patches] for a in panels(figure)]
    first, second, third = [[3, 2, 9, 5], [0, 0, 20, 12]], [], [[4, 4, 6, 6]]
    assert sorted(found) == sorted([first, second, third] * 2)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["calm", "storm"]


def test_what_is_drawn_of_a_sparse_image_is_where_its_pixels_are(tmp_path):
    images = np.zeros((2, 1, 1130, 45))  # neither side a multiple of the blocks of pixels
    images[:, 0, 1100, 43] = 1.0
    for axes in panels(drawn(fields(tmp_path / "sparse.h5", images))):
        assert (axes.get_xlim(), axes.get_ylim()) == ((0, 45), (1130, 0))
        values = axes.images[0].get_array()
        left, right, bottom, top = axes.images[0].get_extent()
        assert (left, top) == (0, 0) and min(values.shape) < 45
        height, width = bottom / values.shape[0], right / values.shape[1]
        row, column = np.argwhere(~np.ma.getmaskarray(values))[0]
        assert row * height <= 1100 < (row + 1) * height
        assert column * width <= 43 < (column + 1) * width


@pytest.mark.parametrize(
    ("latitude", "boxes", "end"),
    [
        (np.arange(HEIGHT), True, "bottom"),
        (-np.arange(HEIGHT), True, "top"),
        (np.arange(HEIGHT), False, "bottom"),
        (np.arange(HEIGHT + 1), False, "top"),
        (None, True, "bottom"),
        (None, False, "top"),
    ],
)
def test_row_0_is_where_latitudes_or_else_boxes_put_it(tmp_path, latitude, boxes, end):
    more = {} if latitude is None else {"latitude": latitude}
    path = storms(tmp_path / "a.h5", **more)
    if not boxes:
        with h5py.File(path, "a") as file:
            del file["boxes"]
    assert f"row 0 at the {end}" in inspected(path)
    for axes in panels(drawn(path)):
        rows = (HEIGHT, 0) if end == "top" else (0, HEIGHT)
        assert axes.get_ylim() == tuple(axes.images[0].get_extent()[2:]) == rows
        assert axes.images[0].origin == ("upper" if end == "top" else "lower")


@pytest.mark.parametrize("place", ["file", "data set"])
def test_channels_have_the_names_that_the_file_gives_them(tmp_path, place):
    path = storms(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        node = file if place == "file" else file["images"]
        node.attrs["channels"] = np.array([b"rain", b"[wind]"])
    assert re.search(r"images +rain .*\n *images +\[wind\] ", inspected(path))
    written = [axes.get_ylabel() for axes in panels(drawn(path))]
    assert {"rain", "[wind]"} <= set(written)


@pytest.mark.parametrize("names", [b"rain", [b"a", b"b", b"c"], ["a", "b"], 7, h5py.Empty("f4")])
def test_what_is_no_name_for_every_channel_is_not_used(tmp_path, names):
    path = storms(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.attrs["channels"] = names
    assert re.search(r"images +0 .*\n *images +1 ", inspected(path))
    assert "channel 1" in {axes.get_ylabel() for axes in panels(drawn(path))}


def test_samples_without_labels_are_titled_by_their_place(tmp_path):
    figure = drawn(storms(tmp_path / "a.h5", [[]] * 11))
    titles = [axes.get_title() for axes in panels(figure) if axes.get_title()]
    assert titles == [f"sample {index}" for index in (0, 2, 4, 6, 8, 10)]


def test_numbers_at_the_bars_of_colours_do_not_touch(tmp_path):
    """Fields of the weather's magnitudes, in as many narrow columns as are drawn at most."""
    middles = [1e5, 1.2e4, 300, 0.01, 1e-8, 0, -2e4, 101325] * 2
    spreads = [5e3, 300, 20, 0.005, 1e-9, 40, 3e3, 4] * 2
    noise = RANDOM.normal(size=(3, 16, 24, 36))
    images = noise * np.reshape(spreads, (-1, 1, 1)) + np.reshape(middles, (-1, 1, 1))
    figure = drawn(fields(tmp_path / "a.h5", images))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    bars = [axes for axes in figure.axes if not axes.images]
    numbers = [
        label.get_window_extent(renderer)
        for axes in bars
        for label in axes.get_xticklabels()
        if axes.viewLim.containsx(label.get_position()[0])
    ]
    assert len(bars) == 16 and len(numbers) >= 16
    assert not any(one.overlaps(other) for one, other in combinations(numbers, 2))
