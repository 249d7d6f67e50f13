"""Ranks that die, and what becomes of what others have begun with them.

A rank dies between two of its calls, or at a time. What it has sent is delivered, unless it was
waiting for its receiver; whoever waits for what can no longer come is told so by the exception that
MPI raises (MPI 5.0, Process Fault Tolerance; ``survival`` has what a program can do then). Where
the standard leaves a choice, this is what Open MPI 5.0 does.

All ranks know of a death from its very time on. How long real failure detectors take depends on
how a rank dies, and is not modelled.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from mpi4py import MPI

if TYPE_CHECKING:
    from .group import Group
    from .requests import Request


class Death(NamedTuple):
    """When a rank dies: at whichever of the two comes first.

    Attributes
    ----------
    calls : float
        It makes so many calls of communicators and requests, and none after. A blocking call is
        two, begin and wait, so that a rank can die in it.
    time : float
        Virtual seconds; at its first call or wait from then on, or while it waits.
    """

    calls: float = math.inf
    time: float = math.inf


class _End(Enum):
    DEAD = "dead"


DEAD: Final = _End.DEAD  # what a rank returns that has died


class FailureError(MPI.Exception):
    """What MPI raises because of a death, with words: MPICH's wheel of mpi4py has none for it.

    Nor has that one classes: there, all of ``MPI.ERR_PROC_FAILED``, ``MPI.ERR_PROC_FAILED_PENDING``
    and ``MPI.ERR_REVOKED`` are the same number.
    """

    def __new__(cls, error_class: int, text: str) -> FailureError:
        """Make one of this class; the words are for ``__init__``."""
        return super().__new__(cls, error_class)

    def __init__(self, error_class: int, text: str) -> None:
        super().__init__(error_class)
        self.text = text

    def __str__(self) -> str:
        return self.text


def has_died(group: Group, index: int) -> FailureError:
    """Say which member is missing."""
    return FailureError(MPI.ERR_PROC_FAILED, f"rank {group.members[index].number} has died")


def is_revoked() -> FailureError:
    """Say that a communicator is of no use any more."""
    return FailureError(MPI.ERR_REVOKED, "the communicator is revoked")


def in_status(error: MPI.Exception) -> FailureError:
    """Say what calls for several requests say of any that failed."""
    return FailureError(MPI.ERR_IN_STATUS, f"of several requests one failed: {error}")


def fails(group: Group, request: Request, other: int | None = None) -> bool:
    """Fail what is begun in vain: in a revoked communicator, or with a dead member."""
    if group.revoked is not None:
        request.fail(is_revoked(), group.revoked)
    elif other is not None and other in group.dead:
        request.fail(has_died(group, other), group.time_of_death(other))
    else:
        return False
    return True


def failure_of_wildcard(group: Group, index: int) -> tuple[float, FailureError] | None:
    """Find since when, and why, a member cannot wait for a message from anybody."""
    unknown = group.dead[group.acknowledged[index] :]
    if group.revoked is not None:
        return group.revoked, is_revoked()
    if unknown:
        return group.time_of_death(unknown[0]), has_died(group, unknown[0])
    return None


def lose(group: Group, index: int) -> None:
    """Take a member that has just died from what its communicator has under way."""
    time = group.time_of_death(index)
    group.dead.append(index)
    for message in group.messages[index]:
        message.send.fail(has_died(group, index), time)
    group.messages[index].clear()
    group.receives[index].clear()
    for messages, receives in zip(group.messages, group.receives, strict=True):
        lost = [m for m in messages if m.source == index and m.send.time is None]
        in_vain = [receive for receive in receives if receive.source == index]
        for message in lost:
            messages.remove(message)
        for receive in in_vain:
            receives.remove(receive)
            receive.fail(has_died(group, index), time)
    for call in group.calls.values():
        call.give_up()
    for agreement in list(group.agreements.values()):
        agreement.settle()


def revoke(group: Group, time: float) -> None:
    """Fail all that a communicator has under way."""
    group.revoked = time
    pending: list[Request] = [m.send for messages in group.messages for m in messages]
    pending += [receive for receives in group.receives for receive in receives]
    pending += [part for call in group.calls.values() for part in call.joined.values()]
    for request in pending:
        request.fail(is_revoked(), time)
    for messages, receives in zip(group.messages, group.receives, strict=True):
        messages.clear()
        receives.clear()
    group.calls.clear()
