"""What computing and messages cost on a machine, in seconds, and how unequal its nodes are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


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

# A node of Cori's second phase reached 1.90 TFLOP/s on the HEP network with 8 images (Deep Learning
# at 15PF, section VI); its network: 0.25 to 3.7 microseconds, about 8 GB/s (NERSC). From which size
# on messages waited for their receivers is not stated: 8 KiB is a guess.
CORI = Machine("Cori, Knights Landing", flops=1.9e12, latency=2e-6, bandwidth=8e9, eager=8192)


@dataclass(frozen=True)
class Stragglers:
    """How unequal nodes are.

    Parameters
    ----------
    jitter : float
        Each iteration of each rank takes exp(jitter * z) times as long, z standard normal: a
        lognormal distribution with median 1.
    slow_share, slow_factor : float
        So many of the ranks, drawn once, always take so many times as long.
    seed : int
    """

    jitter: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    seed: int = 1

    def of(self, rank: int) -> Callable[[], float]:
        """Return a function that says, once an iteration, how many times as long it takes."""
        generator = np.random.default_rng([self.seed, rank])
        always = self.slow_factor if generator.random() < self.slow_share else 1.0
        return lambda: always * math.exp(self.jitter * generator.standard_normal())
