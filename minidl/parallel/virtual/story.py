"""A deadlock told: who waits for what, where in the program, and in which circle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rank import Rank

HERE = os.path.dirname(__file__)


def story(ranks: Sequence[Rank], stuck: list[Rank]) -> str:
    """Say what each rank waits for, at which line of the program, and who waits for whom."""
    waiting = sum(len(rank.numbers) for rank in stuck)
    lines = [f"deadlock: {waiting} of {len(ranks)} ranks wait, and nobody can go on"]
    for rank in stuck:
        whom = sorted(rank.waits_for.for_whom())
        ended = [ranks[number] for number in whom if ranks[number].has_ended]
        how = "has died" if ended and ended[0].died is not None else "has ended"
        also = f" (rank {ended[0].number} {how})" if ended else ""
        who = f"rank {rank.number}"
        if len(rank.numbers) > 1:
            who += f", with {len(rank.numbers) - 1} that are played as one with it,"
        lines.append(f"  {who} waits for {rank.waits_for.told()}{also}")
        lines.append(f"    {place(rank.body.gr_frame)}")
    round_trip = circle(ranks, stuck)
    if round_trip:
        lines.append("  in a circle: " + " -> ".join(f"rank {number}" for number in round_trip))
    return "\n".join(lines)


def circle(ranks: Sequence[Rank], stuck: list[Rank]) -> list[int]:
    """Follow who waits for whom until somebody comes up again; turn back where nobody does."""
    ahead = {
        rank.number: [n for n in rank.waits_for.for_whom() if not ranks[n].has_ended]
        for rank in stuck
    }
    for start in ahead:
        path = [start]
        while path:
            if not ahead[path[-1]]:
                path.pop()
                continue
            following = ahead[path[-1]].pop(0)
            if following in path:
                return [*path[path.index(following) :], following]
            path.append(following)
    return []


def place(frame: FrameType | None) -> str:
    """Find the line of the program, outside of this package, at which a rank stands."""
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == HERE:
        frame = frame.f_back
    if frame is None:
        return "?"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
