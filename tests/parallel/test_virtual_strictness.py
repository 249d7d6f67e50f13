"""A virtual cluster is as strict as MPI allows, says what is wrong, and keeps time by its formulas.

``here`` in an expected message is the line of the program below that it has to name.
"""

import re

import numpy as np
import pytest
from mpi4py import MPI

from minidl.parallel.virtual import Machine, Stragglers, VirtualCluster, VirtualError
from minidl.parallel.virtual.promises import Case, train

SMALL, LARGE = np.zeros(1), np.zeros(100_000)
EAGER = Machine("sends small messages at once", eager=100)
SLOW = Machine("slow", latency=1.0, bandwidth=10.0)  # a message of 10 bytes takes 2 seconds


def line(program, call):
    """Where the program makes a call: the file and the line."""
    code = program.__code__
    with open(code.co_filename) as file:
        lines = list(enumerate(file, 1))[code.co_firstlineno - 1 :]
    number = next(number for number, text in lines if call in text)
    return f"{code.co_filename}:{number}, in {code.co_name}"


def refused(program, ranks=2, **cluster):
    """Run what must not be done; return what the cluster says."""
    with pytest.raises(VirtualError) as caught:
        VirtualCluster(ranks, **cluster).run(program)
    return str(caught.value)


def times(program, ranks, machine=SLOW):
    """When each rank ends."""

    def timed(comm):
        program(comm)
        return comm.clock()

    return VirtualCluster(ranks, machine).run(timed)


# Deadlocks are told as a story.


def test_two_who_both_receive_first():
    def program(comm):
        comm.Recv(np.empty(1), 1 - comm.rank, tag=5 + comm.rank)
        comm.Send(SMALL, 1 - comm.rank, tag=6 - comm.rank)

    where = line(program, "comm.Recv")
    assert refused(program).splitlines() == [
        "deadlock: 2 of 2 ranks wait, and nobody can go on",
        "  rank 0 waits for a message from rank 1 with tag 5",
        f"    {where}",
        "  rank 1 waits for a message from rank 0 with tag 6",
        f"    {where}",
        "  in a circle: rank 0 -> rank 1 -> rank 0",
    ]


def test_two_who_both_send_what_is_not_short():
    def program(comm, buffer):
        comm.Send(buffer, 1 - comm.rank, tag=3)
        comm.Recv(buffer.copy(), 1 - comm.rank)

    story = refused(lambda comm: program(comm, LARGE), machine=EAGER)
    assert "rank 0 waits for rank 1 to receive its 800000 bytes with tag 3" in story
    assert "rank 1 waits for rank 0 to receive its 800000 bytes with tag 3" in story
    assert line(program, "comm.Send") in story
    assert "in a circle: rank 0 -> rank 1 -> rank 0" in story
    VirtualCluster(2, EAGER).run(lambda comm: program(comm, SMALL))


def test_a_collective_call_that_one_does_not_make():
    def program(comm):
        comm.Allreduce(MPI.IN_PLACE, SMALL.copy())
        if comm.rank != 2:
            comm.Barrier()
        else:
            comm.Recv(np.empty(1), 0, tag=1)

    story = refused(program, 4)
    assert "rank 0 waits for Barrier, call 1 of its communicator, by rank 2" in story
    assert "rank 2 waits for a message from rank 0 with tag 1" in story
    assert line(program, "comm.Barrier") in story and line(program, "comm.Recv") in story
    assert "in a circle: rank 0 -> rank 2 -> rank 0" in story


def test_one_who_waits_for_somebody_who_has_ended():
    def program(comm):
        if comm.rank == 1:
            comm.Recv(np.empty(1), 0)

    assert refused(program).splitlines() == [
        "deadlock: 1 of 2 ranks wait, and nobody can go on",
        "  rank 1 waits for a message from rank 0 with any tag (rank 0 has ended)",
        f"    {line(program, 'comm.Recv')}",
    ]


def test_one_who_waits_for_anybody():
    def program(comm):
        if comm.rank == 0:
            comm.Recv(np.empty(1), tag=4)

    for how in ({}, {"choose": lambda options: 0}):
        assert "rank 0 waits for a message from anybody with tag 4" in refused(program, 3, **how)


def test_a_message_with_another_tag_does_not_do():
    def program(comm):
        if comm.rank == 0:
            comm.Recv(np.empty(1), 1, tag=4)
        else:
            comm.Isend(SMALL, 0, tag=3)

    assert "rank 0 waits for a message from rank 1 with tag 4" in refused(program)


def test_a_message_to_oneself_that_is_not_received_yet():
    def program(comm):
        comm.Send(SMALL, comm.rank)

    assert "in a circle: rank 0 -> rank 0" in refused(program, 1)


def test_the_circle_is_found_beside_those_who_only_wait_for_it():
    def program(comm):
        waits_for = [1, 4, 3, 2, None][comm.rank]
        if waits_for is not None:
            comm.Recv(np.empty(1), waits_for)

    story = refused(program, 5)
    assert "in a circle: rank 2 -> rank 3 -> rank 2" in story
    assert "rank 1 waits for a message from rank 4 with any tag (rank 4 has ended)" in story


def test_where_nobody_waits_in_a_circle_none_is_told():
    def program(comm):
        if comm.rank < 2:
            comm.Recv(np.empty(1), comm.rank + 1)

    assert "circle" not in refused(program, 3)


def test_a_rank_in_a_part_is_told_by_its_number_in_the_whole():
    def program(comm):
        part = comm.Split(comm.rank // 2)
        if comm.rank == 2:
            part.Recv(np.empty(1), 1)

    assert "rank 2 waits for a message from rank 3" in refused(program, 4)


# Collective calls have to match.


@pytest.mark.parametrize(
    ("first", "second", "told_first", "told_second"),
    [
        (
            lambda comm: comm.Barrier(),
            lambda comm: comm.Bcast(SMALL.copy()),
            "Barrier (root 0, 0 bytes of float64)",
            "Bcast (root 0, 8 bytes of float64)",
        ),
        (
            lambda comm: comm.Bcast(SMALL.copy(), 0),
            lambda comm: comm.Bcast(SMALL.copy(), 1),
            "Bcast (root 0, 8 bytes of float64)",
            "Bcast (root 1, 8 bytes of float64)",
        ),
        (
            lambda comm: comm.Iallreduce(MPI.IN_PLACE, np.zeros(2)).Wait(),
            lambda comm: comm.Iallreduce(MPI.IN_PLACE, np.zeros(3)).Wait(),
            "Allreduce (root 0, 16 bytes of float64, add)",
            "Allreduce (root 0, 24 bytes of float64, add)",
        ),
        (
            lambda comm: comm.Bcast(np.zeros(1)),
            lambda comm: comm.Bcast(np.zeros(2, np.float32)),
            "Bcast (root 0, 8 bytes of float64)",
            "Bcast (root 0, 8 bytes of float32)",
        ),
        (
            lambda comm: comm.Allreduce(MPI.IN_PLACE, SMALL.copy(), MPI.MAX),
            lambda comm: comm.Allreduce(MPI.IN_PLACE, SMALL.copy(), MPI.MIN),
            "Allreduce (root 0, 8 bytes of float64, maximum)",
            "Allreduce (root 0, 8 bytes of float64, minimum)",
        ),
        (
            lambda comm: comm.Dup(),
            lambda comm: comm.Split(),
            "Dup (root 0, 16 bytes of int64)",
            "Split (root 0, 16 bytes of int64)",
        ),
    ],
    ids=["kind", "root", "size", "dtype", "operation", "dup"],
)
def test_calls_that_do_not_match(first, second, told_first, told_second):
    message = refused(lambda comm: (first, second)[comm.rank](comm))
    assert re.search(
        f"rank 1 calls {re.escape(told_second)} at .*{re.escape(__file__)}:"
        f"{second.__code__.co_firstlineno}, in .* where rank 0 called {re.escape(told_first)} at "
        f".*{re.escape(__file__)}:{first.__code__.co_firstlineno}, in",
        message,
    )


def test_a_call_of_another_communicator_is_another_call():
    def program(comm):
        one, other = comm.Dup(), comm.Dup()
        (one if comm.rank == 0 else other).Barrier()

    assert "deadlock" in refused(program)


@pytest.mark.parametrize(
    "receive", [np.zeros(3), np.zeros(1), np.zeros(4, np.float32), np.zeros(2, np.int64)]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda comm, receive: comm.Gather(np.zeros(1), receive),
        lambda comm, receive: comm.Allgather(np.zeros(1), receive),
        lambda comm, receive: comm.Reduce(np.zeros(2), receive),
        lambda comm, receive: comm.Allreduce(np.zeros(2), receive),
    ],
    ids=["Gather", "Allgather", "Reduce", "Allreduce"],
)
def test_a_buffer_that_is_not_made_for_what_comes(call, receive):
    assert "where 16 of float64 come" in refused(lambda comm: call(comm, receive))


def test_a_root_receives_something():
    for call in ("Reduce", "Gather"):
        said = refused(lambda comm, call=call: getattr(comm, call)(SMALL.copy(), None))
        assert f"rank 0, the root, receives nothing in {call}" in said


def test_in_place_is_for_those_who_receive():
    def program(comm):
        comm.Reduce(MPI.IN_PLACE, SMALL.copy(), root=0)

    assert "only who receives can send in place" in refused(program)


def test_the_same_buffer_is_not_sent_and_received_into():
    def program(comm):
        buffer = np.zeros(1)
        comm.Allreduce(buffer, buffer)

    assert "MPI.IN_PLACE" in refused(program)


# Messages have to fit, and buffers are left alone.


def test_a_message_that_is_too_long():
    def program(comm):
        if comm.rank == 0:
            comm.Send(np.zeros(3), 1, tag=9)
        else:
            comm.Recv(np.empty(2), 0)

    said = refused(program)
    assert "rank 1 receives 16 bytes of float64 where rank 0 sent 24 of float64, tag 9" in said
    assert line(program, "comm.Send") in said


def test_a_message_of_another_type():
    def program(comm):
        if comm.rank == 0:
            comm.Recv(np.empty(2, np.int32), 1)
        else:
            comm.Send(np.zeros(1), 0, tag=9)

    said = refused(program)
    assert "rank 0 receives 8 bytes of int32 where rank 1 sent 8 of float64, tag 9" in said


def test_a_shorter_message_leaves_the_rest_as_garbage():
    def program(comm):
        if comm.rank == 0:
            comm.Send(np.ones(2), 1)
        else:
            buffer, status = np.zeros(3), MPI.Status()
            comm.Recv(buffer, 0, status=status)
            assert buffer[:2].tolist() == [1, 1] and np.isnan(buffer[2])
            assert status.Get_count(MPI.DOUBLE) == 2

    VirtualCluster(2).run(program)


@pytest.mark.parametrize("machine", [SLOW, EAGER], ids=lambda machine: machine.name)
@pytest.mark.parametrize("wait", ["Wait", "Test"])
def test_a_buffer_that_changes_while_it_is_sent(machine, wait):
    def program(comm):
        buffer = np.zeros(1)
        if comm.rank == 0:
            request = comm.Isend(buffer, 1, tag=2)
            buffer[0] = 1
            comm.compute(100)
            getattr(request, wait)()
        else:
            comm.Recv(buffer, 0)

    said = refused(program, machine=machine)
    assert "rank 0 changed a buffer while it was being sent to rank 1 with tag 2" in said


@pytest.mark.parametrize("call", ["Ibcast", "Ireduce", "Iallreduce"])
def test_a_buffer_that_changes_while_it_is_in_a_collective_call(call):
    def program(comm):
        send, receive = np.zeros(1), np.zeros(1)
        begin = getattr(comm, call)
        request = begin(send) if call == "Ibcast" else begin(send, receive)
        if comm.rank == 0:
            send[0] = 1
        request.Wait()

    assert f"rank 0 changed a buffer while it was in {call[1:].capitalize()}" in refused(program)


@pytest.mark.parametrize(
    ("dtype", "garbage"), [("f8", np.nan), ("f4", np.nan), ("i8", -1), ("i2", -1), ("u1", 255)]
)
@pytest.mark.parametrize(
    "begin",
    [
        lambda comm, send, receive: (comm.Isend(send, comm.rank), comm.Irecv(receive, comm.rank))[
            1
        ],
        lambda comm, send, receive: comm.Iallreduce(send, receive),
        lambda comm, send, receive: comm.Iallreduce(MPI.IN_PLACE, receive),
        lambda comm, send, receive: comm.Ireduce(send, receive),
        lambda comm, send, receive: comm.Ibcast(receive, 1),
    ],
    ids=["Irecv", "Iallreduce", "in place", "Ireduce", "Ibcast"],
)
def test_a_buffer_holds_garbage_until_its_receive_completes(begin, dtype, garbage):
    def program(comm):
        send, receive = np.ones(2, dtype), np.ones(2, dtype)
        request = begin(comm, send, receive)
        if comm.rank == 0:
            np.testing.assert_array_equal(receive, np.full(2, garbage, dtype))
        request.Wait()
        assert comm.rank == 1 or (receive >= 1).all()

    VirtualCluster(2).run(program)


def test_what_is_left_over_is_told_at_the_end():
    def program(comm):
        if comm.rank == 0:
            comm.Isend(SMALL, 1, tag=8)
            comm.Irecv(np.empty(1), 1, tag=7)
            comm.Ibcast(SMALL.copy(), 0)

    assert refused(program).splitlines() == [
        "left over at the end:",
        "  a message that nobody received: rank 0 to rank 1, tag 8, 8 bytes, sent at "
        + line(program, "comm.Isend"),
        "  a receive on rank 0: a message from rank 1 with tag 7",
        f"  Bcast, called by rank 0 at {line(program, 'comm.Ibcast')}, never by rank 1",
    ]


def test_a_sum_that_the_root_never_asks_for_is_left_over():
    def program(comm):
        if comm.rank != 1:
            comm.Reduce(SMALL, None, root=1)

    assert "Reduce, called by rank 0" in refused(program, 3)
    assert "never by rank 1" in refused(program, 3)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4))[:, 1], np.zeros(8)[::2]], ids=["column", "step"]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda comm, array: comm.Isend(array, 1),
        lambda comm, array: comm.Irecv(array, 1),
        lambda comm, array: comm.Ibcast(array),
        lambda comm, array: comm.Iallreduce(array, np.zeros(4)),
        lambda comm, array: comm.Iallreduce(np.zeros(4), array),
        lambda comm, array: comm.Ireduce(np.zeros(4), array, root=comm.rank),
        lambda comm, array: comm.Allgather(np.zeros(2), array),
    ],
    ids=["Isend", "Irecv", "Ibcast", "sent", "received", "at the root", "Allgather"],
)
def test_a_buffer_that_is_not_contiguous(call, array):
    assert "not contiguous" in refused(lambda comm: call(comm, array))


@pytest.mark.parametrize("rank", [2, MPI.PROC_NULL])
@pytest.mark.parametrize("call", ["Send", "Irecv", "Bcast"])
def test_a_rank_that_is_not_there(call, rank):
    said = refused(lambda comm: getattr(comm, call)(SMALL.copy(), rank))
    assert f"no rank {rank} in a communicator of 2" in said


# What is not there says so.


@pytest.mark.parametrize(
    "name", ["bcast", "allreduce", "Mprobe", "Sendrecv", "Alltoall", "Ibarrier", "Get_rank", "Free"]
)
def test_a_call_that_is_not_there_says_its_name(name):
    with pytest.raises(AttributeError, match=name):
        VirtualCluster(2).run(lambda comm: getattr(comm, name)())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda comm: comm.Irecv(SMALL.copy(), MPI.ANY_SOURCE), "Irecv from any source"),
        (lambda comm: comm.Probe(1), "Probe of one source"),
        (lambda comm: comm.Iprobe(1), "Iprobe of one source"),
        (lambda comm: comm.Allreduce(MPI.IN_PLACE, SMALL.copy(), MPI.PROD), "SUM, MAX and MIN"),
    ],
)
def test_a_way_to_call_that_is_not_there_says_so(call, said):
    with pytest.raises(NotImplementedError, match=said):
        VirtualCluster(2).run(call)


# Failures end everything.


class OurError(Exception):
    pass


def failing(comm):
    comm.Barrier()
    if comm.rank == 1:
        raise OurError("on purpose")
    comm.Recv(np.empty(1), 1)


def deadlocked(comm):
    comm.Recv(np.empty(1), 1 - comm.rank)


def clinging(comm):
    """Communicates while it is being ended, and then fails in another way."""
    try:
        failing(comm)
    finally:
        if comm.rank != 1:
            try:
                comm.Barrier()
            finally:
                raise ValueError("nobody wants to know")


def mismatched(comm):
    comm.Bcast(SMALL.copy(), comm.rank)


def choosing_badly(options):
    raise OurError("on purpose")


def test_an_error_of_a_rank_is_raised_as_it_is_and_says_which_rank():
    with pytest.raises(OurError, match="on purpose") as caught:
        VirtualCluster(2).run(failing)
    assert caught.value.__notes__ == ["on virtual rank 1"]


@pytest.mark.parametrize("program", [failing, deadlocked, clinging, mismatched])
def test_no_rank_outlives_a_failure(program):
    cluster = VirtualCluster(2)
    with pytest.raises((OurError, VirtualError)):
        cluster.run(program)
    assert all(rank.body.dead for rank in cluster.ranks)


def test_no_rank_outlives_an_error_of_the_chooser():
    cluster = VirtualCluster(2, choose=choosing_badly)
    with pytest.raises(OurError):
        cluster.run(first_come)
    assert all(rank.body.dead for rank in cluster.ranks)


def test_what_a_rank_has_opened_is_closed_after_a_failure():
    closed = []

    def program(comm):
        try:
            failing(comm)
        finally:
            closed.append(comm.rank)

    with pytest.raises(OurError):
        VirtualCluster(3).run(program)
    assert sorted(closed) == [0, 1, 2]


def test_a_cluster_runs_again_even_after_a_failure():
    cluster = VirtualCluster(2, SLOW)
    first = cluster.run(everything)
    with pytest.raises(OurError):
        cluster.run(failing)
    assert cluster.run(everything) == first


def test_every_rank_has_the_floating_point_errors_of_who_runs_it():
    def program(comm):
        before = np.geterr()["divide"]
        with np.errstate(divide="ignore" if comm.rank else "warn"):
            comm.Barrier()
            return before, np.geterr()["divide"]

    with np.errstate(divide="raise"):
        told = VirtualCluster(2).run(program)
    assert told == [("raise", "warn"), ("raise", "ignore")]


# The same again is the same, event by event.


def first_come(comm):
    """Everyone's messages at rank 0, as they come; returns from whom and when."""
    came = []
    if comm.rank:
        for tag in range(3):
            comm.compute(Stragglers(jitter=1.0).of(comm.rank)())
            comm.Send(SMALL, 0, tag)
    else:
        for _ in range(3 * (comm.size - 1)):
            status = MPI.Status()
            comm.Recv(np.empty(1), status=status)
            came.append((status.Get_source(), status.Get_tag(), comm.clock()))
    return came


def everything(comm):
    comm.compute(comm.rank * 0.3)
    came = first_come(comm)
    comm.Allreduce(MPI.IN_PLACE, np.zeros(10))
    return came, comm.clock()


@pytest.mark.parametrize("how", ["clock", "chooser"])
def test_the_same_run_twice_is_the_same_event_by_event(how):
    def trace():
        asked, random = [], np.random.default_rng(5)

        def choose(options):
            asked.append(tuple(options))
            return int(random.integers(len(options)))

        cluster = VirtualCluster(5, SLOW, choose if how == "chooser" else None)
        return cluster.run(everything), cluster.events, asked

    assert trace() == trace()


def test_a_chooser_is_told_who_receives_from_whom_with_which_tag():
    asked = []

    def choose(options):
        asked.append(tuple(options))
        return len(options) - 1

    def program(comm):
        part = comm.Split(comm.rank // 3)  # 0 1 2 and 3 4 5
        if part.rank:
            part.Send(SMALL, 0, tag=part.rank)
        else:
            part.Recv(np.empty(1))
            part.Recv(np.empty(1))

    VirtualCluster(6, choose=choose).run(program)
    assert asked[0] == ((0, 1, 1), (0, 2, 2), (3, 4, 1), (3, 5, 2))
    assert asked[1] == ((0, 1, 1), (0, 2, 2), (3, 4, 1))


def test_the_same_training_twice_is_the_same_event_by_event():
    case = Case("hybrid", groups=3, group_size=2, servers=2, iterations=3)

    def program(comm):
        comm.compute(Stragglers(jitter=0.5).of(comm.rank)())
        told = train(case, comm)
        return told.updates, [final.tobytes() for final in told.final], comm.clock()

    def trace():
        cluster = VirtualCluster(case.roles.ranks, SLOW)
        return cluster.run(program), cluster.events

    assert trace() == trace()


# Messages between two do not overtake each other; of several senders, the earliest comes first.


@pytest.mark.parametrize("how", [{}, {"machine": SLOW}, {"choose": lambda options: 0}], ids=str)
@pytest.mark.parametrize("source", [0, MPI.ANY_SOURCE])
def test_messages_between_two_do_not_overtake(how, source):
    def program(comm):
        if comm.rank == 0:  # the first takes longest
            sent = [comm.Isend(np.full(10 - n, float(n)), 1, tag=n % 2) for n in range(6)]
            for request in sent:
                request.Wait()
            return []
        comm.compute(3)
        received = []
        for tag in (0, MPI.ANY_TAG, 1, MPI.ANY_TAG, MPI.ANY_TAG, 1):
            buffer = np.empty(10)
            comm.Recv(buffer, source, tag)
            received.append(buffer[0])
        return received

    assert VirtualCluster(2, **how).run(program)[1] == [0, 1, 3, 2, 4, 5]


def test_receives_are_served_in_the_order_in_which_they_were_posted():
    def program(comm):
        buffers = np.empty((3, 1))
        if comm.rank == 0:
            requests = [
                comm.Irecv(buffer, 1, tag)
                for buffer, tag in zip(buffers, (MPI.ANY_TAG, 1, 0), strict=True)
            ]
            comm.Barrier()
            for request in reversed(requests):
                request.Wait()
        else:
            comm.Barrier()
            for value, tag in ((1.0, 1), (2.0, 0), (3.0, 1)):
                comm.Send(np.array([value]), 0, tag)
        return buffers.ravel().tolist()

    assert VirtualCluster(2).run(program)[0] == [1, 3, 2]


@pytest.mark.parametrize("call", ["Recv", "Probe"])
def test_the_earliest_to_arrive_is_the_first_to_be_received(call):
    seconds = [0, 3, 1, 2, 1]

    def program(comm):
        if comm.rank:
            comm.compute(seconds[comm.rank])
            comm.Send(np.zeros(comm.rank), 0)
            return None
        came = []
        for _ in range(4):
            status, buffer = MPI.Status(), np.empty(4)
            if call == "Probe":
                comm.Probe(status=status)
                came.append((status.Get_source(), comm.clock()))
                comm.Recv(buffer, status.Get_source())
            else:
                comm.Recv(buffer, status=status)
                came.append((status.Get_source(), comm.clock()))
        return came

    # By themselves they come after 1 second, and 8 bytes more for each rank: 2.6 + 1, 1.8 + 3, ...
    # That of 4 comes in after that of 1, in another 3.2 seconds; that of 3 after it, in 2.4.
    later = [(4, 4.8 + 3.2), (3, 8.0 + 2.4)] if call == "Recv" else [(4, 1 + 4.2), (3, 8.0)]
    expected = [(2, 1 + 2.6), (1, 3 + 1.8), *later]
    came = VirtualCluster(5, SLOW).run(program)[0]
    assert [source for source, _ in came] == [source for source, _ in expected]
    assert [time for _, time in came] == pytest.approx([time for _, time in expected])


def test_who_comes_late_finds_the_first_arrived_first():
    def program(comm):
        came = first_come(comm) if comm.rank else []
        if comm.rank == 0:
            comm.compute(1000)
            came = first_come(comm)
        return came

    early = VirtualCluster(4, Machine("buffers", latency=1.0, eager=100)).run(first_come)[0]
    late = VirtualCluster(4, Machine("buffers", latency=1.0, eager=100)).run(program)[0]
    assert [who[:2] for who in late] == [who[:2] for who in early]
    assert {clock for _, _, clock in late} == {1000}


# Time adds up. A message of n bytes takes 1 + n / 10 seconds.


def test_a_ring_takes_one_message():
    def program(comm):
        sent = comm.Isend(np.zeros(10), (comm.rank + 1) % comm.size)
        comm.Recv(np.empty(10), (comm.rank - 1) % comm.size)
        sent.Wait()

    assert times(program, 3) == [9, 9, 9]


@pytest.mark.parametrize("sender", [0, 1])
def test_a_message_comes_when_it_was_sent_and_has_travelled(sender):
    def program(comm):
        if comm.rank == sender:
            comm.compute(5)
            comm.Send(np.zeros(10), 1 - sender)
        else:
            comm.Recv(np.empty(10), sender)

    assert times(program, 2) == [14, 14]


@pytest.mark.parametrize("sender", [0, 1])
def test_who_sends_what_is_not_short_waits_for_the_receiver(sender):
    def program(comm):
        if comm.rank == sender:
            comm.Send(np.zeros(10), 1 - sender)
        else:
            comm.compute(20)
            comm.Recv(np.empty(10), sender)

    eager = Machine("sends at once", latency=1.0, bandwidth=10.0, eager=80)
    assert times(program, 2) == [20, 20]
    assert sorted(times(program, 2, eager)) == [0, 20]


@pytest.mark.parametrize("sender", [0, 1])
def test_who_has_posted_a_receive_keeps_nobody_waiting(sender):
    def program(comm):
        if comm.rank == sender:
            comm.Send(np.zeros(10), 1 - sender)
        else:
            request = comm.Irecv(np.empty(10), sender)
            comm.compute(20)
            request.Wait()

    ended = times(program, 2)
    assert ended[sender] == 9 and ended[1 - sender] == 20


def test_a_broadcast_takes_its_formula_from_when_the_root_calls():
    def program(comm):
        comm.compute([3, 1, 0, 30][comm.rank])
        comm.Bcast(np.zeros(10, np.uint8), 0)

    assert SLOW.collective_time("Bcast", 4, 10) == 2 * (1 + 1)
    assert times(program, 4) == [7, 7, 7, 30]


@pytest.mark.parametrize(
    ("count", "seconds"),
    [(10, 2 * (1 + 1)), (100, 2 * (2 * 1 + 3 / 4 * 10))],  # a tree, and what takes less
)
def test_an_allreduce_takes_its_formula_from_when_the_last_calls(count, seconds):
    def program(comm):
        comm.compute([3, 1, 5, 2][comm.rank])
        comm.Allreduce(MPI.IN_PLACE, np.zeros(count, np.uint8))

    assert times(program, 4) == [5 + seconds] * 4


@pytest.mark.parametrize("root", [0, 1, 2])
@pytest.mark.parametrize("call", ["Reduce", "Gather"])
def test_who_is_not_the_root_goes_on_when_its_part_is_away(call, root):
    called = [3, 1, 5]

    def program(comm):
        comm.compute(called[comm.rank])
        receive = np.zeros(10 if call == "Reduce" else 30, np.uint8)
        getattr(comm, call)(np.zeros(10, np.uint8), receive, root=root)

    expected = [seconds + 2 for seconds in called]
    expected[root] = 5 + SLOW.collective_time(call, 3, 10)
    assert times(program, 3) == expected


def test_what_is_computed_meanwhile_takes_no_more_time():
    def program(comm):
        request = comm.Iallreduce(MPI.IN_PLACE, np.zeros(10, np.uint8))
        assert not request.Test()
        comm.compute(1)
        assert not request.Test()
        comm.compute(9)
        assert request.Test()

    assert times(program, 2) == [10, 10]


def test_a_loop_of_tests_ends_when_a_wait_would():
    def program(comm):
        comm.compute(comm.rank)
        request = comm.Iallreduce(MPI.IN_PLACE, np.zeros(10, np.uint8))
        while not request.Test():
            pass

    assert times(program, 3) == [6, 6, 6]


def test_a_loop_of_tests_that_cannot_end_is_a_deadlock():
    def program(comm):
        request = comm.Irecv(np.empty(1), 1 - comm.rank)
        while not request.Test():
            pass

    for how in ({}, {"choose": lambda options: 0}, {"machine": SLOW}):
        assert line(program, "request.Test") in refused(program, **how)
