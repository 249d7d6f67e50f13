"""Strategy 1, synchronous: everyone waits for everyone, and all make the same update.

::

    rank 0    rank 1    rank 2    rank 3
      |         |         |         |        each: forward, backward on its own samples
      +----+----+----+----+----+----+
           all-reduce of a layer's           as soon as backward announces the layer,
           gradient: the sum                 while it goes on with the layer below
      +----+----+----+----+----+----+
      |         |         |         |        each: the same mean, the same update,
                                             as soon as the next forward needs the layer

All ranks hold the same parameters in every forward pass. P ranks with b samples each make the
update that one rank would make with all P*b, to rounding, also where the last batch is dealt
unevenly. One rank alone is serial training.

Source: Deep Learning at 15PF, section III: the synchronous part, data-parallel with a reduction a
layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mpi4py import MPI

from minidl.layers import Layer
from minidl.objective import Batch, Objective
from minidl.optim import Optimizer
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch


class Strategy:
    """Synchronous data-parallel training.

    Parameters
    ----------
    comm : MPI.Intracomm
        The ranks that train together.
    roles : Roles
        One group, no servers.
    objective : Objective
        The loss of this rank's replica of the network.
    make_optimizer : function (parameters) -> Optimizer
        Called on every rank, once a layer.
    stopwatch : Stopwatch
        Is told what was spent on "compute", "send" and "wait".
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        roles: Roles,
        objective: Objective,
        make_optimizer: Callable[[np.ndarray], Optimizer],
        stopwatch: Stopwatch,
    ) -> None:
        self.comm, self.roles, self.objective, self.stopwatch = comm, roles, objective, stopwatch
        self.group = comm.Split(roles.color(comm.rank))
        self.layers = objective.layers
        self.number = {layer: number for number, layer in enumerate(self.layers)}
        self.total = np.zeros(3)  # loss summed over the samples, their number: see Objective
        self.requests: dict[Layer, MPI.Request] = {}
        self.optimizers = {layer: make_optimizer(layer.parameters) for layer in self.layers}

    def start(self) -> None:
        """Give every rank the parameters of rank 0."""
        for layer in self.layers:
            self.comm.Bcast(layer.parameters, root=0)

    def step(self, batches: Sequence[Batch]) -> float:
        """Compute a gradient on this rank's samples; return the mean loss over those of all ranks.

        The numbers of samples may differ from rank to rank, and be 0 on some.
        """
        with self.stopwatch("compute"):
            self.total = self.objective.forward(batches, require=self._parameters_needed)
            with self.stopwatch("send"):
                summed = self.group.Iallreduce(MPI.IN_PLACE, self.total)
            self.objective.backward(announce=self._gradient_ready)
            with self.stopwatch("wait"):
                summed.Wait()
        loss, samples, *_ = self.total.tolist()
        return loss / samples

    def _parameters_needed(self, layer: Layer) -> None:
        """Wait for the sum of the layer's gradients, and make the update."""
        if layer in self.requests:
            with self.stopwatch("wait", self.number[layer]):
                self.requests.pop(layer).Wait()
            layer.gradient /= float(self.total[1])  # the sum over all samples becomes their mean
            self.optimizers[layer].step(layer.gradient)

    def _gradient_ready(self, layer: Layer) -> None:
        """Start to sum the layer's gradient while backward computes the next one."""
        with self.stopwatch("send", self.number[layer]):
            self.requests[layer] = self.group.Iallreduce(MPI.IN_PLACE, layer.gradient)
            # MPI moves messages while it is being called, and here is the only place to call it.
            for request in self.requests.values():
                request.Test()

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
        """After the last step: every rank has the final network."""
        self.gather()

    def survive(self, error: Exception) -> None:
        """A rank has died: everyone waits for everyone, so that nobody can go on by itself."""
        raise error
