"""What ranks find out together: whose numbers are none any more, and whose copies differ."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from .layers import Layer
from .parallel.agreement import from_one, lowest
from .soundness import origin


def origin_in(
    comm: MPI.Intracomm, network: Layer, sound: bool, inputs: Sequence[np.ndarray]
) -> tuple[int, str]:
    """Find the first rank whose loss is not sound any more, and where that begins; all ranks call.

    Parameters
    ----------
    comm : MPI.Intracomm
    network : Layer
    sound : bool
        Whether this rank's own loss is.
    inputs : sequence of array
        This rank's, one a batch.

    Returns
    -------
    tuple of int and str
        The rank, 0 where only the sum of all is too large, and the words of ``origin``.
    """
    rank = lowest(comm, not sound) % comm.size
    found = origin(network, inputs) if comm.rank == rank else None
    return rank, from_one(comm, found, root=rank)


def what_diverged(event: dict[str, Any] | None, saved: str) -> str:
    """Say what rank 0's log knows of it, and what is ``saved``; other ranks have nothing to say."""
    if event is None:
        return ""
    loss = event["loss"]
    what = f"has grown to {loss:.3g}" if math.isfinite(loss) else "is not a finite number any more"
    return (
        f"the loss {what}, at iteration {event['iteration']} on "
        f"rank {event['rank']}: {event['origin']}; try a smaller --learning-rate than "
        f"{event['learning_rate']:g}, or --warmup{saved and f'; the last good state is {saved}'}"
    )


def differing(comm: MPI.Intracomm, layers: Sequence[Layer], first: int = 0) -> str:
    """Compare the ranks' copies of every layer by a checksum; all ranks call.

    They make the same updates of the same numbers, or are sent the same: a difference is a
    computer's mistake.

    Parameters
    ----------
    comm : MPI.Intracomm
    layers : sequence of Layer
    first : int
        How the rank that is 0 in ``comm`` is called.

    Returns
    -------
    str
        Which layer differs where; empty if none does. The same on all ranks.
    """
    sums = np.array(
        [zlib.crc32(layer.parameters.view(np.uint8).data) for layer in layers], np.uint32
    )
    everyones = np.empty((comm.size, len(layers)), np.uint32)
    comm.Allgather(sums, everyones)
    usual = np.median(everyones, axis=0)  # the majority's; nobody's, of two that differ
    for number, layer in enumerate(layers):
        others = first + np.flatnonzero(everyones[:, number] != usual[number])
        if len(others):
            return (
                f"{layer.name} is not the same on all ranks; others than most have: rank "
                f"{', '.join(map(str, others.tolist()))}. A memory or a network makes mistakes "
                "there"
            )
    return ""
