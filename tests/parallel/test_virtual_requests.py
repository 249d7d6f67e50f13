"""Several requests at once: answers as mpi4py's, times, stories; in a chooser's hand, every way."""

from functools import partial
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpi4py import MPI

from minidl.parallel.virtual import INSTANT, Machine, VirtualCluster, VirtualError, explore
from minidl.parallel.virtual.requests import Request

SLOW = Machine("slow", latency=1.0, bandwidth=10.0)
BUFFERED = Machine("a send never waits", eager=100)


# What they return is what mpi4py's return.


def answers(comm):
    """Ask a communicator's requests, with messages to oneself, in all ways."""
    said = []

    def begun(tags):
        return [comm.Irecv(np.zeros(1), 0, tag) for tag in tags]

    def sent(*tags):
        return [comm.Isend(np.full(1, float(tag)), 0, tag) for tag in tags]

    received = begun(range(4))
    kind = type(received[0])
    said.append((kind.Testany(received), kind.Testsome(received), kind.Testall(received)))
    on_their_way, status = sent(2), MPI.Status()
    said.append((kind.Waitany(received, status), status.Get_tag(), status.Get_source()))
    on_their_way += sent(3, 0)
    statuses = []
    said.append((kind.Waitsome(received, statuses), [status.Get_tag() for status in statuses]))
    said.append((kind.Testsome(received), kind.Testall(received), received[0].Test()))
    on_their_way += sent(1)
    while not kind.Testany(received, status)[1]:
        pass
    said.append(status.Get_tag())
    for null in (received, [MPI.REQUEST_NULL, received[0]]):
        said.append((kind.Waitany(null), kind.Testany(null), kind.Waitsome(null)))
        said.append((kind.Testsome(null), kind.Testall(null), kind.Waitall(null)))
    said.append(type(on_their_way[0]).Waitall(on_their_way))
    received, on_their_way, statuses = begun((1, 0)), sent(0, 1), []
    said.append((kind.Waitall(received, statuses), [status.Get_tag() for status in statuses]))
    said.append(type(on_their_way[0]).Testall(on_their_way))
    return said


@pytest.mark.parametrize("how", [{}, {"machine": BUFFERED}, {"choose": lambda options: 0}])
def test_answers_are_those_of_mpi4py(how):
    assert VirtualCluster(1, **how).run(answers) == [answers(MPI.COMM_WORLD)]


# Time adds up. A message of n bytes takes 1 + n / 10 seconds.


def at_rank_0(ask, seconds, begin=0):
    """Rank 0 asks for a message of 10 bytes from each of the others, sent after so many seconds."""

    def program(comm):
        if comm.rank:
            comm.compute(seconds[comm.rank - 1])
            comm.Send(np.zeros(10, np.uint8), 0)
            return None
        requests = [comm.Irecv(np.zeros(10, np.uint8), rank) for rank in range(1, comm.size)]
        comm.compute(begin)
        said = ask(comm, requests)
        Request.Waitall(requests)
        return said

    return VirtualCluster(len(seconds) + 1, SLOW).run(program)[0]


def repeated(call):
    def ask(comm, requests):
        return [(call(requests), comm.clock()) for _ in requests]

    return ask


@pytest.mark.parametrize("begin", [0, 100])
def test_waitany_takes_the_earliest(begin):
    said = at_rank_0(repeated(Request.Waitany), [5, 3, 4], begin)
    assert said == [(1, max(5, begin)), (2, max(6, begin)), (0, max(7, begin))]


def test_waitall_goes_on_at_the_latest():
    def ask(comm, requests):
        Request.Waitall(requests)
        return comm.clock()

    assert at_rank_0(ask, [5, 3, 4]) == 7


def test_waitsome_takes_all_that_have_completed_when_the_first_has():
    said = at_rank_0(repeated(Request.Waitsome), [5, 3, 3])
    # Long messages come in one after the other: that of rank 3 a second after that of rank 2.
    assert said == [([1], 5), ([2], 6), ([0], 7)]
    assert at_rank_0(repeated(Request.Waitsome), [5, 3, 9], 8)[:2] == [([0, 1], 8), ([2], 11)]


def test_tests_say_what_is_so_by_now():
    def ask(comm, requests):
        said = []
        for _ in range(3):
            said.append([Request.Testall(requests), Request.Testsome(requests)])
            comm.compute(4)
        return said

    assert at_rank_0(ask, [5, 3, 3]) == [[False, []], [False, []], [True, None]]
    assert at_rank_0(ask, [5, 3, 3], 2)[1] == [False, [1, 2]]


@pytest.mark.parametrize("how", [{}, {"machine": SLOW}, {"choose": lambda options: 0}], ids=str)
@pytest.mark.parametrize("call", ["Testall", "Testany", "Testsome"])
def test_a_loop_of_tests_ends_when_a_wait_would(call, how):
    """Also where what the first is to receive is sent only after the second has been received."""

    def program(comm):
        if comm.rank == 0:
            requests = [comm.Irecv(np.zeros(1), 1, tag) for tag in (0, 1)]
            while call == "Testall" and not Request.Testall(requests):
                pass
            while call == "Testany" and not Request.Testany(requests)[1]:
                pass
            while call == "Testsome" and not Request.Testsome(requests):
                pass
            if call != "Testall":
                comm.Send(np.zeros(1), 1)
            Request.Waitall(requests)
        else:
            comm.compute(50)
            comm.Send(np.zeros(1), 0, 1)
            if call != "Testall":
                comm.Recv(np.zeros(1), 0)
            comm.Send(np.zeros(1), 0, 0)

    VirtualCluster(2, **how).run(program)


# Who waits for ever is told as others are.


@pytest.mark.parametrize("how", [{}, {"machine": SLOW}, {"choose": lambda options: 0}], ids=str)
@pytest.mark.parametrize("call", ["Waitany", "Waitsome", "Testany", "Testsome"])
def test_who_waits_for_any_of_several_is_told(call, how):
    def program(comm):
        if comm.rank < 2:
            requests = [comm.Irecv(np.zeros(1), rank, 7) for rank in (1 - comm.rank, 2)]
            for _ in range(2000):
                getattr(Request, call)(requests)

    with pytest.raises(VirtualError) as caught:
        VirtualCluster(3, **how).run(program)
    story = str(caught.value)
    assert (
        "rank 0 waits for a message from rank 1 with tag 7 or a message from rank 2 with tag 7 "
        "(rank 2 has ended)"
    ) in story
    assert "in a circle: rank 0 -> rank 1 -> rank 0" in story
    assert f"{program.__code__.co_firstlineno + 4}, in program" in story


# A chooser's options.


def outcomes(program, ranks, machine=INSTANT, vain_tests=0):
    """What rank 0 returns, in all that can happen; the same whether explored or tried out."""

    def run(choose):
        return VirtualCluster(ranks, machine, choose, vain_tests).run(program)[0]

    explored = list(explore(run))
    assert set(explored) == set(every_choice(run))
    return set(explored)


def every_choice(run):
    """Run with every sequence of choices, many of which come to the same."""
    paths = [[]]
    while paths:
        path, among = paths.pop(), []

        def choose(options, path=path, among=among):
            among.append(len(options))
            return path[len(among) - 1] if len(among) <= len(path) else 0

        yield run(choose)
        made = path + [0] * (len(among) - len(path))
        for depth in range(len(path), len(among)):
            paths += [[*made[:depth], other] for other in range(1, among[depth])]


def collecting(call, machine=INSTANT, vain_tests=0):
    """In which orders rank 0 can be told that the messages of two others are there."""

    def program(comm):
        if comm.rank:
            return comm.Send(np.zeros(1), 0)
        requests = [comm.Irecv(np.zeros(1), rank) for rank in (1, 2)]
        said = []
        while not all(request.finished for request in requests):
            said.append(str(call(requests)))
        return " ".join(said)

    return outcomes(program, 3, machine, vain_tests)


@pytest.mark.parametrize("machine", [INSTANT, BUFFERED], ids=lambda machine: machine.name)
def test_what_completes_first_is_a_choice(machine):
    assert collecting(Request.Waitany, machine) == {"0 1", "1 0"}
    assert collecting(Request.Waitsome, machine) == {"[0, 1]", "[0] [1]", "[1] [0]"}


def test_what_a_test_says_is_a_choice():
    assert collecting(Request.Testall, vain_tests=1) == {"True", "False True"}
    assert collecting(Request.Testall, vain_tests=2) == {"True", "False True", "False False True"}
    at_once = {"[0, 1]", "[0] [1]", "[1] [0]"}
    assert collecting(Request.Testsome, vain_tests=1) == {
        *at_once, *(f"[] {said}" for said in at_once), "[0] [] [1]", "[1] [] [0]"
    }  # fmt: skip


def test_a_chooser_is_told_which_requests_complete_in_which_call():
    asked = []

    def choose(options):
        asked.append(tuple(options))
        return len(options) - 1

    def program(comm):
        if comm.rank:
            return comm.Send(np.zeros(1), 0)
        requests = [comm.Irecv(np.zeros(1), rank) for rank in (1, 2)]
        requests[1].Test()
        return Request.Waitsome(requests)

    assert VirtualCluster(3, choose=choose, vain_tests=1).run(program)[0] == [1]
    assert asked == [
        ((0, (0,), "Test"), (0, (), "Test")),
        ((0, (0, 1), "Waitsome"), (0, (0,), "Waitsome"), (0, (1,), "Waitsome")),
    ]


@pytest.mark.parametrize("machine", [INSTANT, BUFFERED], ids=lambda machine: machine.name)
def test_a_loop_of_tests_has_so_many_outcomes(machine):
    """Also where what is tested for is sent only after somebody else has been answered."""

    def program(comm):
        if comm.rank == 1:
            comm.Recv(np.zeros(1), 2)
            comm.Send(np.zeros(1), 0)
        elif comm.rank == 2:
            comm.Send(np.zeros(1), 1)
        else:
            request, vain = comm.Irecv(np.zeros(1), 1), 0
            while not request.Test():
                vain += 1
            return vain

    for limit in (1, 2, 5):
        assert outcomes(program, 3, machine, limit) == set(range(limit + 1))


def test_who_tests_goes_on_when_nobody_else_can():
    """However often: what is tested for is sent only afterwards."""

    def program(comm):
        if comm.rank:
            comm.Recv(np.zeros(1), 0)
            return comm.Send(np.zeros(1), 0)
        request = comm.Irecv(np.zeros(1), 1)
        said = [request.Test() for _ in range(5)]
        comm.Send(np.zeros(1), 1)
        request.Wait()
        return any(said)

    assert outcomes(program, 2, vain_tests=1) == {False}


def test_more_can_happen_where_sends_do_not_wait():
    """Rank 1 sends only when rank 2 has sent; if that waits, until rank 0 has received it."""

    def program(comm):
        if comm.rank == 0:
            came, status = [], MPI.Status()
            for _ in range(2):
                comm.Recv(np.zeros(1), status=status)
                came.append(status.Get_source())
            return tuple(came)
        if comm.rank == 2:
            comm.Send(np.zeros(1), 0)
            comm.Send(np.zeros(1), 1)
        else:
            comm.Recv(np.zeros(1), 2)
            comm.Send(np.zeros(1), 0)

    assert outcomes(program, 3, INSTANT) == {(2, 1)}
    assert outcomes(program, 3, BUFFERED) == {(2, 1), (1, 2)}


# Against a model, step by step.

RANKS = 3
CALLS = ["Waitany", "Waitsome", "Testany", "Testsome", "Testall"]
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["send", "begin"]), st.integers(0, RANKS - 1)),
    st.tuples(st.sampled_from(CALLS), st.none()),
)


@st.composite
def asked(draw):
    """Rank 0 asks for what both others send; any of them may wait for another's message, too."""
    calls = st.lists(st.tuples(st.sampled_from(CALLS), st.none()), min_size=1, max_size=4)
    begun = draw(st.lists(st.integers(1, 2), min_size=2, max_size=3))
    script = [[("begin", other) for other in begun] + draw(calls)]
    script += [[("send", 0)] * begun.count(rank) for rank in (1, 2)]
    for _ in range(draw(st.integers(0, 2))):  # one message more
        source, dest = draw(st.permutations(range(RANKS)))[:2]
        script[source].insert(draw(st.integers(0, len(script[source]))), ("send", dest))
        place = draw(st.integers(0, len(script[dest])))
        script[dest][place:place] = [("begin", source), ("Waitany", None)]
    return script


SCRIPTS = st.one_of(
    asked(),
    st.lists(st.lists(ACTIONS, max_size=4), min_size=RANKS, max_size=RANKS),
)


def run(script, machine, vain_tests, choose):
    """Run a script; return what every rank was told, and whether all ended well."""
    told = [[] for _ in script]

    def act(comm):
        requests = []
        for what, other in script[comm.rank]:
            if what == "send":
                comm.Send(np.zeros(1), other)
            elif what == "begin":
                requests.append(comm.Irecv(np.zeros(1), other))
            else:
                told[comm.rank].append(plain(getattr(Request, what)(requests)))

    try:
        VirtualCluster(RANKS, machine, choose, vain_tests).run(act)
    except VirtualError:
        return tuple(map(tuple, told)), False
    return tuple(map(tuple, told)), True


def plain(answer):
    return tuple(answer) if isinstance(answer, list) else answer


def possible(script, buffered, vain_tests):
    """All that can come of a script."""
    outcomes, seen = set(), set()
    todo = [(tuple(map(tuple, script)), *(((),) * RANKS for _ in range(3)))]
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        following = [after for r in range(RANKS) for after in steps(state, r, buffered, vain_tests)]
        if not following:  # who tests goes on when nobody else can
            following = list(chain(*(steps(state, r, buffered, 10) for r in range(RANKS))))[:1]
        todo += following
        if not following:
            ahead, begun, sent, told = state
            even = all(
                sum(source == s for source, *_ in begun[r]) == sent[s].count(r)
                for r in range(RANKS)
                for s in range(RANKS)
            )
            outcomes.add((told, even and not any(ahead)))
    return outcomes


def steps(state, rank, buffered, vain_tests):
    """What a rank can do next. ``begun``: (from whom, whether completed, tests in vain) of each."""
    ahead, begun, sent, told = state
    if not ahead[rank]:
        return
    (what, other), rest = ahead[rank][0], with_at(ahead, rank, ahead[rank][1:])
    if what == "begin":
        yield rest, with_at(begun, rank, (*begun[rank], (other, False, 0))), sent, told
    elif what == "send":
        asked_for = sum(source == rank for source, *_ in begun[other])
        if buffered or asked_for > sent[rank].count(other):
            yield rest, begun, with_at(sent, rank, (*sent[rank], other)), told
    else:
        mine = begun[rank]
        for places, answer in ways(what, mine, [sent[s].count(rank) for s in range(RANKS)]):
            left = [in_vain for _, done, in_vain in mine if not done]
            if places or not left or all(in_vain < vain_tests for in_vain in left):
                after = tuple(
                    (source, done or n in places, in_vain + (not places and not done))
                    for n, (source, done, in_vain) in enumerate(mine)
                )
                yield rest, with_at(begun, rank, after), sent, with_at(
                    told, rank, (*told[rank], answer)
                )  # fmt: skip


def ways(call, mine, arrived):
    """Which requests a call may complete, and what it says then."""
    left = [n for n, (_, done, _) in enumerate(mine) if not done]
    sources = [source for source, *_ in mine]
    there = [n for n in left if sources[:n].count(sources[n]) < arrived[sources[n]]]
    some = [s for count in range(1, len(there) + 1) for s in combinations(there, count)]
    nothing = MPI.UNDEFINED
    return {
        "Waitany": [((n,), n) for n in there] if left else [((), nothing)],
        "Testany": [*(((n,), (n, True)) for n in there), ((), (nothing, not left))],
        "Waitsome": [(s, s) for s in some] if left else [((), None)],
        "Testsome": [*((s, s) for s in some), ((), ())] if left else [((), None)],
        "Testall": [((), False)] * bool(left) + [(tuple(left), True)] * (there == left),
    }[call]


def with_at(whole, index, part):
    return (*whole[:index], part, *whole[index + 1 :])


@pytest.mark.parametrize("machine", [INSTANT, BUFFERED], ids=lambda machine: machine.name)
@settings(max_examples=200)
@given(SCRIPTS, st.integers(1, 2))
def test_what_is_explored_is_all_that_can_happen(machine, script, vain_tests):
    explored = set(explore(partial(run, script, machine, vain_tests)))
    assert explored == possible(script, machine is BUFFERED, vain_tests)


@pytest.mark.parametrize("eager", [0, 100])
@given(SCRIPTS, st.sampled_from([0.0, 1.0]))
def test_what_happens_by_the_clock_is_one_of_them(eager, script, latency):
    machine = Machine("any", latency=latency, eager=eager)
    assert run(script, machine, 0, None) in possible(script, eager > 0, 10)
