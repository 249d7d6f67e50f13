"""Synchronous training: what many ranks make of a batch is what one rank makes of it."""

import sys
import time

import numpy as np
import pytest
from launch import PROGRAMS, mpiexec, python

SHARES = {
    1: "6/6/5",
    2: "3,3/3,3/3,2",
    3: "2,2,2/2,2,2/2,2,1",
    4: "2,2,1,1/2,2,1,1/2,1,1,1",
    6: "1,1,1,1,1,1/1,1,1,1,1,1/1,1,1,1,1,0",
}


def steps(tmp_path, ranks, optimizer, shares, normalise="no"):
    path = tmp_path / f"{ranks}.npz"
    python(ranks, "steps.py", path, optimizer, shares, normalise)
    with np.load(path) as file:
        return file["parameters"], file["losses"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_ranks_make_the_update_of_one_rank_with_all_samples(tmp_path, ranks, optimizer):
    alone, losses_alone = steps(tmp_path, 1, optimizer, SHARES[1])
    shared, losses = steps(tmp_path, ranks, optimizer, SHARES[ranks])
    for rank in range(ranks):
        np.testing.assert_allclose(shared[rank], alone[0], rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(losses[rank], losses_alone[0], rtol=1e-12)


@pytest.mark.parametrize("shares", ["5,1,0/1,0,5", "0,0,6/6,0,0"])
def test_however_unevenly_the_samples_are_dealt(tmp_path, shares):
    alone, _ = steps(tmp_path, 1, "sgd", "6/6")
    shared, _ = steps(tmp_path, 3, "sgd", shares)
    np.testing.assert_allclose(shared, np.repeat(alone, 3, axis=0), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("normalise", ["no", "yes"])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_all_ranks_hold_the_same_bits(tmp_path, ranks, normalise):
    parameters, losses = steps(tmp_path, ranks, "adam", SHARES[ranks], normalise)
    assert {row.tobytes() for row in parameters} == {parameters[0].tobytes()}
    assert {row.tobytes() for row in losses} == {losses[0].tobytes()}


def test_the_same_run_twice_gives_the_same_bits(tmp_path):
    first, _ = steps(tmp_path, 3, "adam", SHARES[3])
    again, _ = steps(tmp_path, 3, "adam", SHARES[3])
    assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_parameters_are_those_of_the_closed_form(ranks):
    python(ranks, "closed_form.py")


@pytest.mark.parametrize("ranks", [2, 4])
def test_an_exception_on_one_rank_ends_all_with_one_message(ranks):
    start = time.monotonic()
    done = mpiexec(ranks, sys.executable, PROGRAMS / "failing.py", ranks - 1, "raise", timeout=30)
    assert done.returncode != 0
    assert done.stderr.count("RuntimeError: on purpose") == 1
    assert f"rank {ranks - 1} failed" in done.stderr
    assert time.monotonic() - start < 15


def test_a_killed_rank_ends_all():
    done = mpiexec(3, sys.executable, PROGRAMS / "failing.py", 1, "kill", timeout=30)
    assert done.returncode != 0


def test_of_all_ranks_that_fail_together_the_lowest_speaks():
    python(4, "failing.py", 2, "agree")
