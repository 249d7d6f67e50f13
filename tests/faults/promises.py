"""What a run promises for every fault; a trial is held against it."""

from __future__ import annotations

import re

from trials import LAYOUTS, Cell, Outcome

# Of every fault: the status of mpiexec, if it is decided, and what minidl says.
ENDINGS: dict[str, tuple[int | None, str]] = {
    "kill": (None, ""),  # the dead say nothing: mpiexec does
    "raise": (1, r"rank RANK failed; all ranks end"),
    "loader": (1, r"rank RANK failed; all ranks end"),
    "hang": (1, r"minidl: rank RANK has made no progress for \d+ s"),
    "sigterm": (130, r"minidl: interrupted; run/checkpoint\.h5, of iteration \d+; .* goes on"),
    "nan": (2, r"minidl: .*not a? ?finite.* at iteration \d+ on rank \d+"),
    "flip": (2, r"minidl: \S+ is not the same on all ranks"),
    "disk": (2, r"minidl: \S+: cannot write"),
}
SOONEST = {"hang": 3.0}  # seconds: what the watchdog allows
LONGEST = 30.0  # seconds from a fault to the end of all, on a machine with other things to do


def broken(cell: Cell, outcome: Outcome, ulfm: bool) -> list[str]:
    """Say which promises a trial has broken."""
    if outcome.status is None:
        return ["hangs"]
    if not outcome.struck:
        return ["the fault did not come"]
    found = []
    if outcome.left:
        found.append(f"{outcome.left} processes were left")
    if outcome.traceback and cell.kind not in ("raise", "loader"):
        found.append("a traceback")
    if outcome.seconds > LONGEST:
        found.append(f"ended {outcome.seconds:.0f} s after the fault")
    if outcome.damaged:
        found.append(f"the newest checkpoint is damaged: {outcome.damaged}")
    if ulfm:
        found += death_not_outlived(outcome)
    elif not (outcome.finished and may_finish(cell)):
        found += ends_badly(cell, outcome)
    return found + goes_on_badly(outcome)


def may_finish(cell: Cell) -> bool:
    """Whether the run may go on as if nothing was.

    A signal is for rank 0 to hear, and comes too late in the last iteration.
    """
    return cell.kind == "sigterm" and (cell.role != "first" or cell.phase != "start")


def ends_badly(cell: Cell, outcome: Outcome) -> list[str]:
    """Compare status and message with those that are promised; one message and no more."""
    status, pattern = ENDINGS[cell.kind]
    if cell.kind == "sigterm" and cell.phase == "start":
        status, pattern = None, ""  # nothing to save yet: it ends as any program does
    found = []
    if outcome.status == 0 or status not in (None, outcome.status):
        found.append(f"status {outcome.status}, promised {status or 'another than 0'}")
    if len(outcome.said) > 1 or (not outcome.said and outcome.noticed == "nobody"):
        found.append(f"{len(outcome.said)} messages, promised one: {outcome.said}")
    pattern = pattern.replace("RANK", str(LAYOUTS[cell.strategy].roles[cell.role]))
    if pattern and not re.search(pattern, " ".join(outcome.said)):
        found.append(f"said {outcome.said}, promised {pattern}")
    if cell.kind == "sigterm" and cell.phase != "start" and outcome.lost:
        found.append(f"{outcome.lost} updates were not saved")
    return found


def death_not_outlived(outcome: Outcome) -> list[str]:
    """Those who are left have gone on, to the end."""
    if not outcome.finished:
        return ["the run did not survive"]
    return []


def goes_on_badly(outcome: Outcome) -> list[str]:
    """A run goes on from its last checkpoint, and ends as it would have ended."""
    found = []
    nothing_saved = outcome.saved < 0
    expected = nothing_saved or outcome.saved == 12
    if outcome.resumed == 0 and nothing_saved:
        found.append("resumed without a checkpoint")
    if outcome.resumed not in ((2,) if expected else (0,)):
        found.append(f"--resume: status {outcome.resumed}: {outcome.resumed_said}")
    if outcome.equal is False:
        found.append("ends otherwise than without the fault")
    return found
