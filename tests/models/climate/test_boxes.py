"""Geometry of boxes, against what counting pixels and looping over boxes gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_boxes import COLUMNS, FRAME, ROWS, box_rows, full_grid

from minidl_models.climate.boxes import (
    Detections,
    Grid,
    corners,
    crop,
    decode,
    from_grid,
    overlap,
    suppress,
    to_grid,
    used,
)

seeds = st.integers(0, 2**32 - 1)


def paint(boxes, frame=FRAME):
    """A mask (M, H, W) of the pixels inside each box."""
    masks = np.zeros((len(boxes), *frame), bool)
    for mask, (ymin, xmin, ymax, xmax) in zip(masks, boxes[:, :4].astype(int), strict=True):
        mask[ymin:ymax, xmin:xmax] = True
    return masks


@given(box_rows(), st.integers(0, 100), st.integers(1, 128))
def test_a_crop_keeps_the_pixels_of_boxes_of_which_a_quarter_is_left(boxes, left, width):
    width = min(width, FRAME[1] - left)
    boxes = used(boxes)
    before = paint(boxes)
    after = before[:, :, left : left + width]
    stays = after.sum(axis=(1, 2)) >= before.sum(axis=(1, 2)) / 4
    cut = crop(boxes, left, width)
    np.testing.assert_array_equal(cut[:, 4], boxes[stays, 4])
    np.testing.assert_array_equal(paint(cut, (FRAME[0], width)), after[stays])


def test_a_crop_shifts_columns_only():
    boxes = np.array([[3, 10, 9, 30, 2], [-1] * 5, [0, 0, 4, 19, 1]])
    np.testing.assert_array_equal(crop(boxes, 15, 40), [[3, 0, 9, 15, 2]])


def by_loop(boxes):
    """Which box a cell holds: the last whose centre is in it."""
    held = {}
    for box in boxes:
        y, x = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if box[4] >= 0:
            held[min(int(y // 32), ROWS - 1), min(int(x // 32), COLUMNS - 1)] = box
    return held


@given(box_rows())
def test_boxes_come_back_from_the_grid_but_for_those_that_lost_their_cell(boxes):
    held = by_loop(boxes)
    grid = to_grid(boxes, ROWS, COLUMNS)
    expected = np.array([held[cell] for cell in sorted(held)]).reshape(-1, 5)
    np.testing.assert_array_equal(np.argwhere(grid.object), np.array(sorted(held)).reshape(-1, 2))
    np.testing.assert_allclose(from_grid(grid), expected, atol=1e-4)
    assert (grid.position >= 0).all() and (grid.position < 1).all()
    assert not grid.position[~grid.object].any() and not grid.size[~grid.object].any()


@given(seeds)
def test_a_full_grid_loses_no_box(seed):
    boxes = full_grid(np.random.default_rng(seed))
    back = from_grid(to_grid(boxes, ROWS, COLUMNS))
    assert len(back) == ROWS * COLUMNS
    order = np.lexsort(((boxes[:, 1] + boxes[:, 3]) // 64, (boxes[:, 0] + boxes[:, 2]) // 64))
    np.testing.assert_allclose(back, boxes[order], atol=1e-4)


def test_a_cell_worked_out_by_hand():
    # Centre (48, 40): cell (1, 1), half and a quarter into it; 16 and 64 pixels large.
    grid = to_grid(np.array([[40, 8, 56, 72, 3]]), ROWS, COLUMNS)
    assert np.argwhere(grid.object).tolist() == [[1, 1]]
    assert grid.classes[1, 1] == 3
    assert grid.position[1, 1].tolist() == [0.5, 0.25]
    assert grid.size[1, 1].tolist() == [-1, 1]


def test_a_centre_on_a_cell_s_border_is_in_the_later_cell():
    grid = to_grid(np.array([[30, 60, 34, 68, 0]]), ROWS, COLUMNS)
    assert np.argwhere(grid.object).tolist() == [[1, 2]]
    assert grid.position[1, 2].tolist() == [0, 0]


def test_a_centre_on_the_frame_s_far_edge_is_in_the_last_cell():
    boxes = np.array([[FRAME[0] - 5, FRAME[1] - 8, FRAME[0] + 5, FRAME[1] + 8, 1]])
    grid = to_grid(boxes, ROWS, COLUMNS)
    assert np.argwhere(grid.object).tolist() == [[ROWS - 1, COLUMNS - 1]]
    np.testing.assert_allclose(from_grid(grid), boxes, atol=1e-4)


@pytest.mark.parametrize("boxes", [np.zeros((0, 5), int), np.full((15, 5), -1)])
def test_a_frame_without_boxes_has_an_empty_grid(boxes):
    grid = to_grid(boxes, ROWS, COLUMNS)
    assert not any(array.any() for array in grid)
    assert from_grid(grid).shape == (0, 5)
    assert crop(boxes, 0, 32).shape == (0, 5)


def as_outputs(grid, sure=20.0):
    """What a network puts out that is ``sure`` of exactly this, for a batch of one."""
    confidence = sure * np.stack([~grid.object, grid.object], axis=-1).astype(np.float32)
    classes = sure * np.eye(4, dtype=np.float32)[grid.classes]
    return tuple(part[np.newaxis] for part in (confidence, classes, grid.position, grid.size))


@given(box_rows())
def test_outputs_that_are_the_grid_decode_to_its_boxes(boxes):
    grid = to_grid(boxes, ROWS, COLUMNS)
    (found,) = decode(as_outputs(grid))
    expected = from_grid(grid)
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=1e-4)
    np.testing.assert_array_equal(found.classes, expected[:, 4])
    np.testing.assert_allclose(found.scores, 1, atol=1e-6)


def test_only_cells_above_the_threshold_are_kept():
    confidence = np.log([[[[0.1, 0.9], [0.21, 0.79]]], [[[0.5, 0.5], [0.19, 0.81]]]])
    classes = np.log(np.tile([0.1, 0.2, 0.6, 0.1], (2, 1, 2, 1)))
    position, size = np.full((2, 1, 2, 2), 0.5), np.zeros((2, 1, 2, 2))
    first, second = decode((confidence, classes, position, size))
    assert first.boxes.tolist() == [[0, 0, 32, 32]]
    assert second.boxes.tolist() == [[0, 32, 32, 64]]
    assert first.classes.tolist() == second.classes.tolist() == [2]
    np.testing.assert_allclose([first.scores[0], second.scores[0]], [0.9 * 0.6, 0.81 * 0.6])
    all_of_them = decode((confidence, classes, position, size), threshold=0)
    assert [len(found.boxes) for found in all_of_them] == [2, 2]


def test_boxes_are_cut_at_the_frame_and_go_if_nothing_is_left():
    object = np.ones((1, 2), bool)
    grid = Grid(
        object, np.zeros((1, 2), int), np.array([[[0.5, 0.5], [0.5, 9.0]]]), np.ones((1, 2, 2))
    )
    (found,) = decode(as_outputs(grid))
    assert found.boxes.tolist() == [[0, 0, 32, 48]]


@given(seeds, st.integers(0, 5), st.integers(1, 4))
def test_decoded_boxes_lie_in_the_frame_whatever_the_outputs(seed, samples, scale):
    generator = np.random.default_rng(seed)
    outputs = tuple(
        scale * generator.standard_normal((samples, ROWS, COLUMNS, K)) for K in (2, 4, 2, 2)
    )
    found = decode(outputs, 0.3)
    assert len(found) == samples
    for boxes, classes, scores in found:
        assert (boxes >= 0).all() and (boxes <= [*FRAME, *FRAME]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert len(boxes) == len(classes) == len(scores)
        # The best of four classes has a quarter of the probability or more.
        assert (scores > 0.3 / 4).all() and (scores <= 1).all()


def test_corners_are_in_double_precision():
    one = np.ones((1, 1), bool)
    size = np.log2(np.array([[[5.0, 7.0]]]) / 32).astype(np.float32)
    found = corners(one, np.full((1, 1, 2), 0.5, np.float32), size)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[13.5, 12.5, 18.5, 19.5]], rtol=1e-6)


@given(box_rows(6), box_rows(6))
def test_overlap_is_the_share_of_pixels_in_both(a, b):
    a, b = used(a), used(b)
    found = overlap(a, b)
    assert found.shape == (len(a), len(b))
    for row, one in zip(found, paint(a), strict=True):
        for value, other in zip(row, paint(b), strict=True):
            assert value == pytest.approx((one & other).sum() / (one | other).sum())


def suppressed_by_loop(detections, iou):
    """Best first; each against all that stay."""
    stays = []
    for place in sorted(range(len(detections.scores)), key=lambda i: -detections.scores[i]):
        box, kind = detections.boxes[place : place + 1], detections.classes[place]
        if all(
            detections.classes[other] != kind
            or overlap(box, detections.boxes[other : other + 1])[0, 0] <= iou
            for other in stays
        ):
            stays.append(place)
    return stays


@given(box_rows(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), st.booleans(), seeds)
def test_suppression_is_greedy_and_a_class_at_a_time(boxes, iou, ties, seed):
    boxes, generator = used(boxes), np.random.default_rng(seed)
    scores = generator.integers(0, 3 if ties else 10**6, len(boxes)) / 10**6
    detections = Detections(boxes[:, :4].astype(float), boxes[:, 4], scores)
    expected = detections.at(np.array(suppressed_by_loop(detections, iou), int))
    for found, wanted in zip(suppress(detections, iou), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
