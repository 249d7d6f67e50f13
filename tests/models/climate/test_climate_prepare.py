"""What training sees of a frame: a square of it, in units of its normalisation, with its boxes."""

import numpy as np
import pytest
from frames import draw_frames, write_frames
from hypothesis import assume, given
from hypothesis import strategies as st
from random_boxes import FRAME, box_rows

from minidl.errors import UserError
from minidl.losses import Sum
from minidl.model import Model
from minidl_models import climate
from minidl_models.climate.boxes import Grid, from_grid, used
from minidl_models.climate.channels import CHANNELS

CHANNEL_COUNT = len(CHANNELS)
AS_THEY_ARE = {"mean": [0.0] * CHANNEL_COUNT, "deviation": [1.0] * CHANNEL_COUNT}
chances = st.floats(0, 1, exclude_max=True)


def prepared(images, boxes, chance=None, index=None, **options):
    """(x, target) of frames; ``chance`` is for all of them."""
    samples = {"images": images, "boxes": boxes, "index": np.arange(len(images))}
    if index is not None:
        samples["index"] = index
    drawn = None if chance is None else np.full((len(images), 8), chance)
    return climate.prepare(samples, drawn, **(AS_THEY_ARE | options))


def numbered(height, width):
    """One frame whose first channel says the row of each pixel, and whose second the column."""
    images = np.zeros((1, CHANNEL_COUNT, height, width), np.float32)
    images[0, 0], images[0, 1] = np.mgrid[:height, :width]
    return images


NO_BOXES = np.full((1, 15, 5), -1, np.int32)


@given(chance=chances, size=st.sampled_from([(64, 96), (32, 128), (64, 64), (96, 64)]))
def test_a_crop_is_a_square_inside_of_its_frame(chance, size):
    height, width = size
    x, _ = prepared(numbered(height, width), NO_BOXES, chance)
    assert x.shape == (1, height, min(height, width), CHANNEL_COUNT)
    rows, columns = x[0, ..., 0], x[0, ..., 1]
    left = columns[0, 0]
    assert 0 <= left <= width - x.shape[2]
    np.testing.assert_array_equal(rows, np.mgrid[:height, : x.shape[2]][0])
    np.testing.assert_array_equal(columns - left, np.mgrid[:height, : x.shape[2]][1])


def test_crops_begin_anywhere_from_the_first_column_to_the_last_that_is_possible():
    images = np.repeat(numbered(32, 48), 17, axis=0)
    boxes = np.repeat(NO_BOXES, 17, axis=0)
    even = np.repeat((np.arange(17) + 0.5)[:, None] / 17, 8, axis=1)
    samples = {"images": images, "boxes": boxes, "index": np.arange(17)}
    x, _ = climate.prepare(samples, even, **AS_THEY_ARE)
    np.testing.assert_array_equal(x[:, 0, 0, 1], np.arange(17))


@given(chance=chances, boxes=box_rows(most=1))
def test_a_box_is_cut_with_its_frame(chance, boxes):
    """What is left of it surrounds what is left of the storm; of a quarter or less nothing may."""
    boxes = used(boxes)
    assume(len(boxes))
    ymin, xmin, ymax, xmax, kind = boxes[0]
    images = np.zeros((1, CHANNEL_COUNT, *FRAME), np.float32)
    images[0, 3, ymin:ymax, xmin:xmax] = 1
    x, target = prepared(images, boxes[np.newaxis], chance)
    found = from_grid(Grid(*(part[0] for part in target[:4])))
    rows, columns = np.nonzero(x[0, ..., 3])
    if np.count_nonzero(x) < (ymax - ymin) * (xmax - xmin) / 4:
        assert len(found) == 0
        return
    edges = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    np.testing.assert_allclose(found, [[*edges, kind]], atol=1e-3)


def test_without_chances_a_frame_comes_whole_with_all_boxes_and_labels():
    images, boxes = draw_frames(3)
    x, target = prepared(images, boxes, labelled=0.0)
    np.testing.assert_array_equal(x, images.transpose(0, 2, 3, 1))
    for frame, rows in enumerate(boxes):
        found = from_grid(Grid(*(part[frame] for part in target[:4])))
        expected = used(rows)
        np.testing.assert_allclose(sorted(map(tuple, found)), sorted(map(tuple, expected)), 1e-5)
    assert target.labelled.all()


def test_the_reconstruction_s_target_is_the_network_s_input():
    images, boxes = draw_frames(2)
    x, target = prepared(images, boxes, 0.4, mean=[2.0] * 16, deviation=[0.5] * 16)
    assert target.fields is x
    assert target.missing is None
    assert x.mean() == pytest.approx((images.mean() - 2) / 0.5, abs=0.1)


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf, 1e20])
def test_missing_values_are_the_mean_and_cost_nothing(nothing):
    images, boxes = draw_frames(2)
    images[1, 5, 10:20, 30:40] = nothing
    x, target = prepared(images, boxes, mean=[3.0] * 16)
    where = np.zeros(x.shape, bool)
    where[1, 10:20, 30:40, 5] = True
    np.testing.assert_array_equal(target.missing, where)
    assert (x[where] == 0).all()
    cells = (*target.object.shape, 1)
    output = [np.zeros((*cells[:3], n), np.float32) for n in (2, 4, 2, 2)]
    value, dy = climate.loss((*output, x + 1000 * where.astype(np.float32)), target)
    assert isinstance(value, Sum)
    assert value.terms["reconstruction"] == 0
    assert not dy[-1].any()


def test_whole_numbers_are_numbers(tmp_path):
    """A file may hold fields as integers: they are what the same floats are."""
    images, boxes = draw_frames(2)
    whole = (100 * images).astype(np.int16)
    for kind in (np.int16, np.float32):
        write_frames(tmp_path / f"{kind.__name__}.h5", 0, images=whole.astype(kind), boxes=boxes)
    results = []
    for kind in ("int16", "float32"):
        model = Model(climate)
        dataset = model.open([tmp_path / f"{kind}.h5"])
        model.measure_on(dataset, lambda line: None)
        results.append((model.measured, model.prepare(dataset.read(np.arange(2)), None)[0]))
    assert results[0][0] == results[1][0]
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)


def labelled(index, share):
    images = np.zeros((len(index), CHANNEL_COUNT, 32, 32), np.float32)
    boxes = np.repeat(NO_BOXES, len(index), axis=0)
    return prepared(images, boxes, 0.5, np.asarray(index), labelled=share)[1].labelled


@given(
    share=st.floats(0, 1),
    start=st.integers(0, 10**6),
    count=st.integers(1, 200),
)
def test_a_share_of_the_frames_is_spread_as_evenly_as_can_be(share, start, count):
    """Of any so many frames in a row the share is labelled, up to two frames."""
    kept = labelled(np.arange(start, start + count), share)
    assert abs(kept.sum() - share * count) <= 2


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_labels_more_frames_and_none_fewer(one, other):
    frames = np.arange(200)
    few, many = (labelled(frames, share) for share in sorted((one, other)))
    assert (many | ~few).all()


def test_which_frames_keep_their_labels_depends_on_nothing_but_their_number():
    whole = labelled(np.arange(40), 0.3)
    assert 0 < whole.sum() < 40
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_array_equal(labelled(order, 0.3), whole[order])
    for part in np.array_split(order, 3):
        np.testing.assert_array_equal(labelled(part, 0.3), whole[part])


def test_all_or_no_labels_are_what_they_say():
    assert labelled(np.arange(100), 1.0).all()
    assert not labelled(np.arange(100), 0.0).any()


def test_an_empty_share_of_a_batch_has_arrays_of_the_right_form():
    images, boxes = draw_frames(0, width=64)
    x, target = prepared(images, boxes, 0.5)
    assert x.shape == (0, 64, 64, CHANNEL_COUNT)
    assert [len(part) for part in target[:6]] == [0] * 6
    assert target.object.shape == (0, 2, 2)


@pytest.mark.parametrize("share", [1.5, -0.1, np.nan])
def test_a_share_is_from_0_to_1(tmp_path, share):
    model = Model(climate, {"labelled": share})
    dataset = model.open([write_frames(tmp_path / "frames.h5", 2)])
    with pytest.raises(UserError, match=r"--labelled .*from 0 to 1"):
        model.shape(dataset)


@pytest.mark.parametrize(("width", "trained"), [(96, 64), (64, 64), (32, 32)])
def test_frames_wider_than_high_are_trained_on_as_squares(tmp_path, width, trained):
    images = np.zeros((1, CHANNEL_COUNT, 64, width), np.float32)
    model = Model(climate)
    dataset = model.open([write_frames(tmp_path / "a.h5", 0, images=images, boxes=NO_BOXES)])
    assert model.shape(dataset) == (64, trained, CHANNEL_COUNT)
