"""What computing and messages cost on a machine, in seconds, and how unequal its nodes are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Adam reads gradient, parameters and both of its means, and writes all but the gradient.
TOUCHED = 7


@dataclass(frozen=True)
class Machine:
    """A node, a network, and how its MPI adds up.

    Parameters
    ----------
    flops : float
        Floating-point operations a second that a rank achieves, on as many samples as one wishes.
    latency : float
        Seconds that any message takes.
    bandwidth : float
        Bytes a second that a rank sends, and that it receives.
    eager : int
        Bytes up to which a message is sent without waiting for its receiver.
    allreduce : str
        The algorithm of ``Allreduce``, one of ``ALGORITHMS``; or "best", of those that MPICH
        chooses from (recursive doubling and Rabenseifner's) what takes less.
    half_batch : float
        With so many samples a pass takes twice as long as they would among many others.
    memory : float
        Bytes a second that a rank reads and writes.
    jitter : float
        See ``Stragglers``.

    Raises
    ------
    ValueError
        If there is no such algorithm.
    """

    name: str
    flops: float = math.inf
    latency: float = 0.0
    bandwidth: float = math.inf
    eager: int = 0
    allreduce: str = "best"
    half_batch: float = 0.0
    memory: float = math.inf
    jitter: float = 0.0

    def __post_init__(self) -> None:
        known = ["best", *ALGORITHMS]
        if self.allreduce not in known:
            raise ValueError(f"allreduce is {self.allreduce!r}; expected one of {', '.join(known)}")

    def compute_time(self, operations: float, samples: float) -> float:
        """Seconds that so many operations on each of so many samples take.

        That is a rate of flops * samples / (samples + half_batch). Source of the form, a rate that
        rises to half of its limit at one length: R. Hockney and C. Jesshope, Parallel Computers 2
        (1988), section 1.3.
        """
        return operations * (samples + self.half_batch) / self.flops

    def update_time(self, size: float) -> float:
        """Seconds that an update of so many bytes of parameters takes: as fast as memory is."""
        return TOUCHED * size / self.memory

    def message_time(self, size: float) -> float:
        """Seconds until a message of so many bytes is there."""
        return self.latency + size / self.bandwidth

    def collective_time(self, kind: str, ranks: int, size: int) -> float:
        """Seconds that a collective call takes from when the last rank has made it.

        Source: R. Thakur, R. Rabenseifner and W. Gropp, Optimization of Collective Communication
        Operations in MPICH (2005): a binomial tree for a root's short messages; for its long
        ones a scatter and an all-gather, or a reduce-scatter and a gather. Arithmetic is left out.
        """
        if kind == "Allreduce" and self.allreduce != "best":
            return ALGORITHMS[self.allreduce](self, ranks, size)
        if kind in ("Bcast", "Reduce", "Allreduce"):
            # To or from a root alone takes as long: once through a tree, or two halves, too.
            return min(recursive_doubling(self, ranks, size), rabenseifner(self, ranks, size))
        return rounds(ranks) * self.latency + (ranks - 1) * size / self.bandwidth


# Seconds to give all ranks the sum of their vectors of so many bytes. Sources: Thakur et al., as
# above; of the ring, P. Patarasuk and X. Yuan, Bandwidth Optimal All-reduce Algorithms for Clusters
# of Workstations (2009). ``minidl.parallel.allreduce`` has all but Rabenseifner's written out.


def rounds(ranks: int) -> int:
    """Steps until all ranks are reached, when their number doubles in each."""
    return (ranks - 1).bit_length()


def tree(machine: Machine, ranks: int, size: int) -> float:
    """Add up towards a root in a binomial tree, and send the sum back."""
    return 2 * rounds(ranks) * machine.message_time(size)


def recursive_doubling(machine: Machine, ranks: int, size: int) -> float:
    """Exchange all with the rank at distance 1, 2, 4, ...

    Where the number of ranks is not a power of two, written out it takes one message more.
    """
    return rounds(ranks) * machine.message_time(size)


def ring(machine: Machine, ranks: int, size: int) -> float:
    """Send a share of the vector around a ring twice."""
    return 2 * (ranks - 1) * machine.message_time(size / ranks)


def rabenseifner(machine: Machine, ranks: int, size: int) -> float:
    """Halve what is exchanged while the distance doubles, and the other way back."""
    share = (ranks - 1) / ranks
    return 2 * (rounds(ranks) * machine.latency + share * size / machine.bandwidth)


ALGORITHMS: Mapping[str, Callable[[Machine, int, int], float]] = {
    "tree": tree,
    "recursive_doubling": recursive_doubling,
    "ring": ring,
    "rabenseifner": rabenseifner,
}

INSTANT = Machine("instant")

# A node of Cori's second phase reached 1.90 TFLOP/s on the HEP network with 8 images (Deep Learning
# at 15PF, section VI); its network: 0.25 to 3.7 microseconds, about 8 GB/s (NERSC). From which size
# on messages waited for their receivers is not stated: 8 KiB is a guess. Memory: DDR4.
CORI = Machine(
    "Cori, Knights Landing", flops=1.9e12, latency=2e-6, bandwidth=8e9, eager=8192, memory=100e9
)


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

    def of(self, rank: int | Sequence[int]) -> Callable[[], Any]:
        """Return a function that says, once an iteration, how many times as long it takes.

        Of several ranks, that is an array.
        """
        if isinstance(rank, Sequence):
            each = [self.of(one) for one in rank]
            return lambda: np.array([times() for times in each])
        generator = np.random.default_rng([self.seed, rank])
        always = self.slow_factor if generator.random() < self.slow_share else 1.0
        return lambda: always * math.exp(self.jitter * generator.standard_normal())
