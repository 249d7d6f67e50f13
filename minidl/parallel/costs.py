"""What the algorithms of ``allreduce.py`` cost, on any number of ranks.

A rank sends one message at a time and receives one at a time; no two messages share a cable.
Sources: see there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Cost(NamedTuple):
    """What has to be done one after the other until the last rank has the sum.

    Attributes
    ----------
    messages : float
        How many.
    sent, added : float
        So many times the vector.
    """

    messages: float
    sent: float
    added: float

    def seconds(
        self, size: float, latency: float, bandwidth: float, adding: float = math.inf
    ) -> float:
        """Return how long that takes.

        Parameters
        ----------
        size : float
            Bytes of the vector.
        latency : float
            Seconds that any message takes.
        bandwidth, adding : float
            Bytes a second that a rank sends, and adds to others.
        """
        return self.messages * latency + size * (self.sent / bandwidth + self.added / adding)


def crossover(
    fewer_messages: Cost,
    fewer_bytes: Cost,
    latency: float,
    bandwidth: float,
    adding: float = math.inf,
) -> float:
    """Return from how many bytes on fewer bytes are worth more messages; infinite if never.

    Parameters
    ----------
    latency, bandwidth, adding
        See ``Cost.seconds``.
    """
    messages, sent, added = np.subtract(fewer_bytes, fewer_messages).tolist()
    saved = -(sent / bandwidth + added / adding)
    return max(0.0, messages * latency) / saved if saved > 0 else math.inf


def naive(ranks: int) -> Cost:
    """All others' vectors to rank 0, and all back."""
    others = ranks - 1
    return Cost(2 * others, 2 * others, others)


def tree(ranks: int) -> Cost:
    """Up the tree, and down."""
    height = (ranks - 1).bit_length()
    return Cost(2 * height, 2 * height, height)


def ring(ranks: int) -> Cost:
    """Twice around, a piece in each step."""
    others = ranks - 1
    return Cost(2 * others, 2 * others / ranks, others / ranks)


def recursive_doubling(ranks: int) -> Cost:
    """All in every exchange; and where ranks are folded, there and back once more."""
    exchanges, folded = doublings(ranks)
    return Cost(exchanges + 2 * folded, exchanges + 2 * folded, exchanges + folded)


def rabenseifner(ranks: int) -> Cost:
    """A half, a quarter, and so on, and back; and where ranks are folded, all there and back."""
    exchanges, folded = doublings(ranks)
    share = 1 - 0.5**exchanges
    return Cost(2 * (exchanges + folded), 2 * (share + folded), share + folded)


def doublings(ranks: int) -> tuple[int, int]:
    """Return the logarithm of the largest power of two, and 1 if there are ranks beyond it."""
    exchanges = ranks.bit_length() - 1
    return exchanges, int(ranks > 1 << exchanges)


COSTS: Mapping[str, Callable[[int], Cost]] = {
    "naive": naive,
    "tree": tree,
    "ring": ring,
    "recursive_doubling": recursive_doubling,
    "rabenseifner": rabenseifner,
}
