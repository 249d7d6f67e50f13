"""A rank that is slow on purpose is named where it was waited for, by what it was doing."""

import json

import pytest
from events import write_events
from launch import minidl

MODEL = """
import time
from mpi4py import MPI
from minidl_models.hep import *
from minidl_models import hep

def loss(output, target):
    rank = MPI.COMM_WORLD.rank
    time.sleep(SLOW)
    return hep.loss(output, target)
"""


@pytest.fixture
def waits(tmp_path):
    def run(ranks, *flags, slow="0.1 * (rank == 1)"):
        (tmp_path / "slow.py").write_text(MODEL.replace("SLOW", slow))
        data = write_events(tmp_path / "data.h5", 96)
        flags = ("--data", data, "--width", 4, "--batch-size", 4, "--iterations", 16, *flags)
        done = minidl("train", "slow", *flags, "--out", "run", ranks=ranks, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        figures = json.loads(minidl("waits", "run", "--json", cwd=tmp_path).stdout)
        return figures, minidl("waits", "run", cwd=tmp_path).stdout.splitlines()[-1]

    return run


def test_all_ranks_of_sync_wait_for_the_slow_one(waits):
    figures, verdict = waits(3)
    assert verdict.startswith("rank 1 cost ")
    assert "while it was computing" in verdict
    for rank in (0, 2):
        assert figures["caused"][rank][1] > 0.5 * 16 * 0.1


def test_nobody_waits_for_a_slow_rank_of_async(waits):
    figures, verdict = waits(3, "--strategy", "async")
    assert not verdict.startswith("rank 1")
    assert figures["caused"][0][1] < 0.1 * 16 * 0.1


def test_only_its_own_group_waits_for_a_slow_rank_of_hybrid(waits):
    figures, verdict = waits(5, "--strategy", "hybrid", "--groups", 2)
    assert verdict.startswith("rank 1 cost ")
    # The root waits at the sum; the slow rank itself then waits for nobody.
    assert figures["caused"][0][1] > 0.5 * 16 * 0.1
    for rank in (2, 3):
        assert figures["caused"][rank][1] < 0.1 * 16 * 0.1


def test_a_run_under_a_bound_on_staleness_ends(waits):
    """Those that are held back do not wait for a group that has made its last step."""
    figures, _ = waits(4, "--strategy", "async", "--staleness-bound", 4, slow="0.05 * rank")
    assert figures["groups"] == [0, 1, 2, -1]


def test_who_is_held_back_by_a_bound_waits_for_the_slow_one(waits):
    figures, verdict = waits(3, "--strategy", "async", "--staleness-bound", 1)
    assert verdict.startswith("rank 1 cost ")
    assert "while it was computing" in verdict
    assert figures["caused"][0][1] > 0.5 * 16 * 0.1
