"""Average precision, against pycocotools and by hand."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from random_boxes import box_rows

from minidl_models.climate.boxes import Detections, used
from minidl_models.climate.channels import CLASSES
from minidl_models.climate.precision import average_precision, mean_average_precision

IOUS = (0.1, 0.5)
MANY = 1000


@st.composite
def frames(draw):
    """Labelled boxes of some frames, and what was found: some of them, moved, and others."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([4, 10**6]))  # few levels make equal scores
    truths = [draw(box_rows(8)) for _ in range(draw(st.integers(1, 4)))]
    found = []
    for true in truths:
        moved = np.repeat(used(true), generator.integers(0, 3, len(used(true))), axis=0)
        moved[:, :4] += generator.integers(-3, 4, (len(moved), 1))
        moved[:, 2:4] += generator.integers(0, 9, (len(moved), 2))
        boxes = np.concatenate([moved, used(draw(box_rows(4)))])
        scores = generator.integers(0, levels, len(boxes)) / levels
        found.append(Detections(boxes[:, :4].astype(float), boxes[:, 4], scores))
    return found, truths


def by_coco(found, truths):
    """Average precision (IoU, class) as pycocotools computes it; -1 without labelled boxes."""
    categories, images = range(1, len(CLASSES) + 1), range(1, len(truths) + 1)

    def entries(frames):
        for image, (boxes, classes) in zip(images, frames, strict=True):
            for (ymin, xmin, ymax, xmax), kind in zip(boxes.tolist(), classes, strict=True):
                sides = xmax - xmin, ymax - ymin
                yield {
                    "image_id": image,
                    "category_id": int(kind) + 1,
                    "bbox": [xmin, ymin, *sides],
                    "area": sides[0] * sides[1],
                    "iscrowd": 0,
                }

    labelled = list(entries([(used(true)[:, :4], used(true)[:, 4]) for true in truths]))
    guesses = list(entries([(one.boxes, one.classes) for one in found]))
    scores = np.concatenate([one.scores for one in found])
    sets = [COCO(), COCO()]
    for coco, rows in zip(sets, (labelled, guesses), strict=True):
        coco.dataset = {
            "images": [{"id": image} for image in images],
            "categories": [{"id": category} for category in categories],
            "annotations": [row | {"id": number} for number, row in enumerate(rows, start=1)],
        }
    for row, score in zip(sets[1].dataset["annotations"], scores, strict=True):
        row["score"] = float(score)
    with contextlib.redirect_stdout(io.StringIO()):
        for coco in sets:
            coco.createIndex()
        evaluation = COCOeval(*sets, "bbox")
        evaluation.params.iouThrs = np.array(IOUS)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MANY]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, 0].mean(axis=1)


@given(frames())
def test_average_precision_is_coco_s(problem):
    found, truths = problem
    for iou, expected in zip(IOUS, by_coco(found, truths), strict=True):
        curves = average_precision(found, truths, iou)
        averages = [curve.average if curve.truths else -1 for curve in curves]
        np.testing.assert_allclose(averages, expected, rtol=0, atol=1e-12)
        if any(expected >= 0):
            mean = expected[expected >= 0].mean()
            assert mean_average_precision(curves) == pytest.approx(mean, abs=1e-12)


BOX, OTHER, FAR = [0.0, 0, 10, 10], [0.0, 0, 10, 5], [50.0, 50, 60, 60]


def found(boxes, scores, classes=None):
    classes = np.zeros(len(boxes), int) if classes is None else np.array(classes)
    return Detections(np.array(boxes, float).reshape(-1, 4), classes, np.array(scores, float))


def labelled(*boxes, kind=0):
    return np.array([[*box, kind] for box in boxes]).reshape(-1, 5)


def test_precision_and_recall_worked_out_by_hand():
    # Right, wrong, right; one of three labelled boxes is never found.
    detections = [found([BOX, FAR], [0.9, 0.2]), found([FAR], [0.5])]
    first, *others = average_precision(detections, [labelled(BOX, FAR), labelled(BOX)], 0.5)
    np.testing.assert_allclose(first.recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(first.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(first.scores, [0.9, 0.5, 0.2])
    # Recalls 0 to 0.33 are reached at precision 1, 0.34 to 0.66 at 2/3, the others never.
    assert first.average == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert first.truths == 3
    assert all(curve.truths == 0 and np.isnan(curve.average) for curve in others)
    assert mean_average_precision([first, *others]) == first.average


def test_a_labelled_box_makes_only_one_found_box_right():
    first, *_ = average_precision([found([BOX, BOX], [0.3, 0.6])], [labelled(BOX)], 0.5)
    np.testing.assert_allclose(first.precision, [1, 1 / 2])
    assert first.average == 1


def test_a_found_box_takes_the_labelled_one_that_it_overlaps_most():
    # Were the first to take OTHER, the second would overlap nothing that is left by 0.8.
    detections = [found([BOX, OTHER], [0.6, 0.3])]
    for truths in (labelled(BOX, OTHER), labelled(OTHER, BOX)):
        assert average_precision(detections, [truths], 0.5)[0].recall.tolist() == [0.5, 1]


@pytest.mark.parametrize(("iou", "average"), [(0.5, 1), (0.51, 0)])
def test_an_overlap_of_exactly_the_threshold_is_enough(iou, average):
    assert average_precision([found([OTHER], [1])], [labelled(BOX)], iou)[0].average == average


def test_a_box_of_the_wrong_class_is_wrong_where_it_is_said_to_be():
    curves = average_precision([found([BOX], [1], [2])], [labelled(BOX, kind=1)], 0.5)
    assert [curve.truths for curve in curves] == [0, 1, 0, 0]
    assert curves[1].average == 0
    assert len(curves[2].precision) == 1 and np.isnan(curves[2].average)
    assert mean_average_precision(curves) == 0


def test_without_labelled_boxes_there_is_no_mean():
    curves = average_precision([found([BOX], [1]), found([], [])], [labelled(), labelled()], 0.5)
    assert np.isnan(mean_average_precision(curves))
    assert np.isnan(mean_average_precision(average_precision([], [], 0.5)))
