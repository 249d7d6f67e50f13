"""Ranks that are played as one come out as if each were played by itself, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from mpi4py import MPI

from minidl.parallel import hybrid, sync
from minidl.parallel.virtual import (
    Death,
    Machine,
    Stragglers,
    VirtualCluster,
    VirtualError,
    cohorts_of,
)
from minidl.parallel.virtual.ghost import GhostLayer, GhostNetwork, GhostObjective, GhostOptimizer
from minidl.roles import Roles
from minidl.simulate.simulation import Waits

MACHINES = some.builds(
    Machine,
    some.just("some"),
    latency=some.sampled_from([0.0, 1e-4, 1e-2]),
    bandwidth=some.sampled_from([1e3, 1e5, 1e9]),
    eager=some.sampled_from([0, 100, 10**6]),
)
STRAGGLERS = some.builds(
    Stragglers,
    jitter=some.sampled_from([0.0, 0.1, 1.0]),
    slow_share=some.sampled_from([0.0, 0.3]),
    slow_factor=some.just(5.0),
    seed=some.integers(0, 9),
)
SIZES = some.lists(some.integers(1, 60), min_size=1, max_size=4)


@given(some.data(), MACHINES, STRAGGLERS, SIZES, some.integers(1, 5))
def test_ghosts_take_the_same_time_as_one_and_alone(data, machine, stragglers, sizes, iterations):
    groups, size = data.draw(some.integers(1, 3)), data.draw(some.integers(1, 5))
    servers = data.draw(some.integers(0 if groups == 1 else 1, len(sizes)))
    roles = Roles(groups * size + servers, groups, servers)
    seconds = data.draw(some.lists(some.floats(0, 0.1), min_size=len(sizes), max_size=len(sizes)))

    def train(comm):
        watch = Waits(comm.clock, roles.workers)
        strategy = (hybrid if servers else sync).Strategy(
            comm,
            roles,
            GhostObjective(
                comm.compute,
                GhostNetwork([GhostLayer(str(size), size) for size in sizes]),
                seconds,
                seconds,
                stragglers.of(comm.ranks),
            ),
            lambda parameters: GhostOptimizer(parameters, comm.compute, 1e-3),
            watch,
        )
        strategy.start()
        clocks = [comm.clock()]
        if roles.group(comm.rank) < 0:
            strategy.serve()
        else:
            for _ in range(iterations):
                strategy.step(1)
                clocks.append(comm.clock())
            strategy.stop()
        if servers:
            strategy.finish()
        told = [*clocks, comm.clock(), *watch.seconds]
        for rank, *numbers in zip(np.ravel(comm.ranks), *map(np.ravel, told), strict=True):
            seen[rank] = numbers

    seen = {}
    VirtualCluster(roles.ranks, machine).run(train)
    alone, seen = seen, {}
    VirtualCluster(roles.ranks, machine, cohorts=cohorts_of(roles)).run(train)
    assert seen == alone
    assert sorted(seen) == [*range(roles.ranks)]


def collect(comm):
    """Every collective call, with contents. Ranks 2, 3 and 5 do the same, as do 1 and 4."""
    same = comm.rank in (2, 3, 5)
    mine = np.full(3, 1.0 + same)
    total, most, everyone = np.empty(3), np.empty(3), np.empty((6, 3))
    comm.compute(1.0 + same)
    comm.Allreduce(mine, total)
    comm.Allreduce(mine, most, MPI.MAX)
    comm.Allgather(mine, everyone)
    comm.Reduce(mine, total if comm.rank == 0 else None)
    part = comm.Split(same, -comm.rank)
    part.Allreduce(MPI.IN_PLACE, mine)
    again = part.Dup()
    given = np.full(2, 7.0 if comm.rank == 0 else 0.0)
    request = comm.Ibcast(given)
    while not request.Test():
        pass
    again.Barrier()
    kept = [total, most, everyone, mine, given]
    return [array.tolist() for array in kept], part.size, np.min(comm.clock())


def test_everyone_of_a_cohort_counts_in_collective_calls():
    machine = Machine("slow", latency=0.25, bandwidth=64.0)
    alone = VirtualCluster(6, machine).run(collect)
    assert VirtualCluster(6, machine, cohorts=[[2, 3, 5], [1, 4]]).run(collect) == alone
    assert alone[0][0][0] == [9.0, 9.0, 9.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda comm: comm.Send(np.zeros(1), 0, 0),
        lambda comm: comm.Isend(np.zeros(1), 0),
        lambda comm: comm.Recv(np.zeros(1)),
        lambda comm: comm.Irecv(np.zeros(1), 0, 0),
        lambda comm: comm.Probe(),
        lambda comm: comm.Iprobe(),
        lambda comm: comm.Agree(1),
    ],
)
def test_who_is_played_as_one_with_others_cannot_send_or_receive(call):
    def program(comm):
        if comm.rank:
            call(comm)

    with pytest.raises(VirtualError, match=r"3 ranks that are played as one, the first .* rank 1"):
        VirtualCluster(4, cohorts=[range(1, 4)]).run(program)


@pytest.mark.parametrize("kind", ["Bcast", "Reduce"])
def test_a_root_plays_by_itself(kind):
    def program(comm):
        if kind == "Bcast":
            comm.Bcast(np.zeros(1), root=2)
        else:
            comm.Reduce(np.zeros(1), np.zeros(1) if comm.rank == 1 else None, root=2)

    with pytest.raises(VirtualError, match=rf"rank 2 of .* root of {kind}, and is played as one"):
        VirtualCluster(3, cohorts=[[1, 2]]).run(program)


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ({"cohorts": [[0, 1], [1, 2]]}, "ranks twice"),
        ({"cohorts": [[2, 4]]}, "others than 0..3"),
        ({"cohorts": [[1, 2]], "deaths": {0: Death(1)}}, "some die"),
        ({"cohorts": [[1, 2]], "choose": lambda options: 0}, "a chooser decides"),
    ],
)
def test_what_cannot_be_played_as_one_is_refused(options, mistake):
    with pytest.raises(ValueError, match=mistake):
        VirtualCluster(4, **options)


def test_nobody_sends_to_one_who_is_played_as_one_with_others():
    with pytest.raises(VirtualError, match="rank 0 sends to or receives from rank 2 of its"):
        VirtualCluster(4, cohorts=[range(1, 4)]).run(
            lambda comm: comm.rank or comm.Send(np.zeros(1), 2, 0)
        )


@pytest.mark.parametrize("kind", ["Waitany", "Waitsome", "Testany", "Testsome", "Testall"])
def test_several_requests_of_a_cohort_are_waited_for_together_or_not_at_all(kind):
    def program(comm, kind):
        requests = [comm.Ibcast(np.zeros(1)) for _ in range(2)]
        getattr(type(requests[0]), kind)(requests)
        return comm.clock()

    with pytest.raises(VirtualError, match="can wait for all of several requests"):
        VirtualCluster(4, cohorts=[range(1, 4)]).run(lambda comm: program(comm, kind))
    slow = Machine("slow", latency=0.5)
    ends = VirtualCluster(4, slow, cohorts=[range(1, 4)]).run(lambda comm: program(comm, "Waitall"))
    assert [np.max(end) for end in ends] == [1.0, 1.0, 1.0, 1.0]


def test_who_asks_while_computing_is_answered():
    def program(comm):
        if comm.rank == 2:
            comm.compute(5.0)
        request = comm.Iallreduce(np.ones(1), np.zeros(1))
        while not request.Test():
            comm.compute(1.0)
        return np.max(comm.clock())

    machine = Machine("slow", latency=0.25)
    alone = VirtualCluster(3, machine).run(program)
    assert VirtualCluster(3, machine, cohorts=[[0, 1], []]).run(program) == alone == [6.0, 6.0, 6.0]


def test_the_time_that_a_cohort_was_told_stays_as_it_was():
    def program(comm):
        told = comm.clock()
        comm.compute(1.0)
        with pytest.raises(ValueError, match="read-only"):
            told -= 1.0
        return told

    assert VirtualCluster(2, cohorts=[[0, 1]]).run(program)[1].tolist() == [0.0, 0.0]


def test_a_deadlock_with_a_cohort_is_told():
    def program(comm):
        if comm.rank in (1, 2, 3):
            comm.Barrier()
        elif comm.rank == 0:
            comm.Recv(np.zeros(1), 4, 0)

    told = r"deadlock: 4 of 5 ranks(?s:.*)rank 1, with 2 that are played as one with it, waits for"
    with pytest.raises(VirtualError, match=told):
        VirtualCluster(5, cohorts=[range(1, 4)]).run(program)
    with pytest.raises(VirtualError, match="never by rank 1, 2, 3"):
        VirtualCluster(4, cohorts=[range(1, 4)]).run(
            lambda comm: comm.rank or comm.Iallreduce(np.ones(1), np.zeros(1))
        )
