"""What a plan takes, keeps and says: cases, its folder, and the verdict on curves made by hand."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from minidl.errors import UserError
from minidl.parallel.virtual import Machine
from minidl.simulate import plan_folder
from minidl.simulate.learning import Learnt
from minidl.simulate.plan import Case, Plan
from minidl.simulate.plan_picture import draw
from minidl.simulate.verdict import NEVER, at_the_edge, json_values, judge, recommendation
from minidl.simulate.work import Work

MACHINE = Machine("slow", flops=1e3, latency=1e-3, bandwidth=1e5, memory=1e9)
WORK = Work("two layers", ["first", "second"], [20, 10], [10, 10], [20, 20])
BATCH, EPOCHS = 8, 4  # 10 batches an epoch
PLAN = Plan(
    model="hep",
    nodes=4,
    machine=MACHINE,
    data=(Path("none.h5"),),
    validation=(),
    groups=(1, 2, 4),
    batch_sizes=(BATCH,),
    momenta=(0.0, 0.4),
    learning_rates=(1e-3,),
    seeds=(1, 2, 3),
    width=8,
    optimizer="adam",
    epochs=EPOCHS,
)


def falling(groups, reaches, lasts=40.0, validation=None):
    """A loss that falls in a line from 1, and is 0.5 after so many seconds."""
    updates = 40 * groups
    seconds = np.linspace(0, lasts, updates + 1)[1:]
    samples = np.full(updates, BATCH // groups)
    stale = np.bincount([groups - 1] * updates)
    return Learnt(seconds, 1 - 0.5 * seconds / reaches, samples, stale, validation or {})


def curves(reaches, **how):
    """Curves of a plan, whose runs reach 0.5 when ``reaches(case)`` says."""
    return {case: falling(case.groups, reaches(case), **how) for case in PLAN.cases()}


def test_every_combination_is_a_case():
    cases = PLAN.cases()
    assert len(cases) == len(set(cases)) == 3 * 2 * 3
    assert len({case.name for case in cases}) == len(cases)
    assert {case.seed for case in cases[:6]} == {1}  # a plan that is stopped has whole seeds


def test_values_given_twice_are_one():
    assert replace(PLAN, groups=(2, 1, 2), seeds=(5, 5)).cases() == [
        Case(groups, BATCH, momentum, 1e-3, 5) for groups in (1, 2) for momentum in (0.0, 0.4)
    ]


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"groups": (2, 4)}, "--groups 2 ...: expected a 1 among them"),
        ({"groups": (1, 3)}, "--nodes 4 cannot be dealt to 3 equal groups"),
        ({"groups": (0, 1)}, "--groups 0"),
        ({"batch_sizes": (10,)}, "--batch-sizes 10 cannot be dealt to 4 nodes; .*: 8 can"),
        ({"batch_sizes": (0,)}, "--batch-sizes 0 cannot be dealt to 4 nodes; .*: 4 can"),
        ({"seeds": ()}, "--seeds takes one value or several"),
    ],
)
def test_what_cannot_be_dealt_is_refused(change, mistake):
    with pytest.raises(UserError, match=mistake):
        replace(PLAN, **change)


def test_a_plan_comes_back_from_json():
    again = Plan.from_json(json.loads(json.dumps(PLAN.to_json())))
    assert again == replace(PLAN, data=(Path("none.h5").resolve(),))


def test_the_best_momentum_is_chosen_for_each_number_of_groups():
    best = {1: 0.4, 2: 0.0, 4: 0.4}
    learnt = curves(lambda case: 10 if case.momentum == best[case.groups] else 20)
    _, choices = judge(PLAN, WORK, learnt, 0.5)
    assert {choice.groups: choice.momentum for choice in choices} == best


def test_speedups_are_as_defined():
    _, choices = judge(PLAN, WORK, curves(lambda case: 16 / case.groups + case.seed), 0.5)
    for choice in choices:
        assert choice.seconds.median == pytest.approx(16 / choice.groups + 2, abs=1.1)
        assert choice.seconds.smallest < choice.seconds.median < choice.seconds.largest
        assert choice.learning_speedup == choices[0].seconds.median / choice.seconds.median
        assert choice.epoch == 10
        assert choice.parallel_speedup == pytest.approx(10 * WORK.alone(MACHINE, BATCH) / 10)
        assert choice.staleness == choice.groups - 1
    assert choices[0].learning_speedup == 1


def test_the_target_is_reached_by_every_number_of_groups_at_its_best_with_every_seed():
    learnt = curves(lambda case: 25 + case.groups + 10 * case.momentum + case.seed)
    target, choices = judge(PLAN, WORK, learnt, None)
    last = max(choice.final for choice in choices)
    assert target == last == pytest.approx(1 - 0.5 * 40 / (25 + 4 + 3), abs=0.02)
    assert all(choice.seconds.largest < NEVER for choice in choices)


def test_who_never_reaches_the_target_is_not_averaged_away():
    learnt = curves(lambda case: 100 if case.groups > 1 and case.seed > 1 else 10)
    _, choices = judge(PLAN, WORK, learnt, 0.5)
    assert [choice.seconds.median for choice in choices[1:]] == [NEVER, NEVER]
    assert [choice.learning_speedup for choice in choices] == [1, 0, 0]
    assert json_values(choices[1].to_json())["seconds"]["median"] is None
    assert "no other number of groups reaches it" in recommendation(choices, 0.5)


def test_what_was_learnt_and_lost_again_does_not_count():
    lost = falling(2, 5)
    lost.losses[-10:] = 0.9
    learnt = curves(lambda case: 10)
    learnt |= {case: lost for case in learnt if case.groups == 2 and case.momentum == 0}
    _, choices = judge(PLAN, WORK, learnt, 0.5)
    assert choices[1].momentum == 0.4
    assert choices[1].learning_speedup == pytest.approx(1, abs=0.1)


def test_a_run_that_diverged_ends_with_no_loss_that_counts():
    spoilt = falling(2, 10)
    spoilt.losses[-5:] = np.nan
    learnt = curves(lambda case: 10) | {Case(2, BATCH, 0.0, 1e-3, 2): spoilt}
    target, choices = judge(PLAN, WORK, learnt, None)
    assert math.isfinite(target)
    assert choices[1].momentum == 0.4


@pytest.mark.parametrize(
    ("reaches", "said"),
    [
        (lambda case: 30 / case.groups + case.seed, "4 groups, .* 3.*do not overlap"),
        (lambda case: 12 - case.groups / 4 + 3 * case.seed, "4 groups, .*that may be luck"),
        (lambda case: 10 * case.groups, "^one group, .*; 2 groups, .* 2.* times as long"),
        (lambda case: 900, "^Nothing reaches loss 0.5"),
        (lambda case: 90 if case.groups == 1 else 9, "first, in .*; no synchronous run reaches it"),
        (lambda case: 0.01, "^Loss 0.5 is where runs begin"),
    ],
)
def test_the_recommendation_says_how_sure_it_is(reaches, said):
    _, choices = judge(PLAN, WORK, curves(reaches), 0.5)
    assert re.search(said, recommendation(choices, 0.5)), recommendation(choices, 0.5)


def test_one_seed_may_be_luck():
    learnt = {case: run for case, run in curves(lambda c: 20 / c.groups).items() if case.seed == 1}
    _, choices = judge(PLAN, WORK, learnt, 0.5)
    assert "With one seed, that may be luck" in recommendation(choices, 0.5)


@pytest.mark.parametrize(
    ("rates", "best", "said"),
    [
        ((1e-3,), {1: 1e-3, 2: 1e-3, 4: 1e-3}, "One learning rate was tried.*"),
        ((1e-4, 1e-3, 1e-2), {1: 1e-3, 2: 1e-3, 4: 1e-3}, ""),
        (
            (1e-4, 1e-3, 1e-2),
            {1: 1e-2, 2: 1e-3, 4: 1e-4},
            r"At the edge .*: one group \(largest, 0.01\); 4 groups \(smallest, 0.0001\)\.",
        ),
    ],
)
def test_a_learning_rate_at_the_edge_of_those_tried_is_told(rates, best, said):
    plan = replace(PLAN, learning_rates=rates)
    learnt = {
        case: falling(case.groups, 10 if case.learning_rate == best[case.groups] else 20)
        for case in plan.cases()
    }
    _, choices = judge(plan, WORK, learnt, 0.5)
    assert re.fullmatch(said, at_the_edge(plan, choices))


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_picture_has_a_line_for_each_number_of_groups_and_the_target(seeds):
    learnt = {
        case: run for case, run in curves(lambda case: 10 + case.seed).items() if case.seed <= seeds
    }
    target, choices = judge(PLAN, WORK, learnt, 0.5)
    figure = draw(choices, target, "title")
    FigureCanvasAgg(figure).draw()
    (panel,) = figure.axes
    lines = [line for line in panel.lines if len(line.get_xdata()) > 2]
    assert [line.get_label().split(":")[0] for line in lines] == ["sync", "2 groups", "4 groups"]
    assert len(panel.collections) == (3 if seeds > 1 else 0)  # bands
    reached = [float(line.get_xdata()[0]) for line in panel.lines if line.get_marker() == "o"]
    assert reached == [choice.seconds.median for choice in choices]


finite = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(finite, finite, st.integers(1, 9)), min_size=1), st.booleans())
def test_a_curve_comes_back_as_it_was(tmp_path_factory, rows, validated):
    seconds, losses, samples = np.array(rows).T
    figures = {"loss": 0.25, "accuracy": 1.0} if validated else {}
    learnt = Learnt(seconds, losses, samples, np.array([3, 1]), figures)
    path = tmp_path_factory.getbasetemp() / "curve.npz"
    plan_folder.save(path, learnt)
    again = plan_folder.load(path)
    assert again.validation == figures
    for name in plan_folder.ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(learnt, name))
    assert again.mean_staleness == 0.25


@given(st.data())
def test_a_damaged_curve_is_told_in_a_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    plan_folder.save(path, falling(2, 10))
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError, match="damaged; remove it, and it is learnt again"):
        plan_folder.load(path)


def test_a_folder_is_that_of_one_plan(tmp_path):
    folder = tmp_path / "plan"
    plan_folder.claim(folder, PLAN)
    plan_folder.claim(folder, PLAN)
    with pytest.raises(UserError, match=r"whose seeds was \[1, 2, 3\], not \[1\]"):
        plan_folder.claim(folder, replace(PLAN, seeds=(1,)))
    (folder / plan_folder.ASKED).write_text("[]")
    with pytest.raises(UserError, match="damaged"):
        plan_folder.claim(folder, PLAN)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "plan"):
        with pytest.raises(UserError, match=r"not the folder of a plan|cannot be the folder"):
            plan_folder.claim(place, PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
