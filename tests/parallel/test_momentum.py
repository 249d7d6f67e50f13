"""Asynchrony begets momentum: what servers make of workers that arrive in a random order."""

from functools import partial
from random import Random

import numpy as np
import pytest

from minidl.layers import Layer, Sequential
from minidl.objective import Objective
from minidl.optim import SGD
from minidl.parallel import async_ps
from minidl.parallel.virtual import VirtualCluster
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch

LEARNING_RATE = 0.2
CURVATURES = np.array([1.0, 0.4])  # two, since one curve does not tell momentum from step
UPDATES, RUNS = 25, 150


class Quadratic(Layer):
    """The loss sum of curvature * parameter^2 / 2, from 1 on."""

    def __init__(self):
        super().__init__()
        self._learn(np.float64, weight=(len(CURVATURES),))
        self.parameters[...] = 1

    def forward(self, x, training=True, require=None):
        require(self)
        self.seen = self.parameters.copy()
        return x

    def backward(self, dy, announce=None):
        self.gradient[...] = CURVATURES * self.seen
        announce(self)


class Remembering(SGD):
    """Keeps the parameters after every update."""

    def __init__(self, parameters):
        super().__init__(parameters, LEARNING_RATE)
        self.history = [parameters.copy()]

    def step(self, gradient, scale=1.0):
        super().step(gradient, scale)
        self.history.append(self.parameters.copy())


def program(workers, comm):
    network = Sequential(Quadratic())
    objective = Objective(network, lambda output, target: (0.0, None))
    roles = Roles(workers + 1, workers, 1)
    strategy = async_ps.Strategy(comm, roles, objective, Remembering, Stopwatch(capacity=0))
    strategy.start()
    history = None
    if comm.rank == workers:
        strategy.serve()
        history = strategy.served[0].optimizer.history[: UPDATES + 1]
    else:
        for _ in range(UPDATES):  # as many as one worker may have to make if it is always picked
            strategy.step([(np.empty(1), None)])
        strategy.stop()
    strategy.finish()
    return history


@pytest.mark.parametrize("workers", [2, 4])
def test_random_arrivals_add_momentum_and_shorten_the_step(workers):
    """Momentum 1 - 1/M and step lr/M, as I. Mitliagkas et al. (2016) derive for such a queue."""
    generator = Random(workers)
    runs = [
        VirtualCluster(workers + 1, choose=lambda options: generator.randrange(len(options))).run(
            partial(program, workers)
        )[workers]
        for _ in range(RUNS)
    ]
    mean = np.mean(runs, axis=0)  # (updates + 1, curvatures)
    moved = np.diff(mean, axis=0)
    # moved[t + 1] = momentum * moved[t] - step * curvature * mean[t + 1]
    causes = np.stack([moved[:-1].ravel(), -(CURVATURES * mean[1:-1]).ravel()], axis=1)
    (momentum, step), *_ = np.linalg.lstsq(causes, moved[1:].ravel())
    assert momentum == pytest.approx(1 - 1 / workers, abs=0.05)
    assert step == pytest.approx(LEARNING_RATE / workers, rel=0.15)
