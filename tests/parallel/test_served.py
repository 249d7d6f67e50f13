"""A layer on its server: the rules of staleness, over any order in which gradients may arrive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.optim import SGD
from minidl.parallel.served import ServedLayer

schedules = st.integers(1, 5).flatmap(
    lambda groups: st.tuples(
        st.just(groups), st.lists(st.integers(0, groups - 1), min_size=1, max_size=40)
    )
)


def serve(groups, arrivals, bound=None, scale=False):
    """Deliver gradients as far as groups have their answers; then let each group leave.

    Gradient number n is 2**n, so that the parameters tell which ones were applied.
    """
    served = ServedLayer(0, SGD(np.zeros(1), 1.0), groups, bound, scale)
    waiting, sent, answers = set(), 0, []

    def take(answered):
        for group in answered:
            waiting.discard(group)
            answers.append((group, served.parcels[group].version))
        if answered:
            assert served.parcels[answered[-1]].values == served.optimizer.parameters

    for group in arrivals:
        if group not in waiting:
            served.parcels[group].values[...] = 2.0**sent
            sent += 1
            waiting.add(group)
            take(served.receive(group))
    present = set(range(groups))
    while present:
        leaving = present - waiting
        assert leaving, "everyone waits: a deadlock"
        for group in leaving:
            present.discard(group)
            take(served.leave(group))
    return served, sent, answers


@given(schedules)
def test_without_a_bound_gradients_are_applied_as_they_arrive(schedule):
    groups, arrivals = schedule
    served, _, answers = serve(groups, arrivals)
    assert [group for group, _ in answers] == arrivals
    assert [version for _, version in answers] == list(range(1, len(arrivals) + 1))
    assert [group for _, group, _, _ in served.updates] == arrivals


@given(schedules, st.integers(0, 4))
def test_every_gradient_is_applied_once_and_no_one_waits_for_ever(schedule, more):
    groups, arrivals = schedule
    served, sent, answers = serve(groups, arrivals, bound=groups - 1 + more)
    assert -served.optimizer.parameters[0] == 2**sent - 1
    assert len(answers) == len(served.updates) == served.version == sent


@given(schedules, st.integers(0, 4))
def test_no_update_is_staler_than_the_bound(schedule, more):
    groups, arrivals = schedule
    served, _, _ = serve(groups, arrivals, bound=groups - 1 + more)
    for _, _, read, made in served.updates:
        assert 0 <= made - 1 - read <= groups - 1 + more


@given(schedules)
def test_a_group_computes_on_the_version_that_it_was_sent(schedule):
    served, _, _ = serve(*schedule)
    had = dict.fromkeys(range(schedule[0]), 0)
    for _, group, read, made in served.updates:
        assert read == had[group]
        had[group] = made


@given(schedules)
def test_the_learning_rate_falls_with_staleness(schedule):
    served, _, _ = serve(*schedule, scale=True)
    expected = -sum(
        2.0**number / (1 + made - 1 - read)
        for number, (_, _, read, made) in enumerate(served.updates)
    )
    np.testing.assert_allclose(served.optimizer.parameters, expected, rtol=1e-12)


def test_a_fast_group_is_held_until_the_slow_one_has_answered():
    served = ServedLayer(0, SGD(np.zeros(1), 1.0), groups=2, staleness_bound=1)
    assert served.receive(0) == [0]
    assert served.receive(0) == []  # group 1's gradient would be two updates stale
    assert served.receive(1) == [1, 0]
    assert [made - 1 - read for _, _, read, made in served.updates] == [0, 1, 1]


def test_a_gradient_of_a_version_that_was_not_sent_is_refused():
    served = ServedLayer(3, SGD(np.zeros(1), 1.0), groups=2)
    served.parcels[1].version = 7
    with pytest.raises(RuntimeError, match=r"layer 3: group 1 computed on version 7.*sent 0"):
        served.receive(1)
