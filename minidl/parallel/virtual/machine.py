"""What computing and messages cost on a machine, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A node and a network, in five numbers.

    Parameters
    ----------
    flops : float
        Floating-point operations a second that a rank achieves.
    latency : float
        Seconds that any message takes.
    bandwidth : float
        Bytes a second that a rank sends.
    eager : int
        Bytes up to which a message is sent without waiting for its receiver.
    """

    name: str
    flops: float = math.inf
    latency: float = 0.0
    bandwidth: float = math.inf
    eager: int = 0

    def message_time(self, size: int) -> float:
        """Seconds until a message of so many bytes is there."""
        return self.latency + size / self.bandwidth

    def collective_time(self, kind: str, ranks: int, size: int) -> float:
        """Seconds that a collective call takes from when the last rank has made it.

        Source: R. Thakur, R. Rabenseifner and W. Gropp, Optimization of Collective Communication
        Operations in MPICH (2005): a binomial tree for short messages and for a root's, and
        Rabenseifner's reduce-scatter and gather for long sums, whose arithmetic is left out.
        """
        steps = math.ceil(math.log2(ranks)) if ranks > 1 else 0
        share = (ranks - 1) / ranks
        tree = steps * self.message_time(size)
        if kind in ("Bcast", "Reduce", "Allreduce"):
            return min(tree, 2 * (steps * self.latency + share * size / self.bandwidth))
        return steps * self.latency + (ranks - 1) * size / self.bandwidth


INSTANT = Machine("instant")
