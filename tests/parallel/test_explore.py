"""Every order of arrival is explored, once: against a model of messages, and against trying all."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpi4py import MPI

from minidl.parallel.virtual import (
    INSTANT,
    Machine,
    VirtualCluster,
    VirtualError,
    explore,
    promises,
)
from minidl.parallel.virtual.promises import Case

BUFFERED = Machine("a send never waits", eager=100)
ANY = MPI.ANY_SOURCE  # and ANY_TAG: the same is true of both

# What a rank does, one thing after the other: (send, to, tag) or (take, from, tag).
ACTIONS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3), st.integers(0, 1)),
    st.tuples(st.just("take"), st.just(None), st.just(None)),
    st.tuples(st.just("take"), st.sampled_from([None, 0, 1, 2, 3]), st.sampled_from([None, 0, 1])),
)
SCRIPTS = st.lists(st.lists(ACTIONS, max_size=5), min_size=4, max_size=4)


def with_servers(servers, clients):
    """As many takes as there are sends, at each server."""
    sent = [to for client in clients for _, to, _ in client]
    return [[("take", None, None)] * sent.count(server) for server in range(servers)] + clients


def served(servers):
    sends = st.tuples(st.just("send"), st.integers(0, servers - 1), st.integers(0, 1))
    clients = st.lists(st.lists(sends, max_size=2), min_size=3, max_size=3)
    return clients.map(partial(with_servers, servers))


SERVED = st.integers(1, 2).flatmap(served)


def act(script, arrivals, comm):
    """Be a rank that does what its part of the script says; note who came when."""
    for what, other, tag in script[comm.rank]:
        if what == "send":
            comm.Send(np.zeros(1), other, tag)
            continue
        status = MPI.Status()
        comm.Recv(
            np.zeros(1),
            ANY if other is None else other,
            MPI.ANY_TAG if tag is None else tag,
            status,
        )
        arrivals[comm.rank].append((status.Get_source(), status.Get_tag()))


def run(script, machine, choose):
    """Run a script on a cluster; return who came when at each rank, and whether all ended well."""
    arrivals = [[] for _ in script]
    try:
        VirtualCluster(len(script), machine, choose).run(partial(act, script, arrivals))
    except VirtualError:
        return tuple(map(tuple, arrivals)), False
    return tuple(map(tuple, arrivals)), True


def arrivals_and_network(case, machine, choose):
    """Run a case, with all promises checked; return who came when at each rank, and the end."""
    came = [[] for _ in range(case.roles.ranks)]

    def note(options):
        picked = choose(options)
        at, source, tag = options[picked]
        came[at].append((source, tag))
        return picked

    told = promises.run(case, note, machine)
    return tuple(map(tuple, came)), b"".join(layer.tobytes() for layer in told[0].final)


def possible(script, buffered):
    """All that can come of a script: every interleaving of a model of messages, step by step."""
    ranks, outcomes, seen = range(len(script)), set(), set()
    todo = [(tuple(tuple(actions) for actions in script), (), ((),) * len(script))]
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        ahead, travelling, arrivals = state
        before = len(todo)
        for rank in ranks:
            if not ahead[rank]:
                continue
            what, other, tag = ahead[rank][0]
            if what == "send" and buffered:
                message = (rank, other, tag)
                todo.append((without_first(ahead, rank), (*travelling, message), arrivals))
            elif what == "take":
                there = first_of_each(travelling if buffered else offered(ahead), rank, tag)
                for message in there:
                    if other in (None, message[0]):
                        left = list(travelling)
                        after = without_first(ahead, rank)
                        if buffered:
                            left.remove(message)
                        else:
                            after = without_first(after, message[0])
                        came = (*arrivals[rank], (message[0], message[2]))
                        todo.append((after, tuple(left), replaced(arrivals, rank, came)))
        if len(todo) == before:
            outcomes.add((arrivals, not any(ahead) and not travelling))
    return outcomes


def offered(ahead):
    """What would be sent if its receiver took it."""
    firsts = [(rank, actions[0]) for rank, actions in enumerate(ahead) if actions]
    return [(rank, other, tag) for rank, (what, other, tag) in firsts if what == "send"]


def first_of_each(messages, receiver, wanted):
    first = {}
    for source, dest, tag in messages:
        if dest == receiver and wanted in (None, tag):
            first.setdefault(source, (source, dest, tag))
    return first.values()


def without_first(ahead, rank):
    return replaced(ahead, rank, ahead[rank][1:])


def replaced(whole, index, part):
    return (*whole[:index], part, *whole[index + 1 :])


def every_choice(run):
    """Run with every sequence of choices, many of which come to the same."""
    path = []  # (what was chosen, of how many)
    while True:
        made = iter(path.copy())

        def choose(options, made=made):
            picked, _ = next(made, (None, None))
            if picked is None:
                picked = 0
                path.append((0, len(options)))
            return picked

        yield run(choose)
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            return
        picked, among = path.pop()
        path.append((picked + 1, among))


@pytest.mark.parametrize("machine", [INSTANT, BUFFERED], ids=lambda machine: machine.name)
@settings(max_examples=300)
@given(st.one_of(SCRIPTS, SERVED))
def test_what_is_explored_is_all_that_can_happen_and_each_once(machine, script):
    expected = possible(script, buffered=machine is BUFFERED)
    explored = Counter(explore(partial(run, script, machine)))
    assert explored.keys() == expected
    assert set(explored.values()) == {1}


@pytest.mark.parametrize("eager", [0, 100])
@given(st.one_of(SCRIPTS, SERVED), st.sampled_from([0.0, 1.0]))
def test_what_happens_by_the_clock_is_one_of_them(eager, script, latency):
    machine = Machine("any", latency=latency, eager=eager)
    assert run(script, machine, None) in possible(script, buffered=eager > 0)


@settings(max_examples=30)
@given(SERVED)
def test_trying_every_choice_finds_no_more(script):
    explored = set(explore(partial(run, script, BUFFERED)))
    assert set(every_choice(partial(run, script, BUFFERED))) == explored


@pytest.mark.parametrize(
    ("case", "orders", "choices"),
    [
        (Case("async", groups=2, servers=1, layers=1, iterations=2), 20, 20),
        (Case("async", 2, servers=2, iterations=1, optimizer="momentum"), 34, 1120),
        (Case("hybrid", 2, 2, servers=2, iterations=1, optimizer="momentum"), 34, 1120),
    ],
    ids=str,
)
def test_of_a_strategy_every_order_is_explored_once(case, orders, choices):
    explored = list(explore(partial(arrivals_and_network, case, INSTANT)))
    tried = list(every_choice(partial(arrivals_and_network, case, INSTANT)))
    assert len(explored) == len(set(explored)) and set(explored) == set(tried)
    assert len({network for _, network in explored}) > 1
    assert (len(explored), len(tried)) == (orders, choices)


@pytest.mark.parametrize(
    "case",
    [
        Case("async", groups=2, servers=2),
        Case("async", groups=2, servers=1, layers=1, staleness_bound=1),
        Case("hybrid", groups=2, group_size=2, servers=2),
        Case("hybrid", groups=3, group_size=2, servers=1, layers=1, iterations=1),
    ],
    ids=str,
)
def test_of_a_strategy_nothing_depends_on_whether_sends_wait(case):
    waiting = Counter(explore(partial(arrivals_and_network, case, INSTANT)))
    assert Counter(explore(partial(arrivals_and_network, case, BUFFERED))) == waiting


@pytest.mark.parametrize(
    ("case", "schedules", "orders"),
    [
        (Case("async", groups=2, servers=1, layers=1, iterations=2), 20, 6),
        (Case("async", groups=3, servers=1, layers=1, iterations=1), 90, 6),
        (Case("async", groups=2, servers=2), 328, 34),
        (Case("hybrid", groups=2, group_size=2, servers=2), 328, 34),
    ],
    ids=str,
)
def test_of_a_strategy_schedules_are_more_than_orders_of_gradients(case, schedules, orders):
    """They also say when a server hears that a group has left: `GoesBackWhenAGroupLeaves`."""
    told = list(explore(partial(promises.run, case)))
    applied = {str(sorted(row for rank in ranks for row in rank.updates)) for ranks in told}
    assert (len(told), len(applied)) == (schedules, orders)


def test_a_send_that_does_not_wait_lets_another_overtake():
    """On a machine that buffers more can happen than on one that does not."""
    script = [
        [("send", 2, 0), ("send", 1, 0)],
        [("take", 0, None), ("send", 2, 0)],
        [("take", None, None), ("take", None, None)],
    ]

    def orders(machine):
        return {outcome[0][2] for outcome in explore(partial(run, script, machine))}

    assert orders(INSTANT) == {((0, 0), (1, 0))}
    assert orders(BUFFERED) == {((0, 0), (1, 0)), ((1, 0), (0, 0))}
