"""Asynchronous with a bound: nobody is more than so many iterations ahead of the slowest.

::

    iteration   1   2   3   4   5   6
    rank 0      =============>|             with a bound of 2: rank 0 has made four iterations, and
    rank 1      =======>                    waits for its answers until rank 1 has made two
    rank 2      ===========>

Every gradient is applied when it comes, as in ``async_ps.py``, of which this is the text but for
what follows. Only the answers of workers that are ahead are held back. They then leave with all
that was applied meanwhile: who begins its iteration number n has seen all gradients of iterations
up to n - 1 - bound. With a bound of 0 everybody waits for everybody.

``ServedLayer`` has a bound of another kind: it counts updates, and holds gradients back.

Source: Q. Ho et al., More Effective Distributed ML via a Stale Synchronous Parallel Parameter
Server (NIPS 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.optim import Optimizer
from minidl.parallel import async_ps
from minidl.parallel.served import ServedLayer
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch


class BoundedLayer(ServedLayer):
    """A layer whose server lets nobody run ahead.

    Parameters
    ----------
    number, optimizer, groups
        See ``ServedLayer``.
    bound : int
        Iterations that a group may be ahead of the slowest.
    """

    def __init__(self, number: int, optimizer: Optimizer, groups: int, bound: int) -> None:
        super().__init__(number, optimizer, groups)
        self.bound = bound
        self.made = dict.fromkeys(range(groups), 0)  # gradients that have come of each
        self.ahead: list[int] = []  # groups that wait for their answers

    def receive(self, group: int) -> list[int]:
        """Apply the gradient in the group's parcel; returns whom to answer now."""
        self.made[group] += 1
        self.ahead += super().receive(group)
        return self._answer()

    def leave(self, group: int) -> list[int]:
        """Wait for a group no longer; returns whom to answer now."""
        super().leave(group)
        del self.made[group]
        self.ahead = [other for other in self.ahead if other != group]
        return self._answer()

    def _answer(self) -> list[int]:
        last = min(self.made.values(), default=0) + self.bound
        answered = [group for group in self.ahead if self.made[group] <= last]
        self.ahead = [group for group in self.ahead if self.made[group] > last]
        for group in answered:
            self.reading[group] = self.parcels[group].version = self.version
            np.copyto(self.parcels[group].values, self.optimizer.parameters)
        return answered


class Strategy(async_ps.Strategy):
    """Asynchronous training in which nobody runs far ahead.

    Parameters
    ----------
    comm, roles, objective, make_optimizer, stopwatch
        See ``async_ps.Strategy``.
    bound : int
        See ``BoundedLayer``.
    """

    def __init__(
        self,
        comm: Any,
        roles: Roles,
        objective: Any,
        make_optimizer: Callable[[np.ndarray], Optimizer],
        stopwatch: Stopwatch,
        bound: int,
    ) -> None:
        super().__init__(comm, roles, objective, make_optimizer, stopwatch)
        self.served = {
            number: BoundedLayer(number, layer.optimizer, roles.groups, bound)
            for number, layer in self.served.items()
        }
