"""What a strategy promises, whatever the order in which messages arrive; and whether it keeps it.

A training so small that everything about it can be checked: each layer's loss is
|parameters - target|^2 / 2, with other targets for every layer, rank and iteration. Afterwards
every update that was recorded is made once more, by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from minidl.layers import Announce, Layer, Require, Sequential
from minidl.objective import Objective
from minidl.optim import SGD
from minidl.parallel import async_ps, hybrid, sync
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch

from .cluster import VirtualCluster
from .machine import INSTANT, Machine
from .rank import Option

MODULES: Mapping[str, ModuleType] = {"sync": sync, "async": async_ps, "hybrid": hybrid}
OPTIMIZERS: Mapping[str, Callable[[np.ndarray], SGD]] = {
    "sgd": partial(SGD, learning_rate=0.5),
    "momentum": partial(SGD, learning_rate=0.25, momentum=0.5),
}

Update = tuple[int, int, int, int]  # layer, group, read, made: see served.UPDATE


class BrokenPromiseError(AssertionError):
    """A strategy has not done what it should."""


class Pull(Layer):
    """A layer whose gradient is parameters - target.

    ``dy`` holds the targets of all layers, and is passed on to all.

    Attributes
    ----------
    seen : list of np.ndarray
        The parameters of every forward pass.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self._learn(np.float64, weight=(number + 1,))  # no two layers of one size
        self.seen: list[np.ndarray] = []

    def forward(self, x: Any, training: bool = True, require: Require | None = None) -> Any:
        """Pass x on."""
        if require:
            require(self)
        self.seen.append(self.parameters.copy())
        return x

    def backward(self, dy: Any, announce: Announce | None = None) -> Any:
        """Compute the gradient, of the parameters that forward used."""
        np.subtract(self.seen[-1], dy[self.number], out=self.gradient)
        if announce:
            announce(self)
        return dy


@dataclass
class Case:
    """What is trained, and by whom.

    Parameters
    ----------
    meeting
        After so many iterations all meet, as for a checkpoint, and go on from there; 0: never.
    modules
        Where the strategies are found, by their names.
    """

    strategy: str
    groups: int = 1
    group_size: int = 1
    servers: int = 0
    layers: int = 2
    iterations: int = 2
    optimizer: str = "sgd"
    staleness_bound: int | None = None
    meeting: int = 0
    modules: Mapping[str, Any] = field(default_factory=lambda: MODULES, repr=False)

    @property
    def roles(self) -> Roles:
        """Who is who."""
        return Roles(self.groups * self.group_size + self.servers, self.groups, self.servers)

    @property
    def digits(self) -> int:
        """How many targets there are."""
        return self.layers * self.roles.workers * self.iterations

    def segments(self) -> list[range]:
        """Iterations up to the meeting, and from there."""
        before, after = range(self.meeting), range(self.meeting, self.iterations)
        return [before, after] if self.meeting else [after]

    def targets(self, rank: int, iteration: int) -> np.ndarray:
        """Where a rank pulls each layer in an iteration; each target is a digit of its own, base 8.

        What a layer becomes is made of its own targets only: 3 bits for every iteration of every
        worker; and below them, for every update, 1 with SGD or 2 with momentum, and
        log2(group_size) for the mean. Up to the 53 bits of a float64 no sum is rounded.
        """
        first = np.arange(0, self.digits, self.digits // self.layers)
        return np.ldexp(1.0, 3 * (first + rank * self.iterations + iteration + 1))

    def loss(self, group: int, iteration: int) -> float:
        """The mean over the group's ranks of what they call their loss: their first target."""
        members = self.roles.members(group)
        return sum(self.targets(rank, iteration)[0] for rank in members) / len(members)

    def gradient(self, layer: int, group: int, iteration: int, seen: np.ndarray) -> np.ndarray:
        """The mean over the group's ranks, added up in their order as the cluster does."""
        members = self.roles.members(group)
        gradients = [seen - self.targets(rank, iteration)[layer] for rank in members]
        return np.asarray(sum(gradients)) / len(members)


@dataclass
class Told:
    """What one rank knows in the end.

    Attributes
    ----------
    final : list of np.ndarray
        Each layer's parameters.
    seen : list of list of np.ndarray
        Each layer's parameters in each forward pass.
    versions : list of list of int
        Each layer's version that each gradient was sent with; empty if none was sent.
    updates : list
        What was recorded, on a server.
    losses : list of float
    """

    final: list[np.ndarray]
    seen: list[list[np.ndarray]]
    versions: list[list[int]]
    updates: list[Update]
    losses: list[float]


def train(case: Case, comm: Any) -> Told:
    """Run the case, as one of its ranks, on any communicator."""
    roles = case.roles
    network = Sequential(*map(Pull, range(case.layers)))
    options = {} if case.strategy == "sync" else {"staleness_bound": case.staleness_bound}
    strategy = case.modules[case.strategy].Strategy(
        comm,
        roles,
        Objective(network, lambda output, targets: (targets[0], targets)),
        OPTIMIZERS[case.optimizer],
        Stopwatch(capacity=0),
        **options,
    )
    losses: list[float] = []
    versions: list[list[int]] = [[] for _ in range(case.layers)]
    strategy.start()
    for iterations in case.segments():
        if roles.group(comm.rank) < 0:
            strategy.serve()
        else:
            for iteration in iterations:
                losses.append(strategy.step([(np.empty(1), case.targets(comm.rank, iteration))]))
                if case.strategy != "sync":
                    for number, layer in enumerate(strategy.layers):
                        if layer in strategy.gradients:
                            versions[number].append(strategy.gradients[layer].version)
            strategy.stop()
        if roles.servers:
            strategy.finish()
    updates: list[Update] = []
    if roles.servers:
        updates = [row for served in strategy.served.values() for row in served.updates]
    final = [layer.parameters.copy() for layer in strategy.layers]
    return Told(final, [layer.seen for layer in strategy.layers], versions, updates, losses)


def run(
    case: Case,
    choose: Callable[[Sequence[Option]], int] = lambda options: 0,
    machine: Machine = INSTANT,
) -> list[Told]:
    """Run the case on a virtual cluster, and check every promise.

    Raises
    ------
    BrokenPromiseError
        Says which.
    """
    arrivals: list[Option] = []

    def note(options: Sequence[Option]) -> int:
        if case.staleness_bound is None:
            check_nobody_waits(case, arrivals, options)
        picked = choose(options)
        arrivals.append(options[picked])
        return picked

    told = VirtualCluster(case.roles.ranks, machine, note).run(partial(train, case))
    check_together(case, told)
    for number in range(case.layers):
        check_layer(case, told, number)
    if case.staleness_bound is None:
        check_order(case, told, arrivals)
    return told


def promise(kept: Any, what: str) -> None:
    """Raise ``BrokenPromiseError`` unless it is kept."""
    if not kept:
        raise BrokenPromiseError(f"broken: {what}")


def check_together(case: Case, told: list[Told]) -> None:
    """Check what ranks have in common."""
    for number in range(case.layers):
        finals = {rank.final[number].tobytes() for rank in told}
        promise(len(finals) == 1, "all ranks end with the same network")
        for group in range(case.roles.groups):
            passes = {
                b"".join(seen.tobytes() for seen in told[rank].seen[number])
                for rank in case.roles.members(group)
            }
            promise(len(passes) == 1, "all ranks of a group compute on the same parameters")
    for group in range(case.roles.groups):
        losses = [case.loss(group, iteration) for iteration in range(case.iterations)]
        for rank in case.roles.members(group):
            promise(told[rank].losses == losses, "the loss is the mean over the group")


def check_layer(case: Case, told: list[Told], number: int) -> None:
    """Make a layer's updates once more, and compare with what every group saw and ended with."""
    groups = range(case.roles.groups)
    if case.strategy == "sync":
        updates = [(number, 0, made, made + 1) for made in range(case.iterations)]
    else:
        updates = [row for rank in told for row in rank.updates if row[0] == number]
    parameters = np.zeros(number + 1)
    optimizer = OPTIMIZERS[case.optimizer](parameters)
    history = [parameters.copy()]
    steps, had = dict.fromkeys(groups, 0), dict.fromkeys(groups, 0)
    for place, (_, group, read, made) in enumerate(updates):
        if place == case.meeting * case.roles.groups:
            had = dict.fromkeys(groups, place)  # all have met
        promise(made == place + 1, "a version counts the updates before it")
        promise(read == had[group], "a group computes on the version that it was sent last")
        if case.staleness_bound is not None:
            promise(made - 1 - read <= case.staleness_bound, "no update is staler than the bound")
        promise(steps[group] < case.iterations, "no gradient is applied twice")
        root = told[case.roles.root(group)]
        seen = root.seen[number][steps[group]]
        if case.strategy != "sync":
            sent = root.versions[number][steps[group]]
            promise(sent == read, "a gradient is sent with the version that it was computed on")
        promise(np.array_equal(seen, history[read]), "a version is the same parameters everywhere")
        optimizer.step(case.gradient(number, group, steps[group], seen))
        history.append(parameters.copy())
        had[group], steps[group] = made, steps[group] + 1
    promise(set(steps.values()) == {case.iterations}, "no gradient is lost")
    promise(
        np.array_equal(told[0].final[number], parameters),
        "the final network is what the recorded updates make",
    )


def check_nobody_waits(case: Case, arrivals: list[Option], options: Sequence[Option]) -> None:
    """Check, where no rank can go on, that each group's next message is there, or was its last."""
    sending = {source for _, source, _ in options}
    came = Counter(source for _, source, _ in arrivals)
    for root in map(case.roles.root, range(case.roles.groups)):
        left = case.roles.servers if case.meeting else 0  # messages: it has come to the meeting
        done = came[root] >= case.layers * case.iterations + left
        meeting = case.meeting and came[root] == case.layers * case.meeting + left
        promise(root in sending or done or meeting, "no group waits for another")


def check_order(case: Case, told: list[Told], arrivals: list[Option]) -> None:
    """Check that it is first come, first served."""
    for server in range(case.roles.workers, case.roles.ranks):
        for number in {row[0] for row in told[server].updates}:
            applied = [group for layer, group, _, _ in told[server].updates if layer == number]
            arrived = [
                case.roles.group(source)
                for at, source, tag in arrivals
                if (at, tag) == (server, number)
            ]
            promise(applied == arrived, "gradients are applied in the order of arrival")
