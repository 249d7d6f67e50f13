"""Strategy 1, synchronous: everyone waits for everyone, and all make the same update.

::

    rank 0    rank 1    rank 2    rank 3
      |         |         |         |        each: forward, backward on its own samples
      +----+----+----+----+----+----+
           all-reduce of a layer's           as soon as backward announces the layer,
           gradient: the sum                 while it goes on with the layer below
      +----+----+----+----+----+----+
      |         |         |         |        each: the same mean, the same update

All ranks hold the same parameters at all times. P ranks with b samples each make the update that
one rank would make with all P*b, to rounding, also where the last batch is dealt unevenly.

Source: Deep Learning at 15PF, section III: the synchronous part, data-parallel with a reduction a
layer; one rank alone is serial training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from minidl.layers import Layer
from minidl.optim import Optimizer
from minidl.stopwatch import Stopwatch


class Strategy:
    """Synchronous data-parallel training.

    Parameters
    ----------
    comm : MPI.Intracomm
        The ranks that train together.
    network : Layer
        This rank's replica.
    loss : function (output, target) -> (mean over the batch, its gradient by the output)
    make_optimizer : function (parameters) -> Optimizer
        Called once a layer.
    stopwatch : Stopwatch
        Is told what was spent on "compute" and "wait".
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        network: Layer,
        loss: Callable[[Any, Any], tuple[float, Any]],
        make_optimizer: Callable[[np.ndarray], Optimizer],
        stopwatch: Stopwatch,
    ) -> None:
        self.comm = comm
        self.network = network
        self.loss = loss
        self.layers = network.layers()
        self.optimizers = [make_optimizer(layer.parameters) for layer in self.layers]
        self.stopwatch = stopwatch
        self.samples = 0
        self.requests: list[MPI.Request] = []

    def start(self) -> None:
        """Give every rank the parameters of rank 0."""
        for layer in self.layers:
            self.comm.Bcast(layer.parameters, root=0)

    def step(self, x: np.ndarray, target: Any) -> float:
        """Make one update from this rank's samples and everybody else's.

        Parameters
        ----------
        x : np.ndarray, shape (samples, ...)
            May have another number of samples on every rank, also none.
        target : whatever the loss takes

        Returns
        -------
        float
            The mean loss over the samples of all ranks.
        """
        with self.stopwatch("compute"):
            loss, dy = self.loss(self.network.forward(x), target)
            self.samples = len(x)
            total = np.array([loss * self.samples, self.samples])
            self.requests = [self.comm.Iallreduce(MPI.IN_PLACE, total)]
            self.network.backward(dy, announce=self._gradient_ready)
        with self.stopwatch("wait"):
            MPI.Request.Waitall(self.requests)
        with self.stopwatch("compute"):
            for layer, optimizer in zip(self.layers, self.optimizers, strict=True):
                layer.gradient /= total[1]  # the sum over all samples becomes their mean
                optimizer.step(layer.gradient)
        return float(total[0] / total[1])

    def _gradient_ready(self, layer: Layer) -> None:
        """Start to sum the layer's gradient while backward computes the next one."""
        # A mean over this rank's samples becomes a sum, so that every sample counts the same.
        layer.gradient *= self.samples
        self.requests.append(self.comm.Iallreduce(MPI.IN_PLACE, layer.gradient))
        # MPI moves messages while it is being called, and here is the only place to call it.
        MPI.Request.Testall(self.requests)

    def gather(self) -> None:
        """Average what each rank gathered without a gradient; the parameters are equal already."""
        for leaf in self.network.leaves():
            if leaf.statistics.size:
                self.comm.Allreduce(MPI.IN_PLACE, leaf.statistics)
                leaf.statistics /= self.comm.size
