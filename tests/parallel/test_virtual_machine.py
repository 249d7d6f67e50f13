"""What sums cost on a machine: the formulas, against the algorithms run message by message."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

from minidl.parallel import allreduce
from minidl.parallel.virtual import CORI, Machine, VirtualCluster
from minidl.parallel.virtual.machine import ALGORITHMS
from minidl.parallel.written_out import Sum

NETWORKS = {
    "latency": st.sampled_from([1e-6, 0.25, 1.0]),
    "bandwidth": st.sampled_from([10.0, 1e3, 8e9]),
}
POWERS = st.sampled_from([1, 2, 4, 8, 16, 32])


def ends(ranks, machine, add_up):
    """When each rank ends."""

    def program(comm):
        add_up(comm)
        return comm.clock()

    return VirtualCluster(ranks, machine).run(program)


@given(st.floats(1, 1e3), st.floats(0, 1e3), st.floats(1, 1e15))
def test_a_rate_rises_to_half_of_its_limit_at_half_batch(samples, half, flops):
    machine = Machine("any", flops, half_batch=half)
    rate = samples / machine.compute_time(flops, samples)
    assert rate == pytest.approx(samples / (samples + half))


def test_an_update_reads_and_writes_seven_vectors():
    """Adam: reads gradient, parameters and two means; writes the last three."""
    assert Machine("any", memory=70.0).update_time(10) == 1.0
    assert Machine("any").update_time(10) == 0.0


@pytest.mark.parametrize("eager", [0, 10**9], ids=["sends wait", "sends do not wait"])
@pytest.mark.parametrize("name", ["tree", "recursive_doubling", "ring", "rabenseifner"])
@given(ranks=POWERS, part=st.integers(0, 20), **NETWORKS)
def test_a_formula_is_what_its_messages_take(name, eager, ranks, part, latency, bandwidth):
    machine = Machine("any", math.inf, latency, bandwidth, eager, allreduce=name)
    vector = np.zeros(ranks * part)
    algorithm = allreduce.ALGORITHMS[name]
    written_out = ends(
        ranks, machine, lambda comm: Sum(algorithm(comm, vector.copy(), 0), []).Wait()
    )
    called = ends(ranks, machine, lambda comm: comm.Allreduce(MPI.IN_PLACE, vector.copy()))
    assert called == [machine.collective_time("Allreduce", ranks, vector.nbytes)] * ranks
    assert max(written_out) == pytest.approx(called[0], rel=1e-12)


@given(POWERS, st.integers(0, 10**6))
def test_rabenseifner_s_is_as_many_bytes_as_the_ring_s_in_fewer_messages(ranks, size):
    bytes_only, messages_only = Machine("bytes", bandwidth=10.0), Machine("messages", latency=1.0)
    long, short = (
        [ALGORITHMS[name](machine, ranks, size) for name in ("rabenseifner", "ring")]
        for machine in (bytes_only, messages_only)
    )
    assert long[0] == pytest.approx(long[1], rel=1e-12)
    assert short == [2 * math.log2(ranks), 2 * (ranks - 1)]


@given(st.integers(1, 100_000), st.integers(0, 10**9))
def test_unless_named_it_is_the_better_of_mpich_s(ranks, size):
    named = [
        Machine("named", CORI.flops, CORI.latency, CORI.bandwidth, allreduce=name)
        for name in ("recursive_doubling", "rabenseifner")
    ]
    best = min(machine.collective_time("Allreduce", ranks, size) for machine in named)
    assert CORI.collective_time("Allreduce", ranks, size) == best


def test_an_algorithm_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="allreduce is 'star'; expected one of best, tree, "):
        Machine("any", allreduce="star")
