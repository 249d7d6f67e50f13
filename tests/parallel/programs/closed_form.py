"""Gradients that depend on the rank, so that the right parameters can be written down.

Rank r has r + 1 samples and the mean gradient (r + 1) * (layer number + 1) everywhere. Prints
nothing; fails if any parameter differs from the formula in its last bits.
"""

from functools import partial

import numpy as np
from mpi4py import MPI

from minidl.layers import Layer, Sequential
from minidl.optim import SGD
from minidl.parallel import sync
from minidl.stopwatch import Stopwatch

comm = MPI.COMM_WORLD


class Given(Layer):
    """A layer whose gradient is given."""

    def __init__(self, number, size):
        super().__init__()
        self.number = number
        self._learn(np.float64, weight=(size,))

    def forward(self, x, training=True, require=None):
        return x

    def backward(self, dy, announce=None):
        self.gradient[...] = dy * (self.number + 1)
        announce(self)
        return dy


network = Sequential(*[Given(number, size) for number, size in enumerate([5, 1, 70_000])])
strategy = sync.Strategy(
    comm,
    network,
    lambda output, target: (float(target), comm.rank + 1.0),
    partial(SGD, learning_rate=1.0),
    Stopwatch(),
)
strategy.start()
samples = np.arange(1, comm.size + 1)
mean = (samples * samples).sum() / samples.sum()
for step in range(1, 4):
    loss = strategy.step(np.empty(comm.rank + 1), 10.0 * (comm.rank + 1))
    np.testing.assert_allclose(loss, 10 * mean, rtol=1e-14)
    for layer in strategy.layers:
        expected = -step * mean * (layer.number + 1)
        np.testing.assert_allclose(layer.parameters, expected, rtol=1e-14)
