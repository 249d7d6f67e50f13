"""Strategy 3, hybrid: groups that are synchronous inside, and asynchronous among each other.

::

    rank 0    rank 1    rank 2    rank 3    two groups: forward, backward on their own samples
      |         |         |         |
      +<--------+         +<--------+       a layer's gradient, as soon as backward announces
      | the sum           | the sum         the layer: summed at the group's root, which sends
      v                   v                 the mean to the server that holds the layer
    +---------------+---------------+
    |    rank 4     |    rank 5     |       servers: one update for each group's gradient,
    |  layers 0, 2  |    layer 1    |       in the order of arrival
    +---------------+---------------+
      |                   |
      | its new parameters                  to the root, which broadcasts them in its group
      v                   v                 as soon as the next forward needs the layer
      +-------->+         +-------->+
    rank 0    rank 1    rank 2    rank 3

In a group all ranks hold the same parameters in every forward pass. Between groups gradients are
stale, layer by layer, as in ``async_ps.py``. One group alone is ``sync.py``, with its update made
by the servers; groups of one rank are ``async_ps.py``.

Source: Deep Learning at 15PF, section III. The group's gradient is reduced to its root instead of
to all, since only the root sends it on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mpi4py import MPI

from minidl.layers import Layer
from minidl.objective import Batch, Objective
from minidl.optim import Optimizer
from minidl.parallel.failure import dead, meet
from minidl.parallel.parcel import Parcel
from minidl.parallel.served import ServedLayer
from minidl.parallel.server import leave, serve
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch


class Strategy:
    """Synchronous groups, asynchronous among each other, with parameter servers.

    Parameters
    ----------
    comm : MPI.Intracomm
        The ranks that train together, servers last.
    roles : Roles
        The groups and the servers.
    objective : Objective
        The loss of this rank's replica of the network.
    make_optimizer : function (parameters) -> Optimizer
        Called on the servers, once a layer.
    stopwatch : Stopwatch
        Is told what was spent on "compute", "send" and "wait", on "update" and "idle" by servers.
    staleness_bound, scale_by_staleness
        See ``ServedLayer``.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        roles: Roles,
        objective: Objective,
        make_optimizer: Callable[[np.ndarray], Optimizer],
        stopwatch: Stopwatch,
        staleness_bound: int | None = None,
        scale_by_staleness: bool = False,
    ) -> None:
        self.comm, self.roles, self.objective, self.stopwatch = comm, roles, objective, stopwatch
        self.group = comm.Split(roles.color(comm.rank))
        self.root = comm.rank - self.group.rank  # speaks for the group
        self.layers = objective.layers
        self.number = {layer: number for number, layer in enumerate(self.layers)}
        self.total = np.zeros(3)  # loss summed over the samples, their number: see Objective
        self.sums: dict[Layer, MPI.Request] = {}
        self.summed = MPI.REQUEST_NULL  # of total
        self.requests: dict[Layer, list[MPI.Request]] = {}
        self.broadcasts: dict[Layer, MPI.Request] = {}
        holders = roles.holders([layer.parameters.size for layer in self.layers])
        self.holder = dict(zip(self.layers, holders, strict=True))
        exchanging = self.layers if comm.rank == self.root < roles.workers else []
        self.gradients = {layer: Parcel(layer.parameters) for layer in exchanging}
        self.answers = {layer: Parcel(layer.parameters) for layer in exchanging}
        self.served = {
            number: ServedLayer(
                number,
                make_optimizer(layer.parameters),
                roles.groups,
                staleness_bound,
                scale_by_staleness,
            )
            for layer, number in self.number.items()
            if self.holder[layer] == comm.rank
        }

    def start(self) -> None:
        """Give every rank the parameters of rank 0."""
        for layer in self.layers:
            self.comm.Bcast(layer.parameters, root=0)

    def step(self, batches: Sequence[Batch]) -> float:
        """Compute a gradient on this rank's samples; return the mean loss over the group's.

        The numbers of samples may differ from rank to rank, and be 0 on some.
        """
        with self.stopwatch("compute"):
            self.total = self.objective.forward(batches, require=self._parameters_needed)
            with self.stopwatch("send"):
                self.summed = self.group.Iallreduce(MPI.IN_PLACE, self.total)
            self.objective.backward(announce=self._gradient_ready)
            with self.stopwatch("wait"):
                self.summed.Wait()
            for layer in list(self.sums):
                with self.stopwatch("wait", self.number[layer]):
                    self.sums[layer].Wait()
                self._sum_ready(layer)
        loss, samples, *_ = self.total.tolist()
        return loss / samples

    def _parameters_needed(self, layer: Layer) -> None:
        """Wait for the parameters that the layer's server made of the group's gradient."""
        for other in reversed(self.layers):  # all at once, in the same order on every rank
            if other in self.requests:
                self._answer_needed(other)
        if layer in self.broadcasts:
            with self.stopwatch("wait", self.number[layer], self.root):
                self.broadcasts.pop(layer).Wait()

    def _answer_needed(self, layer: Layer) -> None:
        """Wait for the server's answer, on the root, and start to pass it on to the group."""
        if self.comm.rank == self.root:
            with self.stopwatch("wait", self.number[layer], self.holder[layer]):
                for request in self.requests[layer]:
                    request.Wait()
            np.copyto(layer.parameters, self.answers[layer].values)
        del self.requests[layer]
        self.broadcasts[layer] = self.group.Ibcast(layer.parameters, root=0)

    def _gradient_ready(self, layer: Layer) -> None:
        """Start to sum the layer's gradient while backward computes the next one."""
        at_root = self.comm.rank == self.root
        with self.stopwatch("send", self.number[layer]):
            self.sums[layer] = self.group.Ireduce(
                MPI.IN_PLACE if at_root else layer.gradient,
                layer.gradient if at_root else None,
                root=0,
            )
        # MPI moves messages while it is being called, and here is the only place to call it.
        if self.summed.Test():  # else no sum can become a mean yet
            for earlier, request in list(self.sums.items()):
                if request.Test():
                    self._sum_ready(earlier)

    def _sum_ready(self, layer: Layer) -> None:
        """Send the sum to the layer's server, from the root; the others will hear from the root."""
        del self.sums[layer]
        self.requests[layer] = []
        if self.comm.rank == self.root:
            gradient, answer = self.gradients[layer], self.answers[layer]
            server, number = self.holder[layer], self.number[layer]
            with self.stopwatch("send", number, server):
                # The sum over all samples becomes their mean.
                np.divide(layer.gradient, float(self.total[1]), out=gradient.values)
                gradient.version = answer.version
                self.requests[layer] = [
                    self.comm.Irecv(answer.message, server, number),
                    self.comm.Isend(gradient.message, server, number),
                ]

    def gather(self) -> None:
        """Complete what is under way, so that the network can be evaluated or saved.

        What layers gather without a gradient is averaged; the parameters are equal already.
        """
        for layer in self.layers:
            self._parameters_needed(layer)
        for leaf in self.objective.network.leaves():
            if leaf.statistics.size:
                total = leaf.statistics.copy()
                self.group.Allreduce(MPI.IN_PLACE, total)
                np.divide(total, self.group.size, out=leaf.statistics)

    def stop(self) -> None:
        """After a worker's last step: tell the servers that no gradient follows."""
        self.gather()
        if self.comm.rank == self.root:
            leave(self.comm, self.roles)

    def serve(self) -> None:
        """Be a server until every group has stopped."""
        serve(self.comm, self.roles, self.served, self.stopwatch)

    def finish(self) -> None:
        """Give every rank the network, after ``stop`` and ``serve``. All may go on from there.

        What layers gather without a gradient is averaged over the workers.
        """
        for layer, number in self.number.items():
            version = np.array(self.served[number].meet() if number in self.served else 0)
            self.comm.Bcast(version, root=self.holder[layer])
            # What one has is kept until the newer is there as a whole: the holder may die.
            np.copyto(layer.gradient, layer.parameters)
            self.comm.Bcast(layer.gradient, root=self.holder[layer])
            np.copyto(layer.parameters, layer.gradient)
            if layer in self.answers:
                self.answers[layer].version = int(version)
        for leaf in self.objective.network.leaves():
            if leaf.statistics.size:
                total = leaf.statistics.copy()
                if self.served:
                    total[...] = 0  # a server has seen no data
                self.comm.Allreduce(MPI.IN_PLACE, total)
                np.divide(total, self.roles.workers, out=leaf.statistics)

    def survive(self, error: Exception) -> None:
        """A rank has died: without one of its members a group waits until all meet.

        Other groups notice nothing. Without a server nobody can go on.
        """
        self.group.Revoke()
        if max(dead(self.comm), default=0) < self.roles.workers:
            if self.comm.rank == self.root:
                leave(self.comm, self.roles)
            meet(self.comm)
        raise error
