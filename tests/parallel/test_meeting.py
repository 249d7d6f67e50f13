"""All meet for a checkpoint, in whatever order messages come, and no promise is broken by it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.parallel.virtual import explore, promises
from minidl.parallel.virtual.promises import Case

CASES = {
    "sync": Case("sync", group_size=2, iterations=3, meeting=1),
    "async, 1 server": Case("async", groups=2, servers=1, layers=1, meeting=1),
    "async, 2 servers": Case("async", groups=2, servers=2, layers=2, meeting=1),
    "hybrid": Case("hybrid", groups=2, group_size=2, servers=1, layers=1, meeting=1),
    "bounded": Case("async", groups=2, servers=1, layers=1, meeting=1, staleness_bound=1),
}


@pytest.mark.parametrize("name", CASES)
def test_every_promise_holds_in_every_order_around_a_meeting(name):
    case = CASES[name]
    schedules = sum(1 for _ in explore(lambda choose: promises.run(case, choose)))
    assert schedules > 1 or case.strategy == "sync"


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(2, 5), st.randoms()
)  # fmt: skip
def test_promises_hold_in_any_order_whatever_the_layout(groups, servers, layers, iterations, luck):
    meeting = luck.randrange(1, iterations)
    case = Case("async", groups, 1, min(servers, layers), layers, iterations, meeting=meeting)
    promises.run(case, lambda options: luck.randrange(len(options)))


def test_after_a_meeting_every_group_computes_on_the_newest_version():
    case = Case("async", groups=3, servers=1, layers=1, iterations=2, meeting=1)
    told = promises.run(case)
    seen = [told[rank].seen[0][1] for rank in range(3)]
    assert all(np.array_equal(seen[0], other) for other in seen)
    assert [told[rank].versions[0] for rank in range(3)] == [[0, 3]] * 3
