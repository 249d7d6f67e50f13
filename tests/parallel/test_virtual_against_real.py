"""A virtual communicator does what the real one does, whatever mix of calls is made."""

import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch import PROGRAMS, python

from minidl.parallel.virtual import INSTANT, Machine, VirtualCluster

sys.path.insert(0, str(PROGRAMS))

import mixed
import written_out

SEEDS = range(40)
SLOW = Machine("slow", latency=1e-3, bandwidth=1e6)
BUFFERED = Machine("slow, buffered", latency=1e-3, bandwidth=1e6, eager=1000)
CLUSTERS = st.builds(
    lambda seed, size: (seed, size, VirtualCluster(size).run(partial(mixed.program, seed=seed))),
    st.integers(0, 10**6),
    st.integers(1, 7),
)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_real_and_virtual_ranks_receive_the_same(ranks):
    lines = python(ranks, "mixed.py", *SEEDS).stdout.splitlines()
    for line, seed in zip(lines, SEEDS, strict=True):
        virtual = VirtualCluster(ranks).run(partial(mixed.program, seed=seed))
        assert line.split() == [digest.hex() for digest in virtual], f"seed {seed}"


def test_the_mix_has_every_call_in_it():
    """Else the test above says less than it seems to."""
    called = set()

    def program(comm):
        for seed in SEEDS:
            mixed.program(Recording(comm, called), seed)

    VirtualCluster(4).run(program)
    collective = {"Bcast", "Reduce", "Allreduce"}
    assert called >= collective | {f"I{name.lower()}" for name in collective}
    assert called >= {"Gather", "Allgather", "Barrier", "Split", "Dup"}
    assert called >= {"Send", "Isend", "Recv", "Irecv", "Probe"}


class Recording:
    """A communicator that notes what is asked of it, and of those made of it."""

    def __init__(self, comm, called):
        self.comm, self.called = comm, called

    def __getattr__(self, name):
        self.called.add(name)
        return getattr(self.comm, name)


@given(CLUSTERS, st.data())
def test_no_order_of_arrival_changes_what_is_received(cluster, data):
    seed, size, expected = cluster

    def choose(options):
        return data.draw(st.integers(0, len(options) - 1))

    program = partial(mixed.program, seed=seed)
    assert VirtualCluster(size, choose=choose).run(program) == expected


@pytest.mark.parametrize("machine", [SLOW, BUFFERED], ids=lambda machine: machine.name)
@given(CLUSTERS)
def test_no_machine_changes_what_is_received(machine, cluster):
    seed, size, expected = cluster
    assert VirtualCluster(size, machine).run(partial(mixed.program, seed=seed)) == expected


@given(st.integers(0, 10**6), st.integers(1, 7), st.sampled_from([INSTANT, SLOW, BUFFERED]))
def test_time_never_goes_back(seed, size, machine):
    def program(comm):
        mixed.program(Watched(comm), seed)

    VirtualCluster(size, machine).run(program)


class Watched:
    """A communicator that looks at the clock before each call."""

    def __init__(self, comm):
        self.comm, self.latest = comm, 0.0

    def __getattr__(self, name):
        assert self.comm.clock() >= self.latest
        self.latest = self.comm.clock()
        return getattr(self.comm, name)


def trained(ranks):
    """What sums of the MPI library and of the virtual cluster make of a network under Adam."""
    sync, hybrid = python(ranks, "written_out.py", "library").stdout.splitlines()
    for strategy, line in (("sync", sync), ("hybrid", hybrid)):
        virtual = VirtualCluster(ranks).run(partial(written_out.program, strategy, "library"))
        real = [bytes.fromhex(row) for row in line.split()]
        yield np.array(
            [[np.frombuffer(row, np.float32) for row in rows] for rows in (real, virtual)]
        )


def test_sums_of_two_are_the_same_bits_on_real_and_virtual_ranks():
    for real, virtual in trained(2):
        assert real.tobytes() == virtual.tobytes()


@pytest.mark.parametrize("ranks", [3, 4])
def test_sums_of_more_are_the_same_to_rounding(ranks):
    for real, virtual in trained(ranks):
        np.testing.assert_allclose(virtual, real, rtol=1e-4, atol=1e-6)
