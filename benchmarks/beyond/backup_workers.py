"""Synchronous with backup workers: the first gradients make the update, the last are dropped.

::

    rank 0    rank 1    rank 2        three workers, of whom one is a backup
      |         |         :
      | a layer's gradient            as soon as backward announces the layer
      v         v         :
    +---------------------:-----+
    |  two of three are enough: |     servers: one update with the mean of the first two
    |  update, and answer       |
    +---------------------:-----+
      |         |         v
      | the new parameters            to those who were in time; who comes later is told at once
      v         v         |           that the layer has gone on, and goes on from there
    rank 0    rank 1    rank 2

An update is the mean of gradients that were all computed on the same parameters: nothing is stale.
Which workers are late is decided layer by layer, so that two layers' means may be of different
workers. A worker that was late for some layers may then hold layers of different ages; what it
computes on them counts nowhere.

Who talks to whom is as in ``async_ps.py``, of which this is the text but for what follows.

Source: J. Chen, X. Pan, R. Monga, S. Bengio and R. Jozefowicz, Revisiting Distributed Synchronous
SGD (2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.layers import Layer
from minidl.optim import Optimizer
from minidl.parallel import async_ps
from minidl.parallel.parcel import Parcel
from minidl.parallel.served import ServedLayer
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch

MIXED = -1  # in place of a version: computed on layers of different ages
DROPPED = -1  # in place of the version that a gradient made


class QuorumLayer(ServedLayer):
    """A layer that is updated with the mean of the first gradients that were computed on it.

    Parameters
    ----------
    number, optimizer, groups
        See ``ServedLayer``.
    backups : int
        Of so many of the groups the gradients are not waited for. Towards the end, when groups
        have left, those that are left are enough.
    """

    def __init__(self, number: int, optimizer: Optimizer, groups: int, backups: int) -> None:
        super().__init__(number, optimizer, groups)
        self.enough = groups - backups
        self.sum = Parcel(optimizer.parameters).values

    def receive(self, group: int) -> list[int]:
        """Count the gradient in the group's parcel, or drop it; returns whom to answer."""
        parcel = self.parcels[group]
        if parcel.version != self.version:
            self.updates.append(self.number, group, parcel.version, DROPPED)
            return self._answer([group])
        np.add(self.sum, parcel.values, out=self.sum)
        self.updates.append(self.number, group, parcel.version, self.version + 1)
        self.held.append(group)
        return self._apply()

    def _apply(self) -> list[int]:
        """Update, if there are gradients enough."""
        if not self.held or len(self.held) < min(self.enough, len(self.reading)):
            return []
        np.divide(self.sum, len(self.held), out=self.sum)
        self.optimizer.step(self.sum)
        np.copyto(self.sum, 0)
        self.version += 1
        counted, self.held = self.held, []
        return self._answer(counted)

    def _answer(self, groups: list[int]) -> list[int]:
        for group in groups:
            self.reading[group] = self.parcels[group].version = self.version
            np.copyto(self.parcels[group].values, self.optimizer.parameters)
        return groups


class Strategy(async_ps.Strategy):
    """Synchronous training with backup workers.

    Parameters
    ----------
    comm, roles, objective, make_optimizer, stopwatch
        See ``async_ps.Strategy``. All workers have equally many samples an iteration.
    backups : int
        So many gradients of an update are not waited for.
    """

    def __init__(
        self,
        comm: Any,
        roles: Roles,
        objective: Any,
        make_optimizer: Callable[[np.ndarray], Optimizer],
        stopwatch: Stopwatch,
        backups: int,
    ) -> None:
        super().__init__(comm, roles, objective, make_optimizer, stopwatch)
        self.versions: dict[Layer, int] = {}  # of the layers that an iteration computes on
        self.served = {
            number: QuorumLayer(number, layer.optimizer, roles.groups, backups)
            for number, layer in self.served.items()
        }

    def _parameters_needed(self, layer: Layer) -> None:
        """Wait for the parameters, and remember how old they are."""
        super()._parameters_needed(layer)
        self.versions[layer] = self.answers[layer].version

    def _gradient_ready(self, layer: Layer) -> None:
        """Send the gradient, and with it, whether all of the network was equally old."""
        if len(set(self.versions.values())) > 1:
            self.answers[layer].version = MIXED
        super()._gradient_ready(layer)
