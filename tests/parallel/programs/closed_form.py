"""Gradients of which every one leaves another trace, so that the right sum can be written down.

Arguments: strategy, groups, servers. Every sum here is exact, in whatever order it is made. Prints
nothing; fails if a gradient was lost, applied twice, to another layer or with another weight, if
versions are not consistent, ranks of a group differ, or a message is left.
"""

import math
import sys
from functools import partial

import numpy as np
from common import (
    build,
    check_nothing_is_left,
    check_updates,
    comm,
    given_network,
    roles_of,
    updates_of,
)

from minidl.optim import SGD

name, groups, servers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ITERATIONS = 3
roles = roles_of(name, groups, servers)
WHOLE = math.lcm(*range(1, 10))  # of any number of samples that a group may have


def samples(rank):
    return 1 + rank % 2


def mean_gradient(rank, iteration):
    return float(WHOLE * 4 ** (roles.workers * iteration + rank))


def group_mean(group, iteration):
    members = roles.members(group)
    total = sum(samples(rank) for rank in members)
    return sum(samples(rank) * mean_gradient(rank, iteration) for rank in members) / total


iteration = 0
network = given_network()
strategy = build(
    name,
    roles,
    network,
    lambda output, target: (float(target), mean_gradient(comm.rank, iteration)),
    partial(SGD, learning_rate=1.0),
)
for layer in strategy.layers:
    layer.parameters[...] = comm.rank  # start() has to make them equal: 0
strategy.start()
group = roles.group(comm.rank)
if group < 0:
    strategy.serve()
else:
    versions = dict.fromkeys(strategy.layers, -1)
    for iteration in range(ITERATIONS):  # noqa: B007  (the loss above takes it from here)
        loss = strategy.step([(np.empty(samples(comm.rank)), 10.0 * (comm.rank + 1))])
        counts = np.array([samples(rank) for rank in roles.members(group)])
        losses = 10.0 * (np.array(roles.members(group)) + 1)
        np.testing.assert_allclose(loss, (counts * losses).sum() / counts.sum(), rtol=1e-14)
        strategy.gather()
        for layer in strategy.layers:
            everyones = np.empty((strategy.group.size, layer.parameters.size))
            strategy.group.Allgather(layer.parameters, everyones)
            assert (everyones == layer.parameters).all(), "ranks of a group differ"
            if name != "sync" and strategy.group.rank == 0:
                assert strategy.answers[layer].version > versions[layer], "a step back"
                versions[layer] = strategy.answers[layer].version
    strategy.stop()
if roles.servers:
    strategy.finish()
for layer in strategy.layers:
    expected = -layer.number * sum(
        group_mean(group, iteration)
        for group in range(roles.groups)
        for iteration in range(ITERATIONS)
    )
    assert (layer.parameters == expected).all(), (layer.parameters, expected)
updates = updates_of(strategy)
if comm.rank == 0 and name != "sync":
    check_updates(updates, roles.groups, ITERATIONS, len(strategy.layers))
check_nothing_is_left(comm, strategy.group)
