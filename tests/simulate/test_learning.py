"""Learning in virtual time: what a group's root learns for all is what all would learn."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from events import write_events

from minidl.data import Batches, prepared_in_parts
from minidl.errors import UserError
from minidl.job import STRATEGIES
from minidl.layers import BatchNorm2d, Flatten, Linear, Sequential
from minidl.losses import Sum
from minidl.model import Model, load
from minidl.objective import Objective
from minidl.parallel.virtual import Machine, Stragglers, VirtualCluster
from minidl.parallel.virtual.ghost import NoStopwatch, TimedObjective, TimedOptimizer
from minidl.settings import Settings
from minidl.simulate.learning import Learning, charged
from minidl.simulate.members import GroupBatches, InMemory
from minidl.simulate.simulation import Scenario, simulate
from minidl.simulate.work import work_of

MACHINE = Machine(
    "test", flops=1e12, latency=1e-5, bandwidth=1e8, half_batch=1.0, memory=1e9, jitter=0.3
)
NODES, EPOCHS = 8, 2
EVENTS = 75  # 4 full batches of 16, and one of 11
WORK = work_of("hep")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_events(tmp_path_factory.mktemp("learning") / "events.h5", EVENTS)


def settings(data, groups=1, **other):
    how = {"strategy": "hybrid", "groups": groups, "servers": 6} if groups > 1 else {}
    # sgd: Adam's steps are as long for the smallest gradient, whose rounding they would show.
    usual = {"width": 3, "momentum": 0.4, "optimizer": "sgd", "learning_rate": 0.05}
    return Settings(data=(data,), epochs=EPOCHS, batch_size=2, **how, **(usual | other))


def learning(data, groups=1, machine=MACHINE, **other):
    model = Model(load("hep"))
    return Learning(
        model, InMemory(model.open([data])), settings(data, groups, **other), NODES, WORK, machine
    )


def by_all(of, comm):
    """Be a rank of a cluster on which everybody computes, charged for the same."""
    roles, rank = of.roles, comm.rank
    network = of.network()
    objective = TimedObjective(
        Objective(network, of.model.loss), comm.compute, of.forward, of.backward,
        Stragglers(MACHINE.jitter, seed=of.settings.seed).of(rank),
    )  # fmt: skip
    make = of.settings.optimizer_for(lambda _: of.settings.learning_rate, roles.groups)

    def make_optimizer(parameters):
        seconds = of.machine.update_time(parameters.nbytes)
        return TimedOptimizer(make(parameters), comm.compute, seconds)

    strategy = STRATEGIES[of.settings.strategy].Strategy(
        comm, roles, objective, make_optimizer, NoStopwatch()
    )
    strategy.start()
    curve = []
    if roles.group(rank) < 0:
        strategy.serve()
    else:
        dataset = of.model.open(of.settings.data)
        batches = Batches(EVENTS, 2, rank, roles.workers, of.settings.seed)
        for mine in prepared_in_parts(
            dataset, batches, of.model.prepare, 0, EPOCHS * batches.per_epoch, 1
        ):
            loss = strategy.step(mine)
            curve.append((comm.clock(), loss))
        strategy.stop()
    if roles.servers:
        strategy.finish()
    return np.array(curve), np.concatenate([layer.parameters for layer in network.layers()])


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_roots_that_compute_for_their_groups_learn_what_all_would(data, groups):
    of = learning(data, groups)
    learnt = of.run()
    done = VirtualCluster(of.roles.ranks, of.machine).run(partial(by_all, of))
    expected = np.concatenate([done[of.roles.root(group)][0] for group in range(groups)])
    seconds, losses = expected[np.argsort(expected[:, 0], kind="stable")].T
    assert learnt.seconds == pytest.approx(seconds, rel=1e-9)
    assert learnt.losses == pytest.approx(losses, rel=2e-4)
    assert np.ptp(losses) > 1e-3  # something is learnt, so that equal means something
    assert learnt.mean_staleness <= groups - 1
    assert (learnt.mean_staleness > 0) == (groups > 1)
    assert learnt.samples.sum() == EPOCHS * EVENTS


@pytest.mark.parametrize("groups", [1, 4])
def test_the_clock_is_that_of_the_full_network_on_the_machine(data, groups):
    """But for how bytes are spread over layers, which messages of a fast network hardly show."""
    of = learning(data, groups)
    full = Scenario(WORK, MACHINE, of.settings.strategy, of.roles, 2, EPOCHS * 5)
    times, _ = simulate(full)
    assert of.run().seconds[-1] == pytest.approx(times.ends.max(), rel=0.05)


def test_what_is_computed_has_no_part_in_the_time(data):
    fast = replace(MACHINE, bandwidth=1e10, memory=1e11)
    narrow, wide = (learning(data, 2, fast, width=width).run().seconds for width in (2, 6))
    assert narrow == pytest.approx(wide, rel=0.01)


def test_bytes_are_charged_as_those_of_the_full_network():
    machine = replace(MACHINE, eager=8000)
    assert charged(machine, 8).message_time(100) == machine.message_time(800)
    assert charged(machine, 8).update_time(100) == pytest.approx(machine.update_time(800))
    assert charged(machine, 8).eager == 1000


def test_the_same_seed_learns_the_same_and_another_does_not(data):
    first, again, other = (learning(data, 2, seed=seed).run() for seed in (1, 1, 2))
    assert np.array_equal(first.losses, again.losses)
    assert np.array_equal(first.seconds, again.seconds)
    assert not np.array_equal(first.losses, other.losses)


def test_data_for_validation_judge_the_network_at_the_end(data):
    figures = learning(data, 2, validation=(data,)).run().validation
    assert 0 < figures["loss"] < 1
    assert 0 <= figures["accuracy"] <= 1


def test_who_looks_on_is_told_how_far_it_is(data):
    told = []
    learning(data, 2).run(lambda share, loss: told.append((share, loss)))
    shares, losses = np.array(told).T
    assert shares == pytest.approx(np.arange(1, 11) / 10)
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_group_has_what_its_members_have(batch_size):
    ranks = 6
    for members in (range(2), range(2, 4), range(1, 6)):
        together = GroupBatches(EVENTS, batch_size, members, ranks, seed=3)
        each = [Batches(EVENTS, batch_size, rank, ranks, 3) for rank in members]
        for iteration in range(2 * together.per_epoch):
            indices, chances = together[iteration]
            alone = [batches[iteration] for batches in each]
            assert np.array_equal(indices, np.concatenate([mine for mine, _ in alone]))
            assert np.array_equal(chances, np.concatenate([mine for _, mine in alone]))
            assert together.count(iteration) == len(indices)


def test_samples_are_read_once(data):
    dataset = Model(load("hep")).open([data])
    memory = InMemory(dataset)
    for indices in (np.array([3, 1, 3]), np.array([1, 2]), np.array([2, 0])):
        expected, found = dataset.read(indices), memory.read(indices)
        assert {*expected} == {*found}
        assert all(np.array_equal(expected[name], found[name]) for name in expected)
    dataset.files[0].close()
    assert memory.read(np.array([0, 3]))["index"].tolist() == [0, 3]


class Other:
    """A model like hep, with another network."""

    __name__ = "other"

    def __init__(self, network):
        self.network = lambda shape, generator: network(shape, generator)

    def __getattr__(self, name):
        return getattr(load("hep"), name)


def with_statistics(shape, generator):
    return Sequential(
        norm=BatchNorm2d(shape[2]),
        flat=Flatten(),
        linear=Linear(int(np.prod(shape)), 2, generator=generator),
    )


def shallow(shape, generator):
    return Sequential(Flatten(), Linear(int(np.prod(shape)), 2, generator=generator))


def test_a_loss_of_several_terms_is_learnt_as_their_sum(data):
    class InTwo(Other):
        def loss(self, output, target):
            value, gradient = load("hep").loss(output, target)
            return Sum({"half": value / 2, "other half": value / 2}), gradient

    model = Model(InTwo(lambda shape, generator: load("hep").network(shape, generator, width=3)))
    asked = replace(settings(data, 2), width=None)
    learnt = Learning(model, InMemory(model.open([data])), asked, NODES, WORK, MACHINE).run()
    assert learnt.losses == pytest.approx(learning(data, 2).run().losses, rel=1e-6)


@pytest.mark.parametrize(
    ("network", "layers", "mistake"),
    [
        (with_statistics, 2, "keeps statistics of batches"),
        (shallow, 6, "has 1 layers for these images, and 6 for those that it is meant for"),
    ],
)
def test_networks_that_cannot_be_learnt_so_are_refused(data, network, layers, mistake):
    model = Model(Other(network))
    work = WORK._replace(sizes=WORK.sizes[:layers])
    asked = replace(settings(data), width=None)
    with pytest.raises(UserError, match=mistake):
        Learning(model, InMemory(model.open([data])), asked, NODES, work, MACHINE)
