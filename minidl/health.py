"""Is a network still sound? Numbers that are none any more, and ranks whose copies differ."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from .layers import Layer
from .layers.strips import parts
from .parallel.agreement import from_one, lowest


def origin(network: Layer, x: np.ndarray) -> str:
    """Say where numbers of a forward pass stop being finite: in a layer's parameters or output.

    The pass is made again, part by part: a convolution with what ``Strips`` computes together
    with it is one part.
    """
    layer = unsound_layer(network)
    if layer:
        return described(layer)
    for part, output in outputs(network, x):
        if not np.isfinite(output).all():
            return f"the output of {part.name} was the first that was not finite"
    return "all outputs are finite: it is the loss itself"


def origin_in(comm: MPI.Intracomm, network: Layer, sound: bool, x: np.ndarray) -> tuple[int, str]:
    """Find the first rank whose numbers stopped being finite, and where; all ranks call.

    Parameters
    ----------
    comm : MPI.Intracomm
    network : Layer
    sound : bool
        Whether this rank's own loss and gradients are finite.
    x : array
        This rank's inputs.

    Returns
    -------
    tuple of int and str
        The rank, 0 where only the sum of all is too large, and the words of ``origin``.
    """
    rank = lowest(comm, not sound) % comm.size
    found = origin(network, x) if comm.rank == rank else None
    return rank, from_one(comm, found, root=rank)


def what_diverged(event: dict[str, Any] | None, saved: str) -> str:
    """Say what rank 0's log knows of it, and what is ``saved``; other ranks have nothing to say."""
    if event is None:
        return ""
    return (
        f"the loss is not a finite number any more, at iteration {event['iteration']} on "
        f"rank {event['rank']}: {event['origin']}; try a smaller --learning-rate than "
        f"{event['learning_rate']:g}, or --warmup{saved and f'; the last good state is {saved}'}"
    )


def unsound_layer(network: Layer) -> Layer | None:
    """The first layer with parameters that are not finite."""
    unsound = (layer for layer in network.layers() if not np.isfinite(layer.parameters).all())
    return next(unsound, None)


def described(layer: Layer) -> str:
    """Say of a layer that it is not sound."""
    return f"the parameters of {layer.name} were not finite any more"


def outputs(network: Layer, x: np.ndarray) -> list[tuple[Layer, np.ndarray]]:
    """Every part of a network with a copy of what it puts out, in the order of computation."""
    found: list[tuple[Layer, np.ndarray]] = []

    def watch(part: Layer) -> None:
        forward = part.forward

        def forward_and_keep(*arguments: Any) -> Any:
            y = forward(*arguments)
            found.append((part, np.array(y)))
            return y

        part.forward = forward_and_keep  # type: ignore[assignment, method-assign]

    watched_parts = parts(network)
    for part in watched_parts:
        watch(part)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            network.forward(x, False)
    finally:
        for part in watched_parts:
            del part.forward
    return found


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
