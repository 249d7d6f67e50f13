"""Who waited for whom: every second that a rank waited, traced back to the rank that caused it.

At any moment a rank works, or waits for another, or for a message that is under way::

    rank 0   works . . . . . . waits for rank 1 . . . . . . . . . . works
    rank 1   waits for rank 2 . . . . . . . . . . . . . works . . . . . .
    rank 2   works . . . . . . . . . . . . idle . . . . . . . . . . . . .

             rank 2 caused 1's | both 0's | in transit | rank 1 caused 0's

So the ranks of a moment point at each other, and following the pointers ends at the cause: a rank
that works, or none where a message is in transit. In a collective everyone waits for the last to
arrive, then for the messages. An idle server has nothing to do, and causes nothing; where it holds
a gradient back, for a bound on staleness, the sender waits for whoever's gradient frees it.

Compare D. Böhme et al., Identifying the Root Causes of Wait States in Large-Scale Parallel
Applications (ICPP 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..record import Record
from ..stopwatch import ACTIVITIES

SEND, WAIT, UPDATE, IDLE = (ACTIVITIES.index(name) for name in ("send", "wait", "update", "idle"))
OTHER = len(ACTIVITIES)  # stands for what is not timed: between spans
CHUNK = 1 << 16  # moments that are looked at together; bounds the memory, not the result


@dataclass
class Waits:
    """Seconds waited.

    Attributes
    ----------
    seconds : np.ndarray, shape (ranks, ranks + 1, layers + 1)
        By who waited, who caused it (last: a message in transit) and the layer waited for (last,
        so also at -1: the loss).
    doing : np.ndarray, shape (ranks, activities + 1)
        By who caused it and what it did meanwhile (last: what is not timed).
    """

    seconds: np.ndarray
    doing: np.ndarray

    @property
    def caused(self) -> np.ndarray:
        """Seconds by who waited and who caused it; shape (ranks, ranks)."""
        return self.seconds[:, :-1].sum(axis=2)

    @property
    def in_transit(self) -> np.ndarray:
        """Seconds that each rank waited for messages under way; shape (ranks,)."""
        return self.seconds[:, -1].sum(axis=1)


def find_waits(record: Record) -> Waits:
    """Trace all waiting of a run back to its causes.

    The sums over causes and layers are the seconds that each rank spent on "wait".
    """
    ranks, layers = len(record.groups), len(record.layers) + 1
    seconds, doing = np.zeros((ranks, ranks + 1, layers)), np.zeros((ranks, OTHER + 1))
    awaited, until = pointers(record)
    changes = [times for spans in record.spans for times in (spans["start"], spans["end"])]
    moments = np.unique(np.concatenate(changes + until))
    moments = moments[np.isfinite(moments)]
    for first in range(0, len(moments) - 1, CHUNK):
        times = moments[first : first + CHUNK + 1]
        lasting, times = np.diff(times), times[:-1]
        # Rows are ranks; the last one is "in transit", which points at itself.
        pointer = np.full((ranks + 1, len(times)), ranks)
        activity = np.full((ranks, len(times)), OTHER)
        layer = np.zeros((ranks, len(times)), int)
        for rank, spans in enumerate(record.spans):
            pointer[rank] = rank
            started = np.searchsorted(spans["start"], times, side="right")
            inside = np.flatnonzero(started > 0)
            inside = inside[times[inside] < spans["end"][started[inside] - 1]]
            place = started[inside] - 1
            under_way = times[inside] >= until[rank][place]
            pointer[rank, inside] = np.where(under_way, ranks, awaited[rank][place])
            activity[rank, inside] = spans["activity"][place]
            layer[rank, inside] = spans["layer"][place] % layers
        waiter, moment = np.nonzero(activity == WAIT)
        cause = follow(pointer)[waiter, moment]
        add(seconds, lasting[moment], waiter, cause, layer[waiter, moment])
        known = cause < ranks
        cause, moment = cause[known], moment[known]
        add(doing, lasting[moment], cause, activity[cause, moment])
    return Waits(seconds, doing)


def pointers(record: Record) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Say of each span of each rank which rank it waits for, and until when.

    Later than that, a message is in transit. A span of work points at its own rank, and one that
    waits for nobody at the number of ranks.
    """
    nobody = len(record.groups)
    awaited, until = [], []
    for rank, spans in enumerate(record.spans):
        peer, waits = spans["peer"], spans["activity"] == WAIT
        known = waits & (peer >= 0) & (peer != rank)
        rest = np.where(waits | (spans["activity"] == IDLE), nobody, rank)
        awaited.append(np.where(known, peer, rest))
        until.append(np.full(len(spans), np.inf))
    for group in set(record.groups) - {-1}:
        members = np.flatnonzero(np.array(record.groups) == group)
        for layer in range(-1, len(record.layers)):
            sends, waits = (
                [concerning(record.spans[member], activity, layer) for member in members]
                for activity in (SEND, WAIT)
            )
            arrivals = np.full((len(members), max(map(len, sends))), -np.inf)
            for row, member, own in zip(arrivals, members, sends, strict=True):
                row[: len(own)] = record.spans[member]["start"][own]
            if not arrivals.size:
                continue
            last, when = members[arrivals.argmax(axis=0)], arrivals.max(axis=0)
            for member, own, waiting in zip(members, sends, waits, strict=True):
                # Waiting is lazy: the collective is the last that was entered, maybe long ago.
                turn = np.searchsorted(own, waiting) - 1
                entered = turn >= 0
                awaited[member][waiting[entered]] = last[turn[entered]]
                until[member][waiting[entered]] = when[turn[entered]]
    for server in np.flatnonzero(np.array(record.groups) < 0):
        point_at_those_who_free(record, int(server), awaited, until)
    return awaited, until


def point_at_those_who_free(
    record: Record, server: int, awaited: list[np.ndarray], until: list[np.ndarray]
) -> None:
    """Have those whose gradients a server held back wait for whoever's gradient freed them.

    An answer that follows the update that another rank's gradient started had been held back.
    """
    spans = record.spans[server]
    causes = np.flatnonzero(np.isin(spans["activity"], (UPDATE, IDLE)))
    answers = np.flatnonzero(spans["activity"] == SEND)
    if not len(causes):
        return
    before = causes[np.maximum(np.searchsorted(causes, answers) - 1, 0)]
    freed_by = np.where(spans["activity"][before] == UPDATE, spans["peer"][before], -1)
    held = (freed_by >= 0) & (freed_by != spans["peer"][answers])
    for root, layer in {(int(spans["peer"][a]), int(spans["layer"][a])) for a in answers[held]}:
        mine = (spans["peer"][answers] == root) & (spans["layer"][answers] == layer)
        asked, waiting = (
            concerning(record.spans[root], activity, layer, server) for activity in (SEND, WAIT)
        )
        turn = np.searchsorted(asked, waiting) - 1
        for place, number in zip(waiting, turn, strict=True):
            if 0 <= number < mine.sum() and held[mine][number]:
                awaited[root][place] = freed_by[mine][number]
                until[root][place] = spans["start"][before[mine][number]]


def concerning(spans: np.ndarray, activity: int, layer: int, peer: int = -1) -> np.ndarray:
    """Find the spans of one activity for a layer and a peer, in order; -1 is the whole group."""
    chosen = (spans["activity"] == activity) & (spans["layer"] == layer) & (spans["peer"] == peer)
    return np.flatnonzero(chosen)


def follow(pointer: np.ndarray) -> np.ndarray:
    """Follow pointers (ranks + 1, moments) to who points at itself, in doubling steps.

    Who goes round in a circle ends at the last row: no rank was the cause.
    """
    end = pointer
    for _ in range(len(pointer).bit_length()):
        end = np.take_along_axis(end, end, axis=0)
    stays = np.take_along_axis(pointer, end, axis=0) == end
    return np.where(stays, end, len(pointer) - 1)


def add(sums: np.ndarray, values: np.ndarray, *places: np.ndarray) -> None:
    """Add values, in place, to an array where these indices say; several may meet at one."""
    flat = np.ravel_multi_index(places, sums.shape)
    sums += np.bincount(flat, values, sums.size).reshape(sums.shape)
