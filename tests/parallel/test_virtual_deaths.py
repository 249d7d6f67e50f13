"""Ranks of a virtual cluster die, and the others are told what MPI 5.0 and Open MPI would tell."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

from minidl.parallel.virtual import DEAD, Death, Machine, VirtualCluster, VirtualError, explore

EAGER = Machine("sends small messages at once", eager=100)
SLOW = Machine("slow", latency=1.0, bandwidth=10.0, eager=100)  # 8 bytes take 1.8 seconds
LARGE = 1000
HOW = pytest.mark.parametrize("how", [{}, {"choose": lambda options: 0}], ids=["clock", "chooser"])
REVOKED = MPI.ERR_REVOKED, "the communicator is revoked"


def has_died(rank):
    return MPI.ERR_PROC_FAILED, f"rank {rank} has died"


def in_status(rank):
    return MPI.ERR_IN_STATUS, f"of several requests one failed: rank {rank} has died"


def array(size=1, value=0.0):
    return np.full(size, float(value))


def raised(call, *arguments):
    """The class and the words of what a call raises, or None."""
    try:
        call(*arguments)
    except MPI.Exception as error:
        return error.Get_error_class(), str(error)
    return None


def failed_ranks(comm):
    """The numbers of those who have died; the same lines do with Open MPI's."""
    failed, everyone = comm.Get_failed(), comm.Get_group()
    return failed.Translate_ranks(None, everyone)


def run(program, ranks=2, machine=EAGER, deaths=None, **how):
    return VirtualCluster(ranks, machine, deaths=deaths, **how).run(program)


def with_the_last_dead(survivor, ranks=2, last=lambda comm: None, **how):
    """Let all but the last do something after the last has done its part, and died; what they say.

    The part is made of calls that end by themselves; the last of them makes the others go on.
    """
    calls = []

    def program(comm):
        if comm.rank < ranks - 1:
            assert raised(comm.Recv, array(), ranks - 1, 99) == has_died(ranks - 1)
            return survivor(comm)
        last(comm)
        calls.append(comm.member.calls)
        comm.Barrier()
        raise AssertionError("the dead go on")

    machine = how.pop("machine", EAGER)
    counted = Death(calls=how.pop("calls", 0))
    *said, end = run(program, ranks, machine, {ranks - 1: counted}, **how)
    assert end is DEAD
    return said


# Who dies, and when.


@HOW
@pytest.mark.parametrize("calls", range(5))
def test_a_rank_makes_so_many_calls_and_no_more(how, calls):
    done = []

    def program(comm):
        if comm.rank == 0:
            got = array()
            return [got[0] for _ in range(6) if raised(comm.Recv, got, 1) is None]
        try:
            for number in range(4):
                comm.Isend(array(value=number), 0)
                done.append(number)
        finally:
            comm.Isend(array(value=9), 0)

    got, end = run(program, deaths={1: Death(calls=calls)}, **how)
    assert got == done == list(range(calls))
    assert end is DEAD


def test_who_makes_fewer_calls_than_that_lives():
    assert run(lambda comm: comm.rank, deaths={1: Death(calls=0)}) == [0, 1]


@pytest.mark.parametrize(
    ("time", "past"),
    [(0.0, []), (1.0, []), (1.5, [1.0]), (2.8, [1.0]), (3.0, [1.0, 2.8]), (9.0, [1.0, 2.8])],
)
def test_a_rank_dies_at_a_time_be_it_that_it_computes_or_waits(time, past):
    done = []

    def program(comm):
        comm.compute(1.0)
        if comm.rank == 0:
            comm.Send(array(), 1)
            return
        assert not comm.Is_revoked()
        done.append(comm.clock())
        comm.Recv(array(), 0)  # from 1.0 to 2.8
        done.append(comm.clock())
        comm.compute(6.2)

    _, end = run(program, 2, SLOW, {1: Death(time=time)})
    assert (done, end) == (past, DEAD)
    assert run(program, 2, SLOW, {1: Death(time=9.5)})[1] is None


@pytest.mark.parametrize(
    ("deaths", "how"),
    [({2: Death(calls=1)}, {}), ({1: Death(time=1.0)}, {"choose": lambda options: 0})],
)
def test_deaths_that_cannot_be(deaths, how):
    with pytest.raises(ValueError, match=r"rank \d shall die"):
        VirtualCluster(2, deaths=deaths, **how)


def test_all_can_die():
    assert run(lambda comm: comm.Barrier(), deaths=dict.fromkeys(range(2), Death(calls=1))) == [
        DEAD,
        DEAD,
    ]


# Messages.


@HOW
def test_what_was_sent_arrives_if_it_had_not_to_wait(how):
    def program(comm):
        if comm.rank == 1:
            comm.Isend(array(value=5), 0, tag=1)
            comm.Isend(array(LARGE, 6), 0, tag=2)
            comm.Isend(array(LARGE, 7), 0, tag=3)
            comm.Barrier()
        got = array(LARGE)
        comm.Recv(got, 1, tag=3)
        assert set(got) == {7}
        assert raised(comm.Recv, array(), 1, 99) == has_died(1)
        assert raised(comm.Recv, got, 1, 2) == has_died(1)
        comm.Recv(got[:1], 1, tag=1)
        assert got[0] == 5
        return raised(comm.Recv, got[:1], 1, 1)

    assert run(program, deaths={1: Death(calls=4)}, **how) == [has_died(1), DEAD]


@HOW
def test_what_is_sent_to_the_dead(how):
    def survivor(comm):
        request = comm.Isend(array(LARGE), 1)
        return (
            raised(comm.Send, array(), 1),
            raised(request.Wait),
            raised(comm.Isend(array(LARGE), 1).Test),
        )

    assert with_the_last_dead(survivor, **how) == [(None, has_died(1), has_died(1))]


@HOW
def test_who_waits_for_one_who_dies(how):
    """Rank 2 dies when rank 1 has sent to it, and all wait for it."""

    def program(comm):
        if comm.rank == 0:
            return raised(comm.Recv, array(), 2)
        if comm.rank == 1:
            return raised(comm.Send, array(LARGE), 2, 7)
        comm.Probe(tag=7)
        return comm.Barrier()

    assert run(program, 3, deaths={2: Death(calls=1)}, **how) == [has_died(2)] * 2 + [DEAD]


@HOW
def test_the_living_still_talk(how):
    def survivor(comm):
        got = array()
        comm.Isend(array(value=comm.rank), 1 - comm.rank)
        comm.Recv(got, 1 - comm.rank)
        return got[0]

    assert with_the_last_dead(survivor, 3, **how) == [1, 0]


def test_a_wait_ends_at_the_time_of_death():
    def program(comm):
        if comm.rank == 1:
            comm.compute(100.0)
            return None
        error = raised(comm.Recv, array(), 1)
        return error, comm.clock()

    assert run(program, deaths={1: Death(time=7.5)}) == [(has_died(1), 7.5), DEAD]


# Messages from anybody.


@HOW
def test_nobody_waits_for_anybody_while_a_death_is_not_acknowledged(how):
    def program(comm):
        if comm.rank > 0:
            if comm.rank == 1:
                comm.Recv(array(), 0)
                comm.Send(array(value=4), 0)
                comm.Recv(array(), 0)
            comm.Barrier()
        said = [raised(comm.Probe), raised(comm.Recv, array())]
        said.append(comm.Ack_failed())
        comm.Isend(array(), 1)
        got = array()
        comm.Recv(got)
        comm.Isend(array(), 1)
        return [*said, got[0], raised(comm.Recv, array()), comm.Ack_failed(0), comm.Ack_failed()]

    deaths = {1: Death(calls=6), 2: Death(calls=0)}
    assert run(program, 3, deaths=deaths, **how) == [
        [has_died(2), has_died(2), 1, 4, has_died(1), 1, 2],
        DEAD,
        DEAD,
    ]


def test_a_message_that_is_there_is_found_whoever_has_died():
    def survivor(comm):
        status = MPI.Status()
        comm.Probe(status=status)
        assert comm.Iprobe()
        comm.Recv(array())
        return status.Get_tag(), raised(comm.Iprobe), comm.Ack_failed(), comm.Iprobe()

    sends = lambda comm: comm.Isend(array(), 0, tag=3)  # noqa: E731
    assert with_the_last_dead(survivor, last=sends, calls=1) == [(3, has_died(1), 1, False)]


@pytest.mark.parametrize(("time", "said"), [(1.7, "dead"), (1.9, "message")])
def test_by_the_clock_what_comes_first_is_told(time, said):
    def program(comm):
        if comm.rank == 1:
            comm.Send(array(), 0)  # arrives at 1.8
        if comm.rank == 2:
            comm.Recv(array(), 0)
        if comm.rank == 0:
            error = raised(comm.Probe)
            assert comm.clock() == min(time, 1.8)
            comm.Ack_failed()
            comm.Recv(array())
            return "dead" if error else "message"
        return None

    assert run(program, 3, SLOW, {2: Death(time=time)})[0] == said


def test_in_a_choosers_hand_both_come_first():
    def program(comm):
        if comm.rank == 1:
            comm.Send(array(), 0)
        if comm.rank == 2:
            comm.Barrier()
        if comm.rank == 0:
            error = raised(comm.Probe)
            comm.Ack_failed()
            comm.Recv(array())
            return "dead" if error else "message"
        return None

    deaths = {2: Death(calls=0)}
    said = [
        run(program, 3, deaths=deaths, choose=c)[0] for c in [lambda o: 0, lambda o: len(o) - 1]
    ]
    assert said == ["message", "dead"]
    every = list(explore(lambda choose: run(program, 3, deaths=deaths, choose=choose)[0]))
    assert sorted(every) == ["dead", "message"]


def test_every_order_is_explored_where_a_death_can_prevent_what_could_be():
    """Rank 0 revokes, told of the death; rank 1 may have had its message before, or not."""

    def program(comm):
        if comm.rank == 0:
            own = comm.Split(0)
            error = raised(own.Probe)
            comm.Revoke()
            return error
        if comm.rank == 1:
            comm.Split(1)
            return raised(comm.Probe)
        if comm.rank == 2:
            comm.Split(1)
            comm.Isend(array(), 1)
            return None
        comm.Split(0)
        return comm.Barrier()

    def ends(choose):
        return run(program, 4, deaths={3: Death(calls=2)}, choose=choose)

    every = [said[1] for said in explore(ends)]
    assert sorted(every, key=str) == sorted([None, has_died(3), REVOKED], key=str)


@pytest.mark.parametrize(("sent", "said"), [(1.0, None), (1.3, has_died(2))])
def test_by_the_clock_a_message_that_is_there_is_told_whoever_died_before(sent, said):
    """One that is sent at 1.0 is there at 2.8, one that is sent at 1.3 is not there at 3.0."""

    def program(comm):
        if comm.rank == 1:
            comm.compute(sent)
            comm.Send(array(), 0)
        comm.compute(3.0)
        if comm.rank == 0:
            error = raised(comm.Probe)
            assert comm.clock() == 3.0
            comm.Ack_failed()
            comm.Recv(array())
            return error
        return None

    assert run(program, 3, SLOW, {2: Death(time=1.0)})[0] == said


@HOW
def test_one_dies_before_it_waits_for_anybody(how):
    said = run(lambda comm: comm.Probe() if comm.rank else None, deaths={1: Death(0)}, **how)
    assert said == [None, DEAD]


# Several requests.


@HOW
@pytest.mark.parametrize("call", ["Waitall", "Waitsome", "Testall", "Testsome"])
def test_of_several_requests_one_fails(how, call):
    def survivor(comm):
        requests = [comm.Irecv(array(), 1)]
        error = raised(getattr(type(requests[0]), call), requests)
        return error, raised(getattr(type(requests[0]), call), requests)

    assert with_the_last_dead(survivor, **how) == [(in_status(1), None)]


@HOW
def test_all_are_not_waited_for_when_one_has_failed(how):
    def survivor(comm):
        got = array(), array()
        requests = [comm.Irecv(got[0], 1 - comm.rank), comm.Irecv(got[1], 2)]
        error = raised(type(requests[0]).Waitall, requests)
        comm.Send(array(value=5), 1 - comm.rank)
        requests[0].Wait()
        return error, got[0][0]

    assert with_the_last_dead(survivor, 3, **how) == [(in_status(2), 5)] * 2


@HOW
@pytest.mark.parametrize("call", ["Waitany", "Testany"])
def test_of_several_requests_the_first_fails(how, call):
    def survivor(comm):
        requests = [comm.Irecv(array(), 0), comm.Irecv(array(), 1)]
        error = raised(getattr(type(requests[0]), call), requests)
        comm.Send(array(), 0)
        return error, type(requests[0]).Waitany(requests)

    assert with_the_last_dead(survivor, **how) == [(has_died(1), 0)]


# Collective calls.

CALLS = {
    "Barrier": lambda comm: comm.Barrier(),
    "Allreduce": lambda comm: comm.Allreduce(array(), array()),
    "Allgather": lambda comm: comm.Allgather(array(), array(comm.size)),
    "Split": lambda comm: comm.Split(),
    "Dup": lambda comm: comm.Dup(),
    "Bcast by the dead": lambda comm: comm.Bcast(array(), 2),
    "Bcast by the living": lambda comm: comm.Bcast(array(), 0),
    "Reduce to the dead": lambda comm: comm.Reduce(array(), array(), root=2),
    "Reduce to the living": lambda comm: comm.Reduce(array(), array(), root=0),
    "Gather": lambda comm: comm.Gather(array(), array(comm.size), root=0),
}
COMPLETE = {
    "Bcast by the living": (0, 1),
    "Reduce to the dead": (0, 1),
    "Reduce to the living": (1,),
    "Gather": (1,),
}


@HOW
@pytest.mark.parametrize("when", ["before", "while they wait"])
@pytest.mark.parametrize("name", CALLS)
def test_who_waits_in_a_collective_call_for_the_dead(name, when, how):
    def program(comm):
        if comm.rank == 2:
            if when == "while they wait":
                comm.Recv(array(), 0)
            return comm.Barrier()
        if when == "while they wait" and comm.rank == 0:
            comm.Isend(array(), 2)
        return raised(CALLS[name], comm)

    calls = 2 if when == "while they wait" else 0
    said = run(program, 3, deaths={2: Death(calls=calls)}, **how)
    complete = COMPLETE.get(name, ())
    assert said == [None if rank in complete else has_died(2) for rank in range(2)] + [DEAD]


def test_by_the_clock_a_part_that_was_made_counts():
    def program(comm):
        total = array()
        comm.Allreduce(array(value=2**comm.rank), total)
        return total[0]

    assert run(program, 3, deaths={1: Death(calls=1)}) == [7, DEAD, 7]


def test_in_a_choosers_hand_a_call_in_which_one_dies_completes_for_some_of_the_others():
    def program(comm):
        total = array()
        return raised(comm.Allreduce, array(value=1), total) or total[0]

    said = explore(lambda choose: run(program, 3, deaths={1: Death(calls=1)}, choose=choose))
    outcomes = {(first, last) for first, _, last in said}
    assert outcomes == set(itertools.product([3, has_died(1)], repeat=2))


@HOW
def test_collective_calls_still_match_after_one_has_failed(how):
    def survivor(comm):
        first = raised(comm.Bcast, array(), 2)
        got = array(value=comm.rank + 5)
        comm.Bcast(got, 1)
        return first, got[0]

    assert with_the_last_dead(survivor, 3, **how) == [(has_died(2), 6)] * 2


def test_who_dies_in_splitting_may_be_a_member():
    def program(comm):
        return raised(comm.Split(comm.rank % 2).Barrier)

    assert run(program, 4, deaths={2: Death(calls=1)}) == [has_died(2), None, DEAD, None]


# Revoking.


@HOW
@pytest.mark.parametrize(
    "call",
    [
        *CALLS.values(),
        lambda comm: comm.Recv(array(), 0),
        lambda comm: comm.Recv(array()),
        lambda comm: comm.Probe(),
        lambda comm: comm.Send(array(LARGE), 0),
        lambda comm: comm.Isend(array(), 0).Wait(),
    ],
)
@pytest.mark.parametrize("begun", ["before", "after"])
def test_nothing_goes_on_in_a_revoked_communicator(begun, call, how):
    def program(comm):
        if comm.rank == 0:
            comm.Recv(array(), 2, 98)  # the others wait, or will look
            comm.Revoke()
            return comm.Is_revoked()
        comm.Isend(array(), 0, 98)
        if begun == "after":
            assert raised(comm.Recv, array(), 0, 99) == REVOKED
            return raised(call, comm)
        error = raised(call, comm)
        return error or raised(comm.Barrier)  # what need not wait completes

    assert run(program, 3, **how) == [True, REVOKED, REVOKED]


def test_revoking_takes_effect_when_it_is_done():
    def program(comm):
        if comm.rank == 0:
            comm.compute(5.0)
            return comm.Revoke()
        comm.Isend(array(), 1)
        comm.Recv(array(), 1)
        return comm.clock(), comm.Is_revoked(), raised(comm.Recv, array(), 0), comm.clock()

    assert run(program, 2, SLOW)[1] == (1.8, False, REVOKED, 5.0)


def test_in_a_choosers_hand_revoking_may_come_before_what_else_completes():
    def program(comm):
        total = array()
        error = raised(comm.Allreduce, array(value=1), total)
        if comm.rank == 1:
            comm.Revoke()
        return error or total[0]

    assert list(explore(lambda c: run(program, choose=c))) == [[2, 2], [REVOKED, 2]]


@HOW
def test_other_communicators_are_not_revoked(how):
    def program(comm):
        other = comm.Dup()
        comm.Revoke()
        other.Barrier()
        return comm.Is_revoked(), other.Is_revoked()

    assert run(program, **how) == [(True, False)] * 2


# Shrinking, and agreeing.


@HOW
@pytest.mark.parametrize("revoked", [False, True])
def test_a_shrunk_communicator_is_of_the_living_in_their_order(how, revoked):
    def program(comm):
        if comm.rank in (0, 2):
            comm.Barrier()
        if revoked:
            comm.Revoke()
        living = comm.Shrink()
        numbers, failed = array(living.size), sorted(failed_ranks(comm))
        living.Allgather(array(value=comm.rank), numbers)
        return living.rank, list(numbers), failed, failed_ranks(living), living.Is_revoked()

    deaths = {0: Death(calls=0), 2: Death(calls=1)}
    said = run(program, 5, deaths=deaths, **how)
    assert [end is DEAD for end in said] == [True, False, True, False, False]
    living = [end for end in said if end is not DEAD]
    assert living == [(rank, [1, 3, 4], [0, 2], [], False) for rank in range(3)]


@HOW
@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_who_dies_on_the_way_to_shrinking_is_left_out(how, calls):
    def program(comm):
        if comm.rank == 1:
            comm.Recv(array(), 2)  # the others are there before
        elif comm.rank == 2:
            comm.Isend(array(), 1)
        return comm.Shrink().size

    left = 2 if calls < 3 else 3  # who dies when all have agreed is a member
    assert run(program, 3, deaths={1: Death(calls=calls)}, **how) == [left, DEAD, left]


@HOW
def test_who_dies_after_the_agreement_is_a_member(how):
    def program(comm):
        living = comm.Shrink()
        return living.size, raised(living.Barrier)

    said = run(program, 3, deaths={1: Death(calls=2)}, **how)
    assert said == [(3, has_died(1)), DEAD, (3, has_died(1))]


@HOW
def test_all_agree(how):
    assert (
        run(lambda comm: comm.Agree([0b1110, 0b0111, 0b1111][comm.rank]), 3, **how) == [0b110] * 3
    )


@HOW
def test_all_are_told_of_a_death_that_not_all_have_acknowledged(how):
    def survivor(comm):
        said = [raised(comm.Agree, 1)]
        if comm.rank == 0:
            comm.Ack_failed()
        said.append(raised(comm.Agree, 1))
        comm.Ack_failed()
        comm.Revoke()
        return [*said, comm.Agree(2 + comm.rank)]

    assert with_the_last_dead(survivor, 3, **how) == [[has_died(2)] * 2 + [2]] * 2


def test_an_agreement_waits_for_the_last_of_the_living_or_their_deaths():
    def program(comm):
        comm.compute(float(comm.rank))
        comm.Shrink()
        return comm.clock()

    assert run(program, 3, deaths={2: Death(time=1.5)}) == [1.5, 1.5, DEAD]
    assert run(program, 3) == [2.0] * 3
    assert run(program, 3, SLOW, {2: Death(time=0.0)})[0] == pytest.approx(1 + 1 + 4 / 10)


def test_failures_are_counted_up_to_now():
    def program(comm):
        said = []
        for _ in range(3 if comm.rank == 0 else 0):
            said.append(failed_ranks(comm))
            said.append(comm.Ack_failed(1))
            comm.compute(2.0)
        comm.compute(9.0)
        return said

    said = run(program, 3, deaths={1: Death(time=3.0), 2: Death(time=1.0)})[0]
    assert said == [[], 0, [2], 1, [2, 1], 1]


def test_numbers_in_another_group():
    def survivor(comm):
        living = comm.Shrink()
        here, there = comm.Get_group(), living.Get_group()
        there.Free()
        return (
            here.Get_size(),
            comm.Get_failed().Get_size(),
            there.Translate_ranks([1, 0], here),
            here.Translate_ranks(None, there),
        )

    assert with_the_last_dead(survivor, 3) == [(3, 1, [1, 0], [0, 1, MPI.UNDEFINED])] * 2


# What is still an error.


@HOW
def test_who_shrinks_while_another_waits_is_stuck(how):
    def program(comm):
        if comm.rank == 0:
            comm.Shrink()
        elif comm.rank == 1:
            comm.Recv(array(), 0)
        else:
            comm.Barrier()

    with pytest.raises(VirtualError) as caught:
        run(program, 3, deaths={2: Death(calls=0)}, **how)
    story = str(caught.value)
    assert "deadlock: 2 of 3 ranks wait" in story
    assert "rank 0 waits for Shrink by rank 1\n" in story
    assert "in a circle: rank 0 -> rank 1 -> rank 0" in story


def test_who_waits_for_anybody_though_only_the_dead_are_left():
    def survivor(comm):
        comm.Ack_failed()
        comm.Probe()

    with pytest.raises(VirtualError, match=r"a message from anybody \(rank 1 has died\)"):
        with_the_last_dead(survivor)


def test_shrinking_does_not_match_agreeing():
    with pytest.raises(VirtualError, match="rank 1 calls Agree where others called Shrink"):
        run(lambda comm: comm.Shrink() if comm.rank == 0 else comm.Agree(1))


@HOW
def test_what_the_living_leave_over_is_told_and_what_the_dead_do_is_not(how):
    def survivor(comm, dest, tag):
        if comm.rank == 0:
            comm.Send(array(), dest, tag)

    talks = lambda comm: comm.Isend(array(), 0)  # noqa: E731
    with_the_last_dead(lambda comm: survivor(comm, 2, 7), 3, talks, calls=1, **how)
    with pytest.raises(VirtualError, match="nobody received: rank 0 to rank 1, tag 7"):
        with_the_last_dead(lambda comm: survivor(comm, 1, 7), 3, **how)


def test_what_dies_with_a_communicator_is_not_left_over():
    def program(comm):
        comm.Isend(array(), 1 - comm.rank)
        comm.Irecv(array(), 1 - comm.rank, tag=7)
        if comm.rank == 0:
            comm.Iallreduce(array(), array())
        comm.Agree(1)
        comm.Revoke()

    run(program)


# Programs that survive.


def patient(comm):
    """Add up until all who live know the sum; return who was asked, and the sum."""
    numbers = list(range(comm.size))
    while True:
        total = array()
        error = raised(comm.Allreduce, array(value=2 ** numbers[comm.rank]), total)
        if error:
            comm.Revoke()
        comm.Ack_failed()
        try:
            agreed = comm.Agree(error is None)
        except MPI.Exception:
            agreed = False
        if agreed:
            return numbers, total[0]
        living = comm.Shrink()
        places = living.Get_group().Translate_ranks(None, comm.Get_group())
        comm, numbers = living, [numbers[place] for place in places]


def hasty(comm):
    """Add up; on failure revoke, shrink, and add up again."""
    total = array()
    if raised(comm.Allreduce, array(value=1), total):
        comm.Revoke()
        comm.Shrink().Allreduce(array(value=1), total)
    return total[0]


def check_sums(ends, deaths):
    """All who live end, with the same sum: of all who have not died before it was begun."""
    living = [end for end in ends if end is not DEAD]
    if living:
        numbers, total = living[0]
        assert all(end == (numbers, total) for end in living)
        assert total == sum(2**number for number in numbers)
        assert set(numbers) >= set(range(len(ends))) - set(deaths)


@given(
    st.integers(1, 6).flatmap(
        lambda ranks: st.tuples(
            st.just(ranks),
            st.dictionaries(st.integers(0, ranks - 1), st.integers(0, 14).map(Death)),
            st.one_of(st.none(), st.lists(st.integers(0, 7), max_size=40)),
        )
    )
)
def test_who_agrees_survives_any_deaths(drawn):
    ranks, deaths, picks = drawn
    left = iter(picks or ())
    how = {} if picks is None else {"choose": lambda options: next(left, 0) % len(options)}
    check_sums(run(patient, ranks, deaths=deaths, **how), deaths)


def test_all_may_die_while_they_agree():
    deaths = {0: Death(0), 1: Death(11), 2: Death(12)}
    assert run(patient, 3, deaths=deaths) == [DEAD] * 3


def test_who_agrees_survives_each_death_in_every_order():
    schedules, ended = 0, []
    for rank in range(3):
        for calls in itertools.count():
            deaths = {rank: Death(calls)}
            every = list(explore(lambda c: run(patient, 3, deaths=deaths, choose=c)))  # noqa: B023
            for ends in every:
                check_sums(ends, deaths)
            schedules += len(every)
            if not any(end is DEAD for ends in every for end in ends):
                ended.append(calls)
                break
    assert ended == [5] * 3  # Allreduce and Agree are two calls each, Ack_failed is one
    assert schedules > 3 * 6  # some of a call in which one dies


def test_who_does_not_agree_is_caught():
    """Some have their sum, and end, where others go to shrink."""
    told = []

    def outcome(choose):
        try:
            return run(hasty, 3, deaths={1: Death(calls=1)}, choose=choose)
        except VirtualError as error:
            told.append(str(error))

    ends = [end for end in explore(outcome) if end is not None]
    assert sorted(set(map(tuple, ends)), key=str) == [(2, DEAD, 2), (3, DEAD, 3)]
    assert told
    assert all("waits for Shrink by rank" in story and "has ended)" in story for story in told)
