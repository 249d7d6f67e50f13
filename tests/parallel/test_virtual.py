"""Strategies on a virtual cluster: what they promise holds in whatever order messages arrive."""

import pytest
from broken import BROKEN, noticed
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.parallel.virtual import explore
from minidl.parallel.virtual.promises import Case, run

CASES = st.one_of(
    st.builds(Case, st.just("sync"), group_size=st.integers(1, 5), iterations=st.integers(1, 3)),
    st.builds(
        Case,
        st.sampled_from(["async", "hybrid"]),
        groups=st.integers(1, 4),
        servers=st.integers(1, 2),
        layers=st.integers(2, 3),
        iterations=st.integers(1, 3),
        optimizer=st.sampled_from(["sgd", "momentum"]),
        staleness_bound=st.sampled_from([None, 3, 5]),
    ),
    st.builds(
        Case,
        st.just("hybrid"),
        groups=st.integers(1, 3),
        group_size=st.integers(2, 3),
        servers=st.integers(1, 2),
        iterations=st.integers(1, 3),
        optimizer=st.sampled_from(["sgd", "momentum"]),
    ),
)


@settings(max_examples=200)
@given(CASES, st.data())
def test_all_promises_hold_in_any_order_of_arrival(case, data):
    def choose(options):
        return data.draw(st.integers(0, len(options) - 1), label=f"one of {options}")

    run(case, choose)


@pytest.mark.parametrize(
    "case",
    [
        Case("async", groups=2, servers=2),
        Case("hybrid", groups=2, group_size=2, servers=2),
        Case("async", groups=3, servers=1, layers=1),
        Case("async", groups=2, servers=1, layers=2, staleness_bound=1),
        Case("async", groups=2, servers=2, iterations=1, optimizer="momentum"),
    ],
    ids=str,
)
def test_all_promises_hold_in_every_order_of_arrival(case):
    for _ in explore(lambda choose: run(case, choose)):
        pass


@given(st.integers(1, 4), st.integers(1, 2), st.data())
def test_groups_of_one_are_async_to_the_bit_in_any_order(groups, servers, data):
    picks = data.draw(st.lists(st.integers(0, 10**6), min_size=60, max_size=60))

    def outcome(strategy):
        rest = iter(picks)
        case = Case(strategy, groups=groups, servers=servers, optimizer="momentum")
        told = run(case, lambda options: next(rest, 0) % len(options))
        return [final.tobytes() for final in told[0].final], [rank.updates for rank in told]

    assert outcome("async") == outcome("hybrid")


@given(st.integers(1, 4), st.integers(1, 2), st.integers(1, 3))
def test_one_group_is_sync(workers, servers, iterations):
    sync = run(Case("sync", group_size=workers, iterations=iterations, optimizer="momentum"))
    case = Case("hybrid", 1, workers, servers, iterations=iterations, optimizer="momentum")
    hybrid = run(case)
    for one, other in zip(sync[0].final, hybrid[0].final, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_is_noticed(name):
    assert noticed(BROKEN[name]) is not None
