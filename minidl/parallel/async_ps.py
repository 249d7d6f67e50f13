"""Strategy 2, asynchronous: servers hold the layers, and no worker waits for another.

::

    rank 0    rank 1    rank 2        workers: forward, backward on their own samples
      |         |         |
      | a layer's gradient            as soon as backward announces the layer,
      v         v         v           to the server that holds it
    +---------------+-----------+
    |    rank 3     |  rank 4   |     servers: one update for each gradient,
    |  layers 0, 2  |  layer 1  |     in the order of arrival
    +---------------+-----------+
      |         |         |
      | its new parameters            to the one whose gradient made them,
      v         v         v           as soon as the next forward needs the layer
    rank 0    rank 1    rank 2

While a worker computes, others update the layers: its gradient is *stale*. Updates are counted
where a layer lives, each layer's by itself, so that the layers in one forward pass may be of
different versions. One worker alone is serial training.

Source: Deep Learning at 15PF, section III: the asynchronous part, with a server a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mpi4py import MPI

from minidl.layers import Layer
from minidl.objective import Batch, Objective
from minidl.optim import Optimizer
from minidl.parallel.parcel import Parcel
from minidl.parallel.served import ServedLayer
from minidl.parallel.server import leave, serve
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch


class Strategy:
    """Asynchronous training with parameter servers.

    Parameters
    ----------
    comm : MPI.Intracomm
        The ranks that train together, servers last.
    roles : Roles
        Every worker is a group by itself.
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
        self.layers = objective.layers
        self.number = {layer: number for number, layer in enumerate(self.layers)}
        self.total = np.zeros(3)  # loss summed over the samples, their number: see Objective
        self.requests: dict[Layer, list[MPI.Request]] = {}
        holders = roles.holders([layer.parameters.size for layer in self.layers])
        self.holder = dict(zip(self.layers, holders, strict=True))
        exchanging = self.layers if comm.rank < roles.workers else []
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
        """Compute a gradient on this rank's samples; return the mean loss over them."""
        with self.stopwatch("compute"):
            self.total = self.objective.forward(batches, require=self._parameters_needed)
            self.objective.backward(announce=self._gradient_ready)
        loss, samples, *_ = self.total.tolist()
        return loss / samples

    def _parameters_needed(self, layer: Layer) -> None:
        """Wait for the parameters that the layer's server made of the gradient."""
        if layer in self.requests:
            with self.stopwatch("wait", self.number[layer], self.holder[layer]):
                for request in self.requests[layer]:
                    request.Wait()
            np.copyto(layer.parameters, self.answers[layer].values)
            del self.requests[layer]

    def _gradient_ready(self, layer: Layer) -> None:
        """Send the layer's gradient to its server while backward computes the next one."""
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
            # MPI moves messages while it is being called, and here is the only place to call it.
            for requests in self.requests.values():
                for request in requests:
                    request.Test()

    def gather(self) -> None:
        """Complete what is under way, so that the network can be evaluated or saved."""
        for layer in self.layers:
            self._parameters_needed(layer)

    def stop(self) -> None:
        """After a worker's last step: tell the servers that no gradient follows."""
        self.gather()
        leave(self.comm, self.roles)

    def serve(self) -> None:
        """Be a server until every worker has stopped."""
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
        """Another rank has died: only servers are waited for, and without one nobody can go on."""
        raise error
