"""The all-reduce written out: right on any number of ranks, and the same bits wherever it runs."""

import itertools
import math
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import PROGRAMS, python
from mpi4py import MPI

from minidl.parallel import written_out
from minidl.parallel.allreduce import ALGORITHMS
from minidl.parallel.costs import COSTS, crossover
from minidl.parallel.virtual import INSTANT, Machine, VirtualCluster, explore
from minidl.parallel.virtual.machine import ALGORITHMS as FORMULAS
from minidl.parallel.written_out import Sum, WrittenOut

sys.path.insert(0, str(PROGRAMS))

import summing
import written_out as training

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
DTYPES = st.sampled_from([np.float64, np.float32, np.int64, np.int16, np.complex128])
BUFFERED = Machine("a send never waits", eager=10**6)


def numbers(seed, shape, dtype=np.float64):
    return (100 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def in_place(comm, name, vector):
    """What a rank ends with that does nothing but this sum, without a communicator of its own."""
    vector = vector.copy()
    Sum(ALGORITHMS[name](comm, vector, 0), []).Wait()
    return vector


def sums_of(name, vectors):
    """What all ranks end with, a row each."""
    return VirtualCluster(len(vectors)).run(lambda comm: in_place(comm, name, vectors[comm.rank]))


@every_algorithm
@given(st.integers(1, 9), st.integers(0, 40), DTYPES, st.integers(0, 100))
def test_every_rank_has_the_sum_in_the_same_bits(name, ranks, size, dtype, seed):
    vectors = numbers(seed, (ranks, size), dtype)
    sums = sums_of(name, vectors)
    assert {row.tobytes() for row in sums} == {sums[0].tobytes()}
    precision = 1e-3 if dtype == np.float32 else 0 if dtype in (np.int64, np.int16) else 1e-9
    np.testing.assert_allclose(sums[0], vectors.sum(axis=0, dtype=dtype), precision, precision)


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 100))
def test_the_order_of_the_sum_is_what_each_algorithm_says(ranks, size, seed):
    vectors = numbers(seed, (ranks, size))
    sums = {name: sums_of(name, vectors)[0] for name in ALGORITHMS}
    in_order = list(itertools.accumulate(vectors))[-1]
    np.testing.assert_array_equal(sums["naive"], in_order)
    np.testing.assert_array_equal(sums["rabenseifner"], sums["recursive_doubling"])
    if ranks.bit_count() == 1:
        np.testing.assert_array_equal(sums["tree"], sums["recursive_doubling"])
    bounds = np.cumsum([0, *(len(piece) for piece in np.array_split(in_order, ranks))])
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        around = np.roll(vectors[:, start:end], -number, axis=0)
        added = list(itertools.accumulate(around, lambda total, own: own + total))[-1]
        np.testing.assert_array_equal(sums["ring"][start:end], added)


def several(name, vectors, seed, comm):
    """Sums under way at once, which each rank tests and waits for in an order of its own."""
    comm, generator = WrittenOut(comm, ALGORITHMS[name]), np.random.default_rng([seed, comm.rank])
    comm.begun = itertools.count(written_out.TAGS - 1)  # tags start again
    own = [vector[comm.rank].copy() for vector in vectors]
    requests = []
    for vector in own:
        requests.append(comm.Iallreduce(MPI.IN_PLACE, vector))
        generator.choice(requests).Test()
    for place in generator.permutation(len(own)):
        requests[place].Wait()
    assert not comm.under_way
    return own


@every_algorithm
@settings(max_examples=25)
@given(st.integers(1, 6), st.data())
def test_several_at_once_do_not_mix_whatever_the_schedule(name, ranks, data):
    count, seed = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 100))
    vectors = [numbers([seed, number], (ranks, 5 + number)) for number in range(count)]
    machine, generator = (
        data.draw(st.sampled_from([INSTANT, BUFFERED])),
        np.random.default_rng(seed),
    )
    cluster = VirtualCluster(ranks, machine, lambda ways: generator.integers(len(ways)), 1)
    for own in cluster.run(partial(several, name, vectors, seed)):
        for number, vector in enumerate(vectors):
            assert own[number].tobytes() == sums_of(name, vector)[0].tobytes()


@pytest.mark.parametrize(
    ("name", "ranks", "count"),
    [*((name, 2, 1) for name in ALGORITHMS), ("naive", 3, 1), ("tree", 3, 1), ("tree", 2, 2)],
)
@pytest.mark.parametrize("machine", [INSTANT, BUFFERED], ids=["sends wait", "sends do not wait"])
def test_no_schedule_at_all_changes_a_bit(name, ranks, count, machine):
    vectors = [numbers(number, (ranks, 4)) for number in range(count)]
    program = partial(several, name, vectors, 1)
    outcomes = [
        b"".join(vector.tobytes() for own in result for vector in own)
        for result in explore(
            lambda choose: VirtualCluster(ranks, machine, choose, vain_tests=1).run(program)
        )
    ]
    assert len(outcomes) > 1
    assert len(set(outcomes)) == 1


class Counting:
    """A communicator that counts the messages that a rank sends, and their elements."""

    def __init__(self, comm):
        self.comm, self.sent = comm, []

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Isend(self, buffer, dest, tag):  # noqa: N802
        self.sent.append(buffer.size)
        return self.comm.Isend(buffer, dest, tag)


class Added(np.ndarray):
    """A vector that counts the elements that are added to it or to a part of it."""

    total = 0

    def __iadd__(self, other):
        Added.total += self.size
        return super().__iadd__(other)


def sent_by(name, ranks, rank):
    """Messages that a rank sends, and how many times the vector they are together."""
    power = 1 << (ranks.bit_length() - 1)
    exchanges, share = power.bit_length() - 1, 2 * (1 - 1 / power)
    folded, unfolds = rank >= power, rank + power < ranks
    if name == "naive":
        messages = 1 if rank else ranks - 1
    elif name == "tree":
        reach = rank & -rank if rank else ranks  # children are at distances of powers below
        distances = [1 << bit for bit in range(ranks.bit_length()) if 1 << bit < reach]
        messages = sum(rank + distance < ranks for distance in distances) + (rank > 0)
    elif name == "ring":
        return 2 * (ranks - 1), 2 * (ranks - 1) / ranks
    elif folded:
        messages = 1
    elif name == "recursive_doubling":
        messages = exchanges + unfolds
    else:
        return 2 * exchanges + unfolds, share + unfolds
    return messages, messages


@every_algorithm
def test_each_rank_sends_what_the_formulas_say(name):
    def program(comm):
        counting, size = Counting(comm), 16 * comm.size
        in_place(counting, name, np.zeros(size))
        return len(counting.sent), sum(counting.sent) / size

    for ranks in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16):
        for rank, sent in enumerate(VirtualCluster(ranks).run(program)):
            assert sent == pytest.approx(sent_by(name, ranks, rank), rel=1e-12)


@every_algorithm
def test_the_busiest_rank_adds_what_the_formula_says(name):
    def adding(counted, comm):
        vector = np.zeros(16 * comm.size)
        in_place(comm, name, vector.view(Added) if comm.rank == counted else vector)

    for ranks in (1, 2, 4, 8):
        added = []
        for rank in range(ranks):
            Added.total = 0
            VirtualCluster(ranks).run(partial(adding, rank))
            added.append(Added.total / (16 * ranks))
        assert max(added) == COSTS[name](ranks).added


@every_algorithm
def test_virtual_messages_take_the_time_of_the_formula(name):
    """Where the formula is more: messages that set out at once are late once, not one by one."""
    machine = Machine("slow", latency=1.0, bandwidth=1e3)

    def program(comm):
        in_place(comm, name, np.zeros(16 * comm.size))
        return comm.clock()

    for ranks in (1, 2, 3, 4, 5, 6, 7, 8, 12, 16):
        taken, size = max(VirtualCluster(ranks, machine).run(program)), 8 * 16 * ranks
        formula = COSTS[name](ranks).seconds(size, machine.latency, machine.bandwidth)
        if name == "naive":  # all send to rank 0 at the same time
            formula -= max(0, ranks - 2) * machine.latency
        if name == "tree" and ranks.bit_count() > 1:  # where the tree is not full, some are early
            assert formula - 2 * machine.message_time(size) < taken <= formula
        else:
            assert taken == pytest.approx(formula, rel=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
@given(st.sampled_from([1, 2, 4, 64, 1024]), st.integers(0, 10**8))
def test_a_machine_of_the_virtual_cluster_has_the_same_formula(name, ranks, size):
    machine = Machine("any", latency=2e-6, bandwidth=8e9, allreduce=name)
    seconds = COSTS[name](ranks).seconds(size, machine.latency, machine.bandwidth)
    assert machine.collective_time("Allreduce", ranks, size) == pytest.approx(seconds, rel=1e-12)


def test_arithmetic_is_a_part_of_the_formula():
    cost = COSTS["ring"](4)
    assert cost.seconds(8, latency=1.0, bandwidth=2.0, adding=4.0) == 6 + 8 * (1.5 / 2 + 0.75 / 4)


@given(st.integers(2, 2000), st.floats(1.0, 100.0))
def test_before_the_crossover_fewer_messages_are_faster_and_after_it_fewer_bytes(ranks, adding):
    rates = {"latency": 1.0, "bandwidth": 7.0, "adding": adding}
    costs = COSTS["recursive_doubling"](ranks), COSTS["rabenseifner"](ranks)
    size = crossover(*costs, **rates)
    few_messages, few_bytes = (
        [cost.seconds(n * size, **rates) for n in (0.9, 1.1)] for cost in costs
    )
    assert few_messages[0] < few_bytes[0]
    assert few_messages[1] > few_bytes[1]


def test_where_no_bytes_are_saved_more_messages_are_never_worth_it():
    two = [COSTS[name](2) for name in ("recursive_doubling", "rabenseifner")]
    assert crossover(*two, latency=1.0, bandwidth=7.0) == math.inf


def test_a_vector_that_is_not_in_one_piece_is_refused():
    def program(comm):
        WrittenOut(comm, ALGORITHMS["ring"]).Allreduce(MPI.IN_PLACE, np.zeros((4, 4)).T[1:])

    with pytest.raises(ValueError, match="copy"):
        VirtualCluster(2).run(program)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_real_and_virtual_ranks_sum_to_the_same_bits(ranks):
    lines = python(ranks, "summing.py").stdout.splitlines()
    for line, name in zip(lines, ALGORITHMS, strict=True):
        assert line.split() == VirtualCluster(ranks).run(partial(summing.program, name))


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_strategies_train_to_the_same_bits_on_real_and_virtual_ranks(ranks):
    lines = python(ranks, "written_out.py").stdout.splitlines()
    how = itertools.product(("sync", "hybrid"), ALGORITHMS)
    for line, case in zip(lines, how, strict=True):
        virtual = VirtualCluster(ranks).run(partial(training.program, *case))
        assert line.split() == [row.hex() for row in virtual]
