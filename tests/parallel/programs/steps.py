"""Some steps of a strategy on shares of fixed batches; rank 0 saves what came out.

Arguments, as JSON: path (to write), strategy, groups, servers, optimizer, normalise (whether the
network has a batch normalisation), dtype, clip, parts (of which every share is made), turns
(whether groups step one after the other), shares: for each batch a list of the number of samples
of each worker.
"""

import json
import sys
from functools import partial

import numpy as np
from common import Turns, build, check_nothing_is_left, comm, roles_of, updates_of

from minidl.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from minidl.losses import softmax_cross_entropy
from minidl.optim import SGD, Adam

what = json.loads(sys.argv[1])
roles = roles_of(what["strategy"], what["groups"], what["servers"])
dtype = np.dtype(what["dtype"])

# Each rank draws other weights: start() has to make them equal.
generator = np.random.default_rng(comm.rank)
layers = [
    Conv2d(2, 3, 3, padding=1, generator=generator, input_gradient=False, dtype=dtype),
    *([BatchNorm2d(3, dtype=dtype)] if what["normalise"] else []),
    ReLU(inplace=True),
    MaxPool2d(2),
    Flatten(),
    Linear(3 * 3 * 2, 4, generator=generator, dtype=dtype),
]
make_optimizer = {
    "sgd": partial(SGD, learning_rate=0.05, momentum=0.9),
    "adam": partial(Adam, learning_rate=0.01),
}[what["optimizer"]]
network = Sequential(*layers)
strategy = build(
    what["strategy"], roles, network, softmax_cross_entropy, make_optimizer, what["clip"]
)
strategy.start()
turns = Turns(roles)

losses = np.zeros(len(what["shares"]))
if comm.rank >= roles.workers:
    strategy.serve()
else:
    data = np.random.default_rng(99)
    for number, counts in enumerate(what["shares"]):
        x = data.standard_normal((sum(counts), 6, 4, 2)).astype(dtype)
        labels = data.integers(0, 4, sum(counts))
        first = sum(counts[: comm.rank])
        mine = np.arange(first, first + counts[comm.rank])
        batches = [(x[part], labels[part]) for part in np.array_split(mine, what["parts"])]
        if what["turns"]:
            with turns(number == 0, number == len(what["shares"]) - 1):
                losses[number] = strategy.step(batches)
                strategy.gather()
        else:
            losses[number] = strategy.step(batches)
    strategy.stop()
if roles.servers:
    strategy.finish()

own = np.concatenate(
    [layer.parameters for layer in strategy.layers] + [leaf.statistics for leaf in network.leaves()]
).astype(dtype)
everyones = np.empty((comm.size, own.size), dtype)
comm.Gather(own, everyones, root=0)
everyones_losses = np.empty((comm.size, len(losses)))
comm.Gather(losses, everyones_losses, root=0)
updates = updates_of(strategy)
if comm.rank == 0:
    np.savez(what["path"], parameters=everyones, losses=everyones_losses, updates=updates)
check_nothing_is_left(comm, strategy.group)
