"""The all-reduce written out: right on any number of ranks, and the same bits wherever it runs."""

import sys
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch import PROGRAMS, python

from minidl.parallel import allreduce
from minidl.parallel.virtual import Machine, VirtualCluster

sys.path.insert(0, str(PROGRAMS))

from written_out import ALGORITHMS, program


@pytest.mark.parametrize("name", ALGORITHMS)
@given(ranks=st.integers(1, 17), size=st.integers(0, 40), seed=st.integers(0, 100))
def test_every_rank_has_the_sum_in_the_same_bits(name, ranks, size, seed):
    vectors = np.random.default_rng(seed).standard_normal((ranks, size))

    def add_up(comm):
        vector = vectors[comm.rank].copy()
        getattr(allreduce, name)(comm, vector)
        return vector

    sums = VirtualCluster(ranks).run(add_up)
    np.testing.assert_allclose(sums[0], vectors.sum(axis=0), rtol=1e-12, atol=1e-12)
    assert len({row.tobytes() for row in sums}) == 1


@pytest.mark.parametrize(
    ("name", "messages", "share"),
    [("tree", 2 * 3, 1), ("recursive_doubling", 3, 1), ("ring", 2 * 7, 1 / 8)],
)
def test_the_costs_are_those_of_the_formulas(name, messages, share):
    machine = Machine("slow", latency=1.0, bandwidth=1e3, eager=0)
    vector = np.zeros(8 * 125)  # 8000 bytes

    def add_up(comm):
        getattr(allreduce, name)(comm, vector.copy())
        return comm.clock()

    assert max(VirtualCluster(8, machine).run(add_up)) == pytest.approx(messages * (1 + 8 * share))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_real_and_virtual_ranks_end_with_the_same_bits(ranks):
    lines = python(ranks, "written_out.py").stdout.splitlines()
    for line, how in zip(lines, product(("sync", "hybrid"), ALGORITHMS), strict=True):
        virtual = VirtualCluster(ranks).run(partial(program, *how))
        assert line.split() == [row.hex() for row in virtual]
