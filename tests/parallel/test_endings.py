"""Every MPI program ends: with all ranks, one message and a status."""

import sys
import time

import pytest
from launch import PROGRAMS, mpiexec, python


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
