"""A long run in short: no memory, handle or thread more with every update, no message left."""

import numpy as np
import pytest
from soak import STRATEGIES, Rank, soak

UPDATES = 300  # `python tests/soak.py` makes 10,000


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_run_leaves_nothing_behind(tmp_path, name):
    ranks = soak(name, UPDATES, tmp_path / name)
    assert [rank.problems for rank in ranks] == [[] for _ in ranks]
    # As many looks, and as much that could be wrong, as a test needs to be one.
    assert all(len(rank.samples) > 3 and rank.entries > UPDATES for rank in ranks)


def test_what_grows_would_be_found():
    samples = np.zeros(60, [(name, "i8") for name in ("updates", "memory", "handles", "threads")])
    samples["updates"] = np.arange(60)
    assert Rank(samples, 60, []).problems == []
    for what, step, said in (
        ("memory", 2**20, "memory grows"),
        ("handles", 1, "more handles"),
        ("threads", 1, "more threads"),
    ):
        growing = samples.copy()
        growing[what] = step * np.arange(60)
        assert Rank(growing, 60, []).problems == [said]
    assert Rank(samples, 60, [1]).problems == ["messages left"]
