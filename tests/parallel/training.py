"""A small training that runs on any communicator, and all that can be said about how it went."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from minidl.layers import Layer, Sequential
from minidl.objective import Objective
from minidl.optim import SGD
from minidl.parallel import async_ps, hybrid, sync
from minidl.parallel.virtual import VirtualCluster
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch

MODULES = {"sync": sync, "async": async_ps, "hybrid": hybrid}
OPTIMIZERS = {
    "plain": {"learning_rate": 1.0},
    "momentum": {"learning_rate": 0.25, "momentum": 0.5},
}


class Pull(Layer):
    """A layer of the loss |parameters - target|^2 / 2: its gradient is parameters - target.

    ``forward`` remembers the parameters that it was computed with: gradients are of those.
    """

    def __init__(self, size):
        super().__init__()
        self._learn(np.float64, weight=(size,))
        self.seen = []

    def forward(self, x, training=True, require=None):
        if require:
            require(self)
        self.seen.append(self.parameters.copy())
        return x

    def backward(self, dy, announce=None):
        np.subtract(self.seen[-1], dy, out=self.gradient)
        announce(self)
        return dy


@dataclass
class Case:
    """What is trained, and by whom."""

    strategy: str
    groups: int = 1
    group_size: int = 1
    servers: int = 0
    layers: int = 2
    iterations: int = 2
    optimizer: str = "plain"
    bound: int | None = None
    modules: dict = field(default_factory=lambda: MODULES)

    @property
    def roles(self):
        return Roles(self.groups * self.group_size + self.servers, self.groups, self.servers)

    def target(self, rank, iteration):
        """What the rank pulls at; every rank and iteration has its own digits."""
        return float(2 ** (3 * (rank * self.iterations + iteration) + 1))

    def group_loss(self, group, iteration):
        members = self.roles.members(group)
        return sum(self.target(rank, iteration) for rank in members) / len(members)

    def group_gradient(self, group, iteration, seen):
        """The mean over the group's ranks, added up in their order."""
        members = self.roles.members(group)
        return sum(seen - self.target(rank, iteration) for rank in members) / len(members)


@dataclass
class Told:
    """What one rank knows at the end.

    ``seen``: for each layer, the parameters of each forward pass. ``versions``: for each layer,
    the version that was had after each step, where a root was told one. ``losses`` of each step.
    """

    final: list
    seen: list
    versions: list
    updates: list
    losses: list


def train(case, comm):
    """Run the case as one of its ranks."""
    roles, iteration = case.roles, 0
    network = Sequential(*[Pull(size) for size in range(1, case.layers + 1)])

    def loss(output, target):
        return target, target

    kwargs = {} if case.strategy == "sync" else {"staleness_bound": case.bound}
    strategy = case.modules[case.strategy].Strategy(
        comm,
        roles,
        Objective(network, loss),
        lambda parameters: SGD(parameters, **OPTIMIZERS[case.optimizer]),
        Stopwatch(capacity=0),
        **kwargs,
    )
    layers, losses = strategy.layers, []
    versions = [[] for _ in layers]
    strategy.start()
    if roles.group(comm.rank) < 0:
        strategy.serve()
    else:
        for iteration in range(case.iterations):
            target = case.target(comm.rank, iteration)
            losses.append(strategy.step([(np.empty(1), target)]))
            for number, layer in enumerate(layers):
                if layer in getattr(strategy, "answers", {}):
                    versions[number].append(strategy.gradients[layer].version)
        strategy.stop()
    if roles.servers:
        strategy.finish()
    updates = [row for served in getattr(strategy, "served", {}).values() for row in served.updates]
    final = [layer.parameters.copy() for layer in layers]
    return Told(final, [layer.seen for layer in layers], versions, updates, losses)


def run(case, choose=lambda options: 0):
    """Run the case on a virtual cluster, and check everything that can be said about it."""
    arrivals = []

    def note(options):
        picked = choose(options)
        arrivals.append(options[picked])
        return picked

    told = VirtualCluster(case.roles.ranks, choose=note).run(partial(train, case))
    check(case, told)
    if case.bound is None:
        for server, rank in enumerate(told):
            order = [
                (tag, case.roles.group(source)) for at, source, tag in arrivals if at == server
            ]
            for number in {row[0] for row in rank.updates}:
                groups = [group for layer, group, _, _ in rank.updates if layer == number]
                arrived = [group for tag, group in order if tag == number]
                assert groups == arrived, "not in the order of arrival"
    return told


def check(case, told):
    """Everything that a strategy promises, whatever the order in which messages arrived."""
    roles = case.roles
    for number in range(case.layers):
        finals = {rank.final[number].tobytes() for rank in told}
        assert len(finals) == 1, "ranks end with different networks"
        for group in range(roles.groups):
            members = [told[rank].seen[number] for rank in roles.members(group)]
            for seen in members[1:]:
                assert np.array_equal(seen, members[0]), "ranks of a group differ"
    for group in range(roles.groups):
        for iteration in range(case.iterations):
            for rank in roles.members(group):
                expected = case.group_loss(group, iteration)
                assert told[rank].losses[iteration] == expected, "not the mean loss of the group"
    if case.strategy == "sync":
        updates = [(n, 0, k, k + 1) for n in range(case.layers) for k in range(case.iterations)]
    else:
        updates = sorted((row for rank in told for row in rank.updates), key=lambda row: row[::3])
    for number in range(case.layers):
        check_layer(case, told, number, [row[1:] for row in updates if row[0] == number])


def check_layer(case, told, number, updates):
    roles = case.roles
    made = [row[2] for row in updates]
    assert made == list(range(1, len(made) + 1)), "versions do not count the updates"
    assert len(made) == roles.groups * case.iterations, "a gradient is lost, or was applied twice"
    parameters = np.zeros(number + 1)
    optimizer = SGD(parameters, **OPTIMIZERS[case.optimizer])
    history, steps = [parameters.copy()], dict.fromkeys(range(roles.groups), 0)
    had = dict.fromkeys(range(roles.groups), 0)
    for group, read, made in updates:
        assert read == had[group], "a gradient of another version than the group was sent"
        had[group] = made
        assert case.bound is None or made - 1 - read <= case.bound, "staler than the bound"
        iteration, steps[group] = steps[group], steps[group] + 1
        root = told[roles.root(group)]
        if case.strategy != "sync":
            assert root.versions[number][iteration] == read, "another version than it was told"
        seen = root.seen[number][iteration]
        assert np.array_equal(seen, history[read]), "not the parameters of that version"
        optimizer.step(case.group_gradient(group, iteration, seen))
        history.append(parameters.copy())
    assert set(steps.values()) == {case.iterations}, "an update was made from another gradient"
    assert np.array_equal(told[0].final[number], parameters), "not what these updates make"
