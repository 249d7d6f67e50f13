"""The climate problem's loss: its terms, their derivatives, and what contributes to which."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_boxes import COLUMNS, FRAME, ROWS, box_rows, full_grid

from minidl.errors import UserError
from minidl.gradients.gradcheck import check_loss
from minidl.losses import Sum
from minidl_models.climate.boxes import to_grid
from minidl_models.climate.losses import RECONSTRUCTION, Target, loss, reconstruction_error

CHANNELS = 2
DETECTION = ("object", "empty", "class", "position", "size")
seeds = st.integers(0, 2**32 - 1)


def random_output(samples, generator, dtype=np.float64):
    cells = [(samples, ROWS, COLUMNS, numbers) for numbers in (2, 4, 2, 2)]
    shapes = [*cells, (samples, *FRAME, CHANNELS)]
    return tuple(generator.standard_normal(shape).astype(dtype) for shape in shapes)


def as_target(frames, generator, labelled=None, missing=None, dtype=np.float64):
    """A target for these frames' boxes and random fields."""
    grids = [to_grid(boxes, ROWS, COLUMNS) for boxes in [*frames, np.empty((0, 5))]]
    cells = (np.stack(part)[:-1] for part in zip(*grids, strict=True))
    fields = generator.standard_normal((len(frames), *FRAME, CHANNELS)).astype(dtype)
    labelled = np.ones(len(frames), bool) if labelled is None else np.array(labelled, bool)
    return Target(*cells, labelled, fields, missing)


@st.composite
def problems(draw, most=3):
    """Outputs and a target of up to three frames: without boxes, with a few, or with many."""
    generator = np.random.default_rng(draw(seeds))
    some = box_rows() | st.builds(full_grid, st.just(generator))
    frames = draw(st.lists(some, min_size=1, max_size=most))
    labelled = draw(st.lists(st.booleans(), min_size=len(frames), max_size=len(frames)))
    output = random_output(len(frames), generator)
    missing = generator.random(output[4].shape) < 0.2 if draw(st.booleans()) else None
    return output, as_target(frames, generator, labelled, missing)


def some(target, places):
    """The part of a target that belongs to some samples."""
    return Target(*(None if part is None else part[places] for part in target))


@settings(max_examples=15)
@given(problems())
def test_every_derivative_agrees_with_differences(problem):
    output, target = problem
    # The fields' error is a mean over many pixels: large enough here to be seen beside the rest.
    report = check_loss(
        lambda y: loss(y, target, reconstruction=1e4), output, np.random.default_rng(0)
    )
    assert report.ok, report


def smooth(difference):
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def by_loop(output, target):
    """The five terms of the boxes, one cell after the other."""
    confidence, classes, position, size, _ = output
    terms = dict.fromkeys(DETECTION, 0.0)
    for n, y, x in np.ndindex(target.object.shape):
        cell = n, y, x
        p = np.exp(confidence[cell]) / np.exp(confidence[cell]).sum()
        if not target.labelled[n]:
            continue
        if not target.object[cell]:
            terms["empty"] -= 0.5 * np.log(p[0])
            continue
        q = np.exp(classes[cell]) / np.exp(classes[cell]).sum()
        terms["object"] -= np.log(p[1])
        terms["class"] -= np.log(q[target.classes[cell]])
        terms["position"] += 5 * sum(map(smooth, position[cell] - target.position[cell]))
        terms["size"] += 7 * sum(map(smooth, size[cell] - target.size[cell]))
    return {name: value / len(target.labelled) for name, value in terms.items()}


@given(problems())
def test_the_terms_are_sums_over_cells_and_means_over_samples(problem):
    output, target = problem
    value, _ = loss(*problem)
    expected = by_loop(output, target)
    assert {name: value.terms[name] for name in DETECTION} == pytest.approx(expected)
    squares = (output[4] - target.fields) ** 2
    if target.missing is not None:
        squares[target.missing] = 0
    assert value.terms["reconstruction"] == pytest.approx(RECONSTRUCTION * squares.mean())
    assert isinstance(value, Sum) and value == pytest.approx(sum(value.terms.values()))


def test_one_storm_worked_out_by_hand():
    generator = np.random.default_rng(0)
    target = as_target([np.array([[8, 16, 40, 32, 2]])], generator)  # centre (24, 24), 32 x 16
    output = tuple(np.zeros_like(part) for part in random_output(1, generator))
    value, (dconfidence, dclasses, dposition, dsize, ddrawn) = loss(
        output, target, reconstruction=3.0
    )
    assert value.terms == pytest.approx(
        {
            "object": np.log(2),
            "empty": 0.5 * (ROWS * COLUMNS - 1) * np.log(2),
            "class": np.log(4),
            "position": 5 * 2 * 0.75**2 / 2,
            "size": 7 * 0.5,
            "reconstruction": 3 * (target.fields**2).mean(),
        }
    )
    np.testing.assert_allclose(dconfidence[0, 0, 0], [0.5, -0.5])
    np.testing.assert_allclose(dconfidence[0, 1:], np.broadcast_to([-0.25, 0.25], (2, 4, 2)))
    np.testing.assert_allclose(dclasses[0, 0, 0], [0.25, 0.25, -0.75, 0.25])
    np.testing.assert_allclose(dposition[0, 0, 0], [-3.75, -3.75])
    np.testing.assert_allclose(dsize[0, 0, 0], [0, 7])
    for part in (dclasses, dposition, dsize):
        assert not part[0, 1:].any() and not part[0, 0, 1:].any()
    np.testing.assert_allclose(ddrawn, -6 * target.fields / target.fields.size)


@given(problems(), st.integers(0, 3))
def test_a_batch_may_be_divided(problem, at):
    """What samples contribute adds up, however they are dealt: to ranks, or to smaller batches."""
    output, target = problem
    N = len(target.labelled)
    whole, dy = loss(output, target)
    total, dparts = dict.fromkeys(whole.terms, 0.0), []
    for places in (slice(0, at), slice(at, None)):
        part, dpart = loss(tuple(y[places] for y in output), some(target, places))
        n = len(target.labelled[places])
        total = {name: total[name] + n * value for name, value in part.terms.items()}
        dparts.append([n * array for array in dpart])
    assert total == pytest.approx({name: N * value for name, value in whole.terms.items()})
    for found, *expected in zip(dy, *dparts, strict=True):
        np.testing.assert_allclose(N * found, np.concatenate(expected), atol=1e-12)


@given(problems(), seeds)
def test_of_an_unlabelled_frame_only_the_reconstruction_counts(problem, seed):
    output, target = problem
    unlabelled = target._replace(labelled=np.zeros_like(target.labelled))
    value, dy = loss(output, unlabelled)
    assert all(value.terms[name] == 0 for name in DETECTION)
    assert value == value.terms["reconstruction"] > 0
    assert not any(part.any() for part in dy[:4])
    np.testing.assert_array_equal(dy[4], loss(output, target)[1][4])


@given(problems(), st.sampled_from([0.0, np.nan, 1e30]))
def test_a_missing_pixel_neither_costs_nor_teaches(problem, value):
    output, target = problem
    missing = np.zeros(target.fields.shape, bool)
    missing[0, 5:9, :, 1] = True
    expected, dexpected = loss(output, target._replace(missing=missing))
    fields = np.where(missing, value, target.fields)
    found, dfound = loss(output, target._replace(missing=missing, fields=fields))
    assert found == expected
    np.testing.assert_array_equal(dfound[4], dexpected[4])
    assert not dfound[4][missing].any()


@given(problems())
def test_without_weight_the_reconstruction_neither_costs_nor_teaches(problem):
    output, target = problem
    drawn = np.full_like(output[4], np.inf)
    value, dy = loss((*output[:4], drawn), target, reconstruction=0)
    assert value.terms["reconstruction"] == 0
    assert not dy[4].any()
    assert value == pytest.approx(sum(by_loop(output, target).values()))


@given(problems())
def test_outputs_and_targets_stay_as_they_are(problem):
    output, target = problem
    before = [part.copy() for part in (*output, *target) if part is not None]
    loss(output, target)
    after = [part for part in (*output, *target) if part is not None]
    for found, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("samples", [0, 2])
def test_the_derivatives_have_the_outputs_shapes_and_precision(dtype, samples):
    generator = np.random.default_rng(0)
    output = random_output(samples, generator, dtype)
    frames = [np.array([[0, 0, 9, 9, 1]])] * samples
    value, dy = loss(output, as_target(frames, generator, dtype=dtype))
    assert [(part.shape, part.dtype) for part in dy] == [(part.shape, dtype) for part in output]
    assert value > 0 if samples else value == 0


def test_single_precision_is_enough_for_a_large_frame():
    generator = np.random.default_rng(0)
    drawn, fields = generator.standard_normal((2, 1, 768, 768, 4)).astype(np.float32)
    value, dy = reconstruction_error(drawn, fields, None, 1.0)
    exact = drawn.astype(np.float64) - fields
    assert value == pytest.approx((exact**2).mean(), rel=1e-6)
    np.testing.assert_allclose(dy, 2 * exact / exact.size, rtol=1e-5, atol=1e-12)


def test_the_fields_are_not_copied_more_than_once():
    drawn, fields = np.ones((2, 1, 256, 256, 16), np.float32)
    missing = fields > 0
    tracemalloc.start()
    reconstruction_error(drawn, fields, missing, 1.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.1 * drawn.nbytes


def test_a_class_that_does_not_exist_is_refused():
    generator = np.random.default_rng(0)
    target = as_target([np.array([[0, 0, 9, 9, 4]])], generator)
    with pytest.raises(UserError, match="expected 0 to 3"):
        loss(random_output(1, generator), target)
