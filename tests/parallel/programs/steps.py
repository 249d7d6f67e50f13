"""Some steps of the synchronous strategy on shares of fixed batches; rank 0 saves what came out.

Arguments: file to write, optimiser, then one share for each rank and batch: "4,2,0/3,3,0" gives
three ranks 4, 2 and 0 samples of the first batch of 6 and 3, 3 and 0 of the second.
"""

import sys
from functools import partial

import numpy as np
from mpi4py import MPI

from minidl.layers import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from minidl.losses import softmax_cross_entropy
from minidl.optim import SGD, Adam
from minidl.parallel import sync
from minidl.stopwatch import Stopwatch

comm = MPI.COMM_WORLD
path, optimizer, shares, normalise = sys.argv[1:5]

# Each rank draws other weights: start() has to make them equal.
generator = np.random.default_rng(comm.rank)
layers = [
    Conv2d(2, 3, 3, padding=1, generator=generator, input_gradient=False, dtype=np.float64),
    *([BatchNorm2d(3, dtype=np.float64)] if normalise == "yes" else []),
    ReLU(inplace=True),
    MaxPool2d(2),
    Flatten(),
    Linear(3 * 3 * 2, 4, generator=generator, dtype=np.float64),
]
make_optimizer = {
    "sgd": partial(SGD, learning_rate=0.05, momentum=0.9),
    "adam": partial(Adam, learning_rate=0.01),
}[optimizer]
network = Sequential(*layers)
strategy = sync.Strategy(comm, network, softmax_cross_entropy, make_optimizer, Stopwatch())
strategy.start()

data = np.random.default_rng(99)
losses = []
for share in shares.split("/"):
    counts = [int(count) for count in share.split(",")]
    x, labels = data.standard_normal((sum(counts), 6, 4, 2)), data.integers(0, 4, sum(counts))
    first = sum(counts[: comm.rank])
    mine = slice(first, first + counts[comm.rank])
    losses.append(strategy.step(x[mine], labels[mine]))
strategy.gather()

own = np.concatenate(
    [layer.parameters for layer in strategy.layers] + [leaf.statistics for leaf in network.leaves()]
)
everyones = np.empty((comm.size, own.size))
comm.Gather(own, everyones, root=0)
everyones_losses = np.empty((comm.size, len(losses)))
comm.Gather(np.array(losses), everyones_losses, root=0)
if comm.rank == 0:
    np.savez(path, parameters=everyones, losses=everyones_losses)
