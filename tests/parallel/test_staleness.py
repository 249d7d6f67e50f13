"""Groups that run freely: what is recorded is consistent, and a bound on staleness holds."""

import pytest
from launch import python

LAYOUTS = [
    (2, "async", 1, 1),
    (3, "async", 2, 1),
    (4, "async", 2, 2),
    (4, "async", 3, 1),
    (6, "async", 3, 3),
    (6, "async", 5, 1),
    (3, "hybrid", 2, 1),
    (6, "hybrid", 2, 2),
    (6, "hybrid", 4, 2),
]


def largest_staleness(ranks, *layout):
    return int(python(ranks, "free_running.py", *layout).stdout.split("largest staleness:")[1])


@pytest.mark.parametrize(("ranks", "strategy", "groups", "servers"), LAYOUTS)
def test_recorded_versions_are_consistent(ranks, strategy, groups, servers):
    staleness = largest_staleness(ranks, strategy, groups, servers, -1)
    assert staleness >= groups - 1
    if groups > 1:
        assert staleness > groups, "the slow group was to fall behind"


@pytest.mark.parametrize(("ranks", "strategy", "groups", "servers"), LAYOUTS)
@pytest.mark.parametrize("more", [0, 1])
def test_staleness_stays_within_its_bound(ranks, strategy, groups, servers, more):
    bound = groups - 1 + more
    assert largest_staleness(ranks, strategy, groups, servers, bound) <= bound
