"""A run's updates once more: the work of all its ranks in one process, in a given order.

The arithmetic is that of the run: ``Objective`` for each worker's share of a gradient,
``ServedLayer`` for the updates. The parameters that a group computes on next lie in its parcels, as
its servers would have sent them, until its gradient takes their place. No other version of a layer
is kept: memory is that of the servers, however long the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..data import Batches, prepared_in_parts
from ..layers import Layer
from ..layers.algorithms import use_algorithm
from ..model import Model
from ..objective import Batch, Objective
from ..parallel.served import ServedLayer
from ..roles import Roles
from ..settings import Settings
from .order import circle

Losses = dict[tuple[int, int], float]  # by iteration and group


class Rerun:
    """All ranks of a run in one process: the workers' samples, their network, the served layers."""

    def __init__(self, settings: Settings, model: Model, roles: Roles) -> None:
        self.settings, self.model, self.roles = settings, model, roles
        self.dataset = model.open(settings.data)
        shape = model.shape(self.dataset)
        samples, size = len(self.dataset), settings.batch_size * settings.accumulate
        self.batches = [
            Batches(samples, size, rank, roles.workers, settings.seed)
            for rank in range(roles.workers)
        ]
        self.iterations = settings.iterations_of(self.batches[0].per_epoch)
        self.network: Layer = model.network(
            shape, np.random.default_rng(settings.seed), **settings.network_options()
        )
        use_algorithm(self.network, settings.algorithm)
        self.objective = Objective(self.network, model.loss, settings.clip)
        schedule = settings.schedule_for(self.iterations * roles.groups, roles.group_size)
        make_optimizer = settings.optimizer_for(schedule, roles.groups)
        # No bound on staleness: a gradient is applied at once, and comes when it is its turn.
        self.served = [
            ServedLayer(
                number,
                make_optimizer(layer.parameters.copy()),
                roles.groups,
                scale_by_staleness=settings.scale_by_staleness,
            )
            for number, layer in enumerate(self.objective.layers)
        ]
        for served in self.served:
            for parcel in served.parcels:
                np.copyto(parcel.values, served.optimizer.parameters)

    @property
    def names(self) -> list[str]:
        """Of the layers that learn."""
        return [layer.name for layer in self.objective.layers]

    def gradients(self, group: int, iterations: int) -> int:
        """How many a group computes in so many iterations: one in each that has samples for it."""
        members, batches = self.roles.members(group), self.batches[0]
        return sum(batches.count(number, members) > 0 for number in range(iterations))

    def run(
        self,
        orders: Sequence[deque[int]],
        meetings: Sequence[Sequence[int]],
        tell: Callable[[int], None],
    ) -> Losses:
        """Compute every gradient, and apply it in the given order of groups, which is used up.

        ``meetings`` has a row for each time that all groups met: the iterations of each.

        Returns the loss of every (iteration, group), causes before their effects. ``tell`` is
        told how many there are so far.

        Raises
        ------
        ContradictionError
            If gradients would have to be applied that have not been computed yet.
        """
        losses: Losses = {}
        starts = [0] * self.roles.groups
        for stops in meetings:
            spans = enumerate(zip(starts, stops, strict=True))
            self._run({g: self._gradients(g, *span) for g, span in spans}, orders, losses, tell)
            for served in self.served:
                for parcel in served.parcels:
                    parcel.version = served.meet()
                    np.copyto(parcel.values, served.optimizer.parameters)
            starts = list(stops)
        return losses

    def _run(
        self,
        work: dict[int, Iterator[tuple[int, float]]],
        orders: Sequence[deque[int]],
        losses: Losses,
        tell: Callable[[int], None],
    ) -> None:
        """Compute and apply what the groups do until they meet."""
        arrived: list[set[int]] = [set() for _ in self.served]  # gradients that wait for their turn
        while work:
            free = [group for group in work if not any(group in waiting for waiting in arrived)]
            if not free:
                versions = [served.version for served in self.served]
                raise circle(self.names, versions, orders, arrived)
            for group in free:
                step = next(work[group], None)
                if step is None:
                    del work[group]
                    continue
                iteration, losses[iteration, group] = step
                for waiting in arrived:
                    waiting.add(group)
                tell(len(losses))
            for served, order, waiting in zip(self.served, orders, arrived, strict=True):
                while order and order[0] in waiting:
                    waiting.remove(order[0])
                    served.receive(order.popleft())

    def _gradients(self, group: int, start: int, stop: int) -> Iterator[tuple[int, float]]:
        """Compute a group's gradients one by one; yield the iteration and its loss."""
        members = self.roles.members(group)
        shares = [
            prepared_in_parts(
                self.dataset,
                self.batches[rank],
                self.model.prepare,
                start,
                stop,
                self.settings.accumulate,
            )
            for rank in members
        ]
        for iteration, batches in enumerate(zip(*shares, strict=True), start=start):
            if self.batches[0].count(iteration, members):
                yield iteration + 1, self._gradient(group, batches)

    def _gradient(self, group: int, shares: Sequence[Sequence[Batch]]) -> float:
        """Turn the parameters in the group's parcels into the mean gradient; return the loss."""
        sums: dict[Layer, np.ndarray] = {}

        def add(layer: Layer) -> None:
            if layer in sums:
                sums[layer] += layer.gradient
            else:
                sums[layer] = layer.gradient.copy()

        for layer, served in zip(self.objective.layers, self.served, strict=True):
            np.copyto(layer.parameters, served.parcels[group].values)
        totals = []
        with np.errstate(over="ignore", invalid="ignore"):
            for batches in shares:
                totals.append(self.objective.forward(batches))
                self.objective.backward(announce=add)
        loss, samples, *_ = np.sum(totals, axis=0).tolist()
        for layer, served in zip(self.objective.layers, self.served, strict=True):
            np.divide(sums[layer], samples, out=served.parcels[group].values)
        return loss / samples
