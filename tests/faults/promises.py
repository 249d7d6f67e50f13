"""What a run promises for every fault; a trial is held against it."""

from __future__ import annotations

import math
import re

from trials import EVERY, ITERATIONS, LAYOUTS, Cell, Outcome

# Of every fault: the status of mpiexec, if it is decided, and what minidl says.
ENDINGS: dict[str, tuple[int | None, str]] = {
    "kill": (None, ""),  # the dead say nothing: mpiexec does
    "raise": (1, r"rank RANK failed; all ranks end"),
    "loader": (1, r"rank RANK failed; all ranks end"),
    "hang": (1, r"rank RANK has made no progress for \d+ s"),
    "sigterm": (130, r"minidl: interrupted; run/checkpoint\.h5, of iteration \d+; .* goes on"),
    # Or, if that comes first: nobody else has such a layer.
    "nan": (
        2,
        r"minidl: .*not a? ?finite.* at iteration \d+ on rank RANK: the parameters of LAYER were|"
        r"is not the same on all ranks; others than most have: rank RANK",
    ),
    "flip": (2, r"minidl: \S+ is not the same on all ranks"),
    "disk": (2, r"minidl: \S+: cannot write"),
}
# Moments of a phase after which a run may be over before it can heed a signal: as the last but one
# of its checkpoints is written, while training goes on; as it ends; in any other phase, those of
# the last iterations.
LATE = {"start": 1.0, "checkpoint": 0.44, "end": 0.0}
WRITTEN = 0.95  # a checkpoint's moment at which its files and the record only get their names
LONGEST = 30.0  # seconds from a fault to the end of all, on a machine with other things to do
LONGEST_PAUSE = 10.0  # seconds from a death to the next iteration, there


def broken(cell: Cell, outcome: Outcome, ulfm: bool) -> list[str]:
    """Say which promises a trial has broken."""
    if outcome.status is None:
        return ["hangs"]
    if not outcome.struck:
        too_quick = cell.phase == "any" and outcome.status == 0  # quicker than its rehearsal
        return [] if too_quick else ["the fault did not come"]
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
        return found + death_not_outlived(cell, outcome)
    if not (outcome.finished and may_finish(cell, outcome)):
        found += ends_badly(cell, outcome)
    elif outcome.status != 0 or outcome.said:
        found.append(f"finished with status {outcome.status}: {outcome.said}")
    return found + goes_on_badly(cell, outcome)


def may_finish(cell: Cell, outcome: Outcome) -> bool:
    """Whether the run may go on as if nothing was.

    A signal is for rank 0 to hear, in time; and a disk may be full once all has been written.
    """
    if cell.kind == "disk":
        return cell.phase == "checkpoint" and outcome.moment > WRITTEN
    return cell.kind == "sigterm" and (
        cell.role != "first" or outcome.moment > LATE.get(cell.phase, 1 - 2 / ITERATIONS)
    )


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
    # What a server spoils, workers find.
    rank = LAYOUTS[cell.strategy].roles[cell.role]
    somewhere = cell.kind == "nan" and cell.role == "server"
    pattern = pattern.replace("RANK", r"\d+" if somewhere else str(rank))
    pattern = pattern.replace("LAYER", "linear" if cell.phase == "backward" else r"\w+")
    if pattern and not re.search(pattern, " ".join(outcome.said)):
        found.append(f"said {outcome.said}, promised {pattern}")
    if cell.kind == "sigterm" and cell.role != "first":
        found.append("ended by a signal that only the first rank is to heed")
    if cell.kind == "sigterm" and cell.phase != "start" and outcome.lost:
        found.append(f"{outcome.lost} updates were not saved")
    return found


def death_not_outlived(cell: Cell, outcome: Outcome) -> list[str]:
    """Those who are left have said whom they lost, and gone on to the end."""
    if cell.phase in ("start", "any") and not outcome.finished:  # nothing yet to go on with
        promised = ["minidl: a rank died before training had begun; start again"]
        wrong = [] if outcome.said == promised else [f"said {outcome.said}, promised {promised}"]
        return wrong + goes_on_badly(cell, outcome)
    if not outcome.finished:
        return [f"the run did not survive: {outcome.said}"]
    found = []
    lost = f"lost rank {LAYOUTS[cell.strategy].roles[cell.role]}"
    too_late = cell.phase == "any" and outcome.paused is None  # there was nothing left to do
    if not too_late and not any(lost in line for line in outcome.said):
        found.append(f"said {outcome.said}, promised {lost!r}")
    if outcome.loss is None or not math.isfinite(outcome.loss):
        found.append(f"the last loss is {outcome.loss}")
    if outcome.saved != outcome.goal:
        found.append(f"the last checkpoint is of iteration {outcome.saved}, not {outcome.goal}")
    if outcome.paused is not None and outcome.paused > LONGEST_PAUSE:
        found.append(f"the others paused for {outcome.paused:.0f} s")
    return found + too_much_lost(cell, outcome)


def goes_on_badly(cell: Cell, outcome: Outcome) -> list[str]:
    """A run goes on from its last checkpoint, and ends as it would have ended."""
    found = []
    refused = outcome.finished or outcome.saved == -1  # nothing left to do, or to go on from
    if outcome.resumed != (2 if refused else 0):
        found.append(f"--resume: status {outcome.resumed}: {outcome.resumed_said}")
    if outcome.saved != -1 and not outcome.equal:
        found.append("ends otherwise than without the fault")
    return found + too_much_lost(cell, outcome)


def too_much_lost(cell: Cell, outcome: Outcome) -> list[str]:
    """A checkpoint is whole when the next one begins to be written, at the latest."""
    most = 2 * EVERY * LAYOUTS[cell.strategy].groups
    return [f"{outcome.lost} iterations are lost"] if outcome.lost > most else []
