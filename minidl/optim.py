"""Optimisers and learning-rate schedules.

An optimiser is bound to one flat vector of parameters, updates it in place, and owns what it
remembers about it. So it can live wherever that vector lives: one a layer on every rank of a
synchronous run, or exactly one on the server that holds the layer.

A schedule is a function of the number of updates made so far; a plain number is constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Schedule = Callable[[int], float]


# Numbers that are updated at a time. Every operation on them goes through all of its arrays: five
# pieces of float32 about fill a cache of 1 MiB meanwhile, and calling NumPy takes a small share.
PIECE = 65536


class Optimizer:
    """What the optimisers share.

    Parameters
    ----------
    parameters : np.ndarray, shape (size,)
        Updated in place.
    learning_rate : float or function of the update's number
    weight_decay : float
        This many times the parameters are added to the gradient.

    Attributes
    ----------
    updates : int
        How many were made.
    state : dict of str to np.ndarray, each of shape (size,)
        What a checkpoint has to save besides ``updates``.
    """

    def __init__(
        self, parameters: np.ndarray, learning_rate: float | Schedule, weight_decay: float
    ) -> None:
        self.parameters = parameters
        self.schedule = learning_rate if callable(learning_rate) else constant(learning_rate)
        self.weight_decay = weight_decay
        self.updates = self.forgotten = 0
        self.state: dict[str, np.ndarray] = {}
        self._scratch = np.empty((2, min(PIECE, parameters.size)), parameters.dtype)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self.schedule(self.updates)

    def step(self, gradient: np.ndarray, scale: float = 1.0) -> None:
        """Update the parameters. ``gradient`` (size,) is left as it is.

        ``scale`` multiplies the learning rate of this one update.
        """
        rate = scale * self.learning_rate
        self.updates += 1
        for start in range(0, self.parameters.size, PIECE):
            piece = slice(start, start + PIECE)
            parameters, part = self.parameters[piece], gradient[piece]
            step, decayed = self._scratch[:, : part.size]
            if self.weight_decay:
                np.multiply(parameters, self.weight_decay, out=decayed)
                part = np.add(decayed, part, out=decayed)
            state = {name: values[piece] for name, values in self.state.items()}
            self._step_from(part, state, rate, out=step)
            parameters -= step

    def _step_from(
        self, gradient: np.ndarray, state: dict[str, np.ndarray], rate: float, out: np.ndarray
    ) -> None:
        """Update a piece of the state, and write what is to be subtracted into ``out``."""
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    g = gradient + weight_decay * p;  v = momentum * v + g;  p -= learning_rate * v
    (Nesterov: p -= learning_rate * (g + momentum * v)).

    Source: I. Sutskever et al., On the importance of initialization and momentum in deep learning
    (ICML 2013), with the learning rate outside of the velocity.
    """

    def __init__(
        self,
        parameters: np.ndarray,
        learning_rate: float | Schedule,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov
        self.state = {"velocity": np.zeros_like(parameters)}

    def _step_from(
        self, gradient: np.ndarray, state: dict[str, np.ndarray], rate: float, out: np.ndarray
    ) -> None:
        velocity = state["velocity"]
        velocity *= self.momentum
        velocity += gradient
        if self.nesterov:
            np.multiply(velocity, self.momentum, out=out)
            out += gradient
            out *= rate
        else:
            np.multiply(velocity, rate, out=out)


class Adam(Optimizer):
    """Steps of about the learning rate, whatever the gradient's scale.

    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
    p -= learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)

    This is the form that the paper's runs used: epsilon is not divided by the correction of v.
    ``momentum`` is beta1, as there. Source: D. Kingma and J. Ba, Adam (ICLR 2015), end of
    section 2.

    ``state`` has m / (1 - beta1) and v / (1 - beta2), decaying sums: the two factors can as well
    be part of the learning rate and of epsilon, which saves two walks through the vectors.
    """

    def __init__(
        self,
        parameters: np.ndarray,
        learning_rate: float | Schedule = 1e-3,
        *,
        momentum: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay)
        self.momentum, self.beta2, self.epsilon = momentum, beta2, epsilon
        self.state = {"gradients": np.zeros_like(parameters), "squares": np.zeros_like(parameters)}

    def _step_from(
        self, gradient: np.ndarray, state: dict[str, np.ndarray], rate: float, out: np.ndarray
    ) -> None:
        gradients, squares = state["gradients"], state["squares"]
        remembered = self.updates - self.forgotten
        correction = math.sqrt(1 - self.beta2**remembered) / (1 - self.momentum**remembered)
        root = math.sqrt(1 - self.beta2)
        gradients *= self.momentum
        gradients += gradient
        np.multiply(gradient, gradient, out=out)
        squares *= self.beta2
        squares += out
        np.sqrt(squares, out=out)
        out += self.epsilon / root
        np.divide(gradients, out, out=out)
        out *= rate * correction * (1 - self.momentum) / root


def explicit_momentum(groups: int, total: float = 0.9) -> float:
    """Momentum to ask for where asynchronous groups add some of their own, so that both make total.

    With G groups that update in a random order, the mean step behaves as one with momentum
    1 - 1/G; the rest, but not less than 0, is left to ask for: 0.9 for one group, 0.4 for two,
    0.15 for four, 0 for ten and more. The paper searched {0, 0.4, 0.7} for each number of groups.
    Momentum from asynchrony spreads a gradient over updates, where one's own also multiplies it, by
    1 / (1 - momentum): with less of it, SGD may want a larger learning rate.
    Source: I. Mitliagkas et al., Asynchrony begets Momentum (Allerton 2016).
    """
    return max(0.0, total - (1 - 1 / groups))


def constant(learning_rate: float) -> Schedule:
    """Always the same."""
    return lambda update: learning_rate


def step_decay(learning_rate: float, every: int, factor: float = 0.1) -> Schedule:
    """Multiplied by ``factor`` after each ``every`` updates."""
    return lambda update: learning_rate * factor ** (update // every)


def cosine(learning_rate: float, updates: int, final: float = 0.0) -> Schedule:
    """Fall from ``learning_rate`` to ``final`` over ``updates`` along half a cosine.

    Source: I. Loshchilov and F. Hutter, SGDR (ICLR 2017), equation 5, one period.
    """

    def schedule(update: int) -> float:
        progress = min(update / updates, 1.0)
        return final + (learning_rate - final) * (1 + math.cos(math.pi * progress)) / 2

    return schedule


def linear_scaling(schedule: Schedule, ranks: int, warmup: int = 0) -> Schedule:
    """Multiply by the number of ranks, reached in a line from 1 over ``warmup`` updates.

    A batch that is P times as large makes P times fewer updates; to move as far, each has to be
    P times as long. The first ones are shortened, while the gradient still turns quickly.
    Source: P. Goyal et al., Accurate, Large Minibatch SGD (2017), section 2.
    """

    def scaled(update: int) -> float:
        progress = 1.0 if update >= warmup else update / warmup
        return schedule(update) * (1 + (ranks - 1) * progress)

    return scaled
