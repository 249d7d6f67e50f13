"""Jobs in which nodes die: drawn, by formula, and on a virtual cluster."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "beyond"))

import failing_ghosts
import failure_model
import failures
from failure_model import Job

JOB = Job(work=1000, nodes=10, mtbf=1000, checkpoint=4, restart=10, pause=5, iteration=1)
FOR_EVER = replace(JOB, mtbf=math.inf)


def drawn(draw, job, *how, trials):
    """Mean of what is drawn, and its standard error."""
    generator = np.random.default_rng(1)
    times = [draw(job, *how, generator) for _ in range(trials)]
    return np.mean(times), np.std(times, ddof=1) / trials**0.5


@pytest.mark.parametrize(
    ("mtbf", "interval"), [(300, 20), (1000, 10), (1000, 50), (1000, 100), (10_000, 200)]
)
def test_a_job_that_ends_takes_as_long_as_daly_expects(mtbf, interval):
    job = replace(JOB, mtbf=mtbf)
    mean, error = drawn(failure_model.ends_and_resumes, job, interval, trials=200)
    assert mean == pytest.approx(failure_model.expected(job, interval), abs=4 * error)


@pytest.mark.parametrize("groups", [1, 5])
def test_a_job_in_which_nobody_dies_takes_its_time(groups):
    generator = np.random.default_rng(1)
    assert failure_model.ends_and_resumes(FOR_EVER, 100, generator) == 1000 + 10 * 4
    assert failure_model.survives(FOR_EVER, groups, 100, generator) == pytest.approx(1000 + 10 * 4)


@pytest.mark.parametrize("mtbf", [2000, 20_000])
def test_young_s_interval_is_better_than_half_and_twice(mtbf):
    job = replace(JOB, mtbf=mtbf)
    best = failure_model.interval_that_ends(job)
    times = [failure_model.expected(job, best * factor) for factor in (0.5, 1, 2)]
    assert min(times) == times[1]


def test_a_single_group_pauses_once_a_death_and_goes_on_with_fewer():
    """To first order: each death costs the pause and half an iteration, and then a node."""
    job = replace(JOB, mtbf=50_000)
    deaths = job.work / job.system_mtbf
    slower = deaths / 2 / job.nodes * job.work
    expected = job.work + 10 * job.checkpoint + deaths * (job.pause + job.iteration / 2) + slower
    mean, error = drawn(failure_model.survives, job, 1, 100.0, trials=1000)
    assert mean == pytest.approx(expected, abs=4 * error + 3)


def test_a_group_that_waits_costs_half_an_interval_of_its_nodes():
    job = replace(JOB, nodes=1000, mtbf=1000 * 5000, pause=0)
    deaths = job.work / job.system_mtbf
    expected = job.work + 10 * job.checkpoint + deaths * (100 / 2 / 4 - job.checkpoint)
    mean, error = drawn(failure_model.survives, job, 4, 100.0, trials=1000)
    assert mean == pytest.approx(expected, abs=4 * error + 1)


SMALL = Job(work=100, nodes=16, mtbf=16 * 50, checkpoint=2, restart=10, pause=5, iteration=1)


@pytest.mark.parametrize(
    ("kind", "how"),
    [("ends_and_resumes", (20.0,)), ("survives", (1, 50.0)), ("survives", (4, 25.0))],
)
def test_the_strategies_take_as_long_on_a_virtual_cluster(kind, how):
    mean, error = drawn(getattr(failure_model, kind), SMALL, *how, trials=500)
    seen, spread = drawn(getattr(failing_ghosts, kind), SMALL, *how, trials=10)
    assert seen == pytest.approx(mean, abs=3.5 * math.hypot(error, spread))
    assert spread < 0.1 * mean  # or this would say nothing


def test_only_who_survives_does_not_care_how_often_nodes_die():
    job = Job(86400, failures.NODES, 1.0, 5, 300, 10, 0.1)
    for ends in (True, False):
        way = failures.ways(job, 1)[0 if ends else 1]
        often, seldom = (failures.hours(way, years, 5) for years in (1, 100))
        assert seldom == pytest.approx(24, rel=0.03)
        assert (often > 1.1 * seldom) == ends
