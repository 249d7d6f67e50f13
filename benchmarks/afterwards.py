"""The synchronous strategy without its overlap: communication starts when backward is over.

Two classes that differ in nothing else, for a benchmark to compare: both note when backward was
over, by the moment at which the network's first layer, the last in backward, is announced.
"""

from __future__ import annotations

import time

from mpi4py import MPI

from minidl.layers import Layer
from minidl.parallel.sync import Strategy


class Overlapped(Strategy):
    """The strategy as it is."""

    backward_ended = 0.0

    def _gradient_ready(self, layer: Layer) -> None:
        if layer is self.layers[0]:
            self.backward_ended = time.perf_counter()
        super()._gradient_ready(layer)


class Afterwards(Overlapped):
    """Send nothing before the last layer is ready, then everything."""

    def _gradient_ready(self, layer: Layer) -> None:
        if layer is self.layers[0]:
            self.backward_ended = time.perf_counter()
        # Within backward, as the strategy does it: arithmetic must not count as communication.
        layer.gradient *= self.samples
        if layer is self.layers[0]:
            gradients = [ready.gradient for ready in reversed(self.layers)]
            self.requests += [self.comm.Iallreduce(MPI.IN_PLACE, each) for each in gradients]
