"""Ghosts take time and no memory, and a group may compute once for all its ranks."""

from functools import partial

import numpy as np
import pytest

from minidl.layers import Linear, ReLU, Sequential
from minidl.losses import softmax_cross_entropy
from minidl.objective import Objective
from minidl.optim import SGD
from minidl.parallel import async_ps, hybrid, sync
from minidl.parallel.parcel import Parcel
from minidl.parallel.virtual import Machine, Stragglers, VirtualCluster
from minidl.parallel.virtual.ghost import (
    Ghost,
    GhostLayer,
    GhostNetwork,
    GhostObjective,
    GhostOptimizer,
    NoStopwatch,
    TimedObjective,
)
from minidl.roles import Roles

MACHINE = Machine("test", latency=1e-3, bandwidth=1e5)
FORWARD, BACKWARD = [0.02, 0.01], [0.03, 0.04]
UPDATE = 5e-3
SIZES = [5 * 4 + 4, 4 * 3 + 3]
STRATEGIES = {"sync": (sync, 1, 0), "async": (async_ps, 4, 1), "hybrid": (hybrid, 2, 2)}


def network():
    generator = np.random.default_rng(1)
    return Sequential(Linear(5, 4, generator=generator), ReLU(), Linear(4, 3, generator=generator))


class TimedSGD(SGD):
    def __init__(self, parameters, compute):
        super().__init__(parameters, 0.1)
        self.compute = compute

    def step(self, gradient, scale=1.0):
        super().step(gradient, scale)
        self.compute(UPDATE)


def train(name, who_computes, comm):
    """Three steps of 4 workers; ``who_computes``: "all", "roots" for their groups, or "nobody"."""
    module, groups, servers = STRATEGIES[name]
    roles = Roles(4 + servers, groups, servers)
    group = roles.group(comm.rank)
    real = who_computes == "all" or (
        who_computes == "roots" and (group < 0 or comm.rank == roles.root(group))
    )
    slowness = Stragglers(jitter=0.3).of(comm.rank)
    if real:
        objective = TimedObjective(
            Objective(network(), softmax_cross_entropy), comm.compute, FORWARD, BACKWARD, slowness
        )
        make_optimizer = partial(TimedSGD, compute=comm.compute)
    else:
        ghosts = GhostNetwork([GhostLayer(str(n), size) for n, size in enumerate(SIZES)])
        objective = GhostObjective(comm.compute, ghosts, FORWARD, BACKWARD, slowness)
        make_optimizer = partial(GhostOptimizer, compute=comm.compute, seconds=UPDATE)
    strategy = module.Strategy(comm, roles, objective, make_optimizer, NoStopwatch())
    strategy.start()
    if group < 0:
        strategy.serve()
    else:
        ranks = [comm.rank] if who_computes == "all" else roles.members(group)
        for step in range(3):
            counted = 2 if who_computes == "nobody" else 0
            strategy.step([samples(rank, step) for rank in ranks] if real else counted)
        strategy.stop()
    if servers:
        strategy.finish()
    return [layer.parameters for layer in strategy.layers], comm.clock()


def samples(rank, step):
    generator = np.random.default_rng([rank, step])
    return generator.standard_normal((2, 5), np.float32), generator.integers(0, 3, 2)


def run(name, who_computes):
    ranks = 4 + STRATEGIES[name][2]
    return VirtualCluster(ranks, MACHINE).run(partial(train, name, who_computes))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_group_that_computes_once_learns_the_same_in_the_same_time(name):
    everyone, roots = run(name, "all"), run(name, "roots")
    for all_compute, one_computes in zip(everyone[0][0], roots[0][0], strict=True):
        np.testing.assert_allclose(one_computes, all_compute, rtol=1e-5, atol=1e-6)
    assert [clock for _, clock in roots] == [clock for _, clock in everyone]


@pytest.mark.parametrize("name", STRATEGIES)
def test_ghosts_take_the_time_of_what_they_stand_for(name):
    assert [clock for _, clock in run(name, "nobody")] == [clock for _, clock in run(name, "all")]


def test_the_same_seed_has_the_same_stragglers():
    stragglers = Stragglers(jitter=0.2, slow_share=0.5, slow_factor=3.0, seed=4)
    drawn = [[slow() for slow in [stragglers.of(rank)] for _ in range(50)] for rank in range(40)]
    again = [[slow() for slow in [stragglers.of(rank)] for _ in range(50)] for rank in range(40)]
    assert drawn == again
    medians = np.median(drawn, axis=1)
    slow = medians > 2
    assert 10 < slow.sum() < 30
    assert np.std(np.log(np.array(drawn)[~slow])) == pytest.approx(0.2, rel=0.15)


def test_a_rank_receives_one_long_message_after_the_other():
    """Each takes 0.1 s to set out, and 1 s to come in: at 1.1, 2.1 and 3.1 s; short ones at 0.2."""
    machine = Machine("slow", latency=0.1, bandwidth=80.0, eager=8)

    def program(size, comm):
        if comm.rank:
            comm.Send(np.full(size, comm.rank, np.float64), 0, 0)
            return []
        came, buffer = [], np.empty(size)
        for _ in range(3):
            comm.Recv(buffer)
            came.append((buffer[0], comm.clock()))
        return came

    sources, times = zip(*VirtualCluster(4, machine).run(partial(program, 10))[0], strict=True)
    assert sources == (1, 2, 3)
    assert times == pytest.approx([1.1, 2.1, 3.1])
    _, times = zip(*VirtualCluster(4, machine).run(partial(program, 1))[0], strict=True)
    assert times == pytest.approx(3 * [0.2])


def test_who_sends_first_is_received_first_whichever_rank_ran_first():
    """Rank 1 is run before rank 2, to a time at which rank 2 has long sent."""
    machine = Machine("slow", latency=0.0, bandwidth=80.0)

    def program(comm):
        if comm.rank:
            comm.compute([0, 5, 1][comm.rank])
            comm.Send(np.zeros(10), 0, 0)
        else:
            for source in (2, 1):
                comm.Recv(np.empty(10), source, 0)
        return comm.clock()

    assert VirtualCluster(3, machine).run(program) == [6.0, 6.0, 2.0]


def test_versions_of_ghosts_are_real():
    sent, received = Parcel(Ghost(5)), Parcel(Ghost(5))
    sent.version = 7

    def program(comm):
        if comm.rank:
            comm.Send(sent.message, 0, 0)
        else:
            comm.Recv(received.message, 1, 0)
            return received.version

    assert VirtualCluster(2).run(program)[0] == 7
    assert (sent.message.nbytes, sent.values.size, sent.values.dtype) == (28, 5, np.float32)


def test_a_rank_sends_one_message_after_the_other():
    """Each takes 1 s to leave and 0.1 s to arrive: at 1.1, 2.1 and 3.1 s."""
    machine = Machine("slow", latency=0.1, bandwidth=80.0)

    def program(comm):
        if comm.rank == 0:
            requests = [comm.Isend(np.zeros(10), dest, 0) for dest in (1, 2, 3)]
            for request in requests:
                request.Wait()
        else:
            comm.Recv(np.empty(10), 0, 0)
        return comm.clock()

    assert VirtualCluster(4, machine).run(program)[1:] == pytest.approx([1.1, 2.1, 3.1])
