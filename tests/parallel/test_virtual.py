"""Strategies on a virtual cluster: what they promise holds in whatever order messages arrive."""

import inspect
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random

import numpy as np
import pytest
from broken import BROKEN, noticed
from hypothesis import find, given, settings
from hypothesis import strategies as st

from minidl.parallel.server import LEAVING
from minidl.parallel.virtual import (
    INSTANT,
    Machine,
    VirtualCluster,
    VirtualError,
    explore,
    promises,
)
from minidl.parallel.virtual.promises import BrokenPromiseError, Case, run, train

BUFFERED = Machine("a send never waits", eager=10_000)
MACHINES = st.sampled_from([INSTANT, BUFFERED])
CASES = st.one_of(
    st.builds(Case, st.just("sync"), group_size=st.integers(1, 5), iterations=st.integers(1, 3)),
    st.builds(
        Case,
        st.sampled_from(["async", "hybrid"]),
        groups=st.integers(1, 4),
        servers=st.integers(1, 3),
        layers=st.integers(3, 4),
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
        layers=st.integers(2, 3),
        iterations=st.integers(1, 3),
        optimizer=st.sampled_from(["sgd", "momentum"]),
        staleness_bound=st.sampled_from([None, 2, 4]),
    ),
)


@settings(max_examples=200)
@given(CASES, MACHINES, st.data())
def test_all_promises_hold_in_any_order_of_arrival(case, machine, data):
    def choose(options):
        return data.draw(st.integers(0, len(options) - 1), label=f"one of {options}")

    run(case, choose, machine)


@pytest.mark.parametrize("machine", [INSTANT, BUFFERED], ids=lambda machine: machine.name)
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
def test_all_promises_hold_in_every_order_of_arrival(case, machine):
    for _ in explore(partial(run, case, machine=machine)):
        pass


def picking(picks):
    """Pick these options, one after the other; the first ones when there are no more picks."""
    rest = iter(picks)
    return lambda options: next(rest, 0) % len(options)


@given(
    st.sampled_from(
        [
            Case("async", groups=4, servers=1, iterations=3),  # 48 bits
            Case("async", groups=5, servers=2, iterations=2, optimizer="momentum"),  # 50
            Case("hybrid", groups=2, group_size=2, servers=1, optimizer="momentum"),  # 36
        ]
    ),
    st.lists(st.integers(0, 7), max_size=60),
)
def test_the_small_training_rounds_no_sum(case, picks):
    """Its updates in higher precision are the same."""
    told = run(case, picking(picks))
    for number in range(case.layers):
        parameters = np.zeros(number + 1, np.longdouble)
        optimizer = promises.OPTIMIZERS[case.optimizer](parameters)
        history, steps = [parameters.copy()], Counter()
        for _, group, read, _ in (row for rank in told for row in rank.updates if row[0] == number):
            optimizer.step(case.gradient(number, group, steps[group], history[read]))
            history.append(parameters.copy())
            steps[group] += 1
        assert np.array_equal(told[0].final[number], parameters)


def ends(case, picks=()):
    """What workers know in the end, promises aside: the network, and the losses."""
    told = VirtualCluster(case.roles.ranks, choose=picking(picks)).run(partial(train, case))
    workers = told[: case.roles.workers]
    return [([layer.tobytes() for layer in rank.final], rank.losses) for rank in workers]


SERVERS, ITERATIONS = st.integers(1, 2), st.integers(1, 3)


@given(SERVERS, ITERATIONS)
def test_one_worker_is_serial_to_the_bit(servers, iterations):
    how = {"iterations": iterations, "optimizer": "momentum"}
    assert ends(Case("async", 1, 1, servers, **how)) == ends(Case("sync", **how))


@given(st.integers(1, 4), SERVERS, ITERATIONS)
def test_one_group_is_sync_to_the_bit(workers, servers, iterations):
    how = {"group_size": workers, "iterations": iterations, "optimizer": "momentum"}
    assert ends(Case("hybrid", servers=servers, **how)) == ends(Case("sync", **how))


@given(st.integers(1, 4), SERVERS, st.lists(st.integers(0, 7), max_size=60))
def test_groups_of_one_are_async_to_the_bit_in_any_order(groups, servers, picks):
    asynchronous = Case("async", groups, servers=servers, optimizer="momentum")
    assert ends(replace(asynchronous, strategy="hybrid"), picks) == ends(asynchronous, picks)


@pytest.mark.parametrize(
    ("name", "layout", "same_as"),
    [
        ("AppliesTwice", {"groups": 1}, Case("sync")),
        ("AnswersBeforeItApplies", {"groups": 1}, Case("sync")),
        ("EndsWithTheNetworkOfAWorker", {}, Case("async", 2, servers=1)),
        ("TellsTheSumOfLosses", {"groups": 1}, Case("sync", group_size=2)),
        ("SendsItsOwnGradientOnly", {"groups": 1}, Case("sync", group_size=2)),
        ("KeepsTheAnswerToItself", {"groups": 1}, Case("sync", group_size=2)),
        ("DividesByTheRanksOfAllGroups", {"group_size": 1}, Case("async", 2, servers=1)),
    ],
)
def test_a_broken_strategy_is_not_the_same(name, layout, same_as):
    case = replace(BROKEN[name], **layout)
    picks = [1, 1, 0, 1]
    assert ends(case, picks) != ends(replace(same_as, optimizer="momentum"), picks)


@pytest.mark.parametrize("machine", [INSTANT, BUFFERED], ids=lambda machine: machine.name)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_strategy_is_noticed(name, machine):
    assert noticed(BROKEN[name], machine) is not None


@pytest.mark.parametrize("name", ["OneBufferForAllGradients", "SendsTheLastLayersGradient"])
def test_to_mix_up_layers_is_noticed_in_every_order(name):
    def noticed_in_one(choose):
        with pytest.raises((BrokenPromiseError, VirtualError)):
            run(BROKEN[name], choose)

    for _ in explore(noticed_in_one):
        pass


def test_every_promise_is_broken_by_some_strategy():
    promised = re.findall(r'^ +promise\([^"]*"(.*)"', inspect.getsource(promises), re.MULTILINE)
    noticed_first = {
        noticed(case).removeprefix("BrokenPromiseError: broken: ") for case in BROKEN.values()
    }
    assert noticed_first.issuperset(promised)


def test_a_mistake_may_be_seen_only_where_a_group_leaves_late():
    """Why schedules that apply gradients in the same order are run, too."""

    def where_groups_leave_at_once(choose):
        def leaving_first(options):
            tags = [tag for _, _, tag in options]
            return tags.index(LEAVING) if LEAVING in tags else choose(options)

        run(BROKEN["GoesBackWhenAGroupLeaves"], leaving_first)

    assert len(list(explore(where_groups_leave_at_once))) == 6  # all orders of gradients


def test_hypothesis_finds_the_smallest_schedule_that_fails():
    def fails(picks):
        try:
            run(BROKEN["GoesBackWhenAGroupLeaves"], picking(picks))
        except BrokenPromiseError:
            return True
        return False

    picks = st.lists(st.integers(0, 3), max_size=20)
    found = find(picks, fails, random=Random(1), settings=settings(database=None))
    # Group 1's two gradients; and then, by default, group 0's first before group 1 leaves.
    assert found == [1, 1]
    assert not any(fails([pick]) for pick in range(4))
