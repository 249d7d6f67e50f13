"""The synchronous strategy without its overlap: communication starts when backward is over."""

from __future__ import annotations

from mpi4py import MPI

from minidl.layers import Layer
from minidl.parallel.sync import Strategy


class Afterwards(Strategy):
    """Send nothing before the first layer, the last in backward, is ready, then everything."""

    def _gradient_ready(self, layer: Layer) -> None:
        if layer is self.layers[0]:
            with self.stopwatch("send", self.number[layer]):
                for ready in reversed(self.layers):
                    self.requests[ready] = self.group.Iallreduce(MPI.IN_PLACE, ready.gradient)
