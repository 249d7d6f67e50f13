"""In which order did the servers of a run apply its gradients, and can that have happened?

A record tells for every update of a layer whose gradient it was, which version of the layer that
gradient was computed on (``read``) and which it made (``made``). Not every table of such numbers is
the record of a run: servers count, and give a group the version that its own gradient made, on
which it computes its next one. So

1. the updates of a layer make the versions 1, 2, 3 and so on;
2. an update reads the version that the last one of the same group made, at first version 0, or
   the one that all groups were given when they had met, for a checkpoint;
3. none is staler than ``--staleness-bound``;
4. every group updates every layer once in each of its iterations;
5. layers do not contradict each other, as where each of two groups is said to have computed on
   what came of the other's gradient. Only going through all layers together shows that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from ..record import Record


class ContradictionError(Exception):
    """What a record says has not happened in any run; the message says where."""


def recorded_order(
    record: Record, iterations: Sequence[int], bound: int | None, meetings: Sequence[int] = ()
) -> list[deque[int]]:
    """For every layer, the groups whose gradients were applied, in order.

    Parameters
    ----------
    record : Record
    iterations : sequence of int
        How many each group made.
    bound : int or None
        The run's ``--staleness-bound``.
    meetings : sequence of int
        Versions of a layer with which all groups have gone on.

    Raises
    ------
    ContradictionError
        If the record breaks one of the rules 1 to 4 above.
    """
    numbers = record.updates["layer"]
    for number in numbers[(numbers < 0) | (numbers >= len(record.layers))]:
        raise ContradictionError(
            f"an update of layer number {number}; they are 0 to {len(record.layers) - 1}"
        )
    return [
        _order_of(name, record.updates[numbers == number], iterations, bound, meetings)
        for number, name in enumerate(record.layers)
    ]


def _order_of(
    layer: str,
    updates: np.ndarray,
    iterations: Sequence[int],
    bound: int | None,
    meetings: Sequence[int],
) -> deque[int]:
    """Check the updates of one layer; return whose they are."""
    last = dict.fromkeys(range(len(iterations)), 0)  # the version that each group was given
    order = deque[int]()
    for place, (_, group, read, made) in enumerate(updates.tolist(), start=1):
        if place - 1 in meetings:
            last = dict.fromkeys(last, place - 1)
        if group not in last:
            wrong = f"there are {len(iterations)} groups, numbered from 0"
        elif made != place:
            wrong = f"makes version {made}, where {place} would be next"
        elif read >= place:
            wrong = f"reads version {read}, which is made {'later' if read > place else 'by it'}"
        elif read != last[group]:
            wrong = f"reads version {read}, where its group had been given {last[group]}"
        elif bound is not None and made - 1 - read > bound:
            wrong = f"its staleness is {made - 1 - read}, with --staleness-bound {bound}"
        else:
            last[group] = made
            order.append(group)
            continue
        raise ContradictionError(f"layer {layer}, update {place} (group {group}): {wrong}")
    for group, expected in enumerate(iterations):
        if order.count(group) != expected:
            raise ContradictionError(
                f"layer {layer}: {order.count(group)} updates by group {group}, "
                f"which made {expected} iterations"
            )
    return order


def circle(
    layers: Sequence[str],
    versions: Sequence[int],
    orders: Sequence[Sequence[int]],
    arrived: Sequence[set[int]],
) -> ContradictionError:
    """Say where a replay got stuck, which breaks rule 5.

    Parameters
    ----------
    layers : sequence of str
        Their names.
    versions : sequence of int
        How many updates each layer has had.
    orders : sequence of sequence of int
        For every layer, the groups whose gradients are still to be applied.
    arrived : sequence of set of int
        For every layer, the groups whose gradients wait for that. Each group's does somewhere.
    """
    awaits: dict[int, tuple[str, int, int]] = {}  # group: layer, its next update, whose it is
    for name, version, order, groups in zip(layers, versions, orders, arrived, strict=True):
        awaits |= {group: (name, version + 1, order[0]) for group in groups}
    path = [next(iter(awaits))]
    while path.count(path[-1]) == 1:
        path.append(awaits[path[-1]][2])
    waiting = []
    for group in path[path.index(path[-1]) : -1]:
        layer, update, other = awaits[group]
        waiting.append(
            f"update {update} of {layer} is by group {other}, which waits for {awaits[other][0]}"
        )
    return ContradictionError(f"layers contradict each other: {'; '.join(waiting)}")
