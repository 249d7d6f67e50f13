"""One trial: a run that a fault comes upon, what is left of it, and whether it goes on."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from launch import BOX, launcher, minidl, mpiexec

from minidl import checkpoint
from minidl.errors import UserError
from minidl.run import read_log

VICTIM = Path(__file__).with_name("victim.py")
RESUMER = Path(__file__).with_name("resume_many.py")
PATIENCE = 90  # seconds that a run may take to the fault, and from there; it should need five
LINGERING = 5  # seconds that ranks may outlive mpiexec
ITERATIONS, EVERY, WATCHDOG = 12, 4, 3
HOW = ("--width", 4, "--batch-size", 2, "--iterations", ITERATIONS, "--checkpoint-every", EVERY)
# What MPICH's mpiexec says where ranks did not end well.
MPICH_BOX = re.compile(r"(?ms)^={70,}\n=   BAD TERMINATION.*\Z")
SAID = re.compile(r"(?m)^(?:minidl: |rank \d+ failed).*$")


@dataclass(frozen=True)
class Layout:
    """A strategy's ranks; of every role, one that has it."""

    ranks: int
    groups: int
    flags: tuple[object, ...]
    roles: dict[str, int]


LAYOUTS = {
    "sync": Layout(3, 1, (), {"first": 0, "another": 2}),
    "async": Layout(
        4, 2, ("--strategy", "async", "--servers", 2), {"first": 0, "worker": 1, "server": 2}
    ),
    "hybrid": Layout(
        6,
        2,
        ("--strategy", "hybrid", "--groups", 2, "--servers", 2),
        {"first": 0, "root": 2, "member": 3, "server": 4},
    ),
}


@dataclass(frozen=True)
class Cell:
    """What is tried, many times over."""

    strategy: str
    kind: str
    role: str
    phase: str

    def __str__(self) -> str:
        return f"{self.strategy} {self.kind} {self.role} {self.phase}"


@dataclass
class Rehearsal:
    """A strategy's run without a fault: its end, and how often every rank was in every phase."""

    state: checkpoint.State
    calls: list[dict[str, int]]


@dataclass
class Outcome:
    """What came of a trial."""

    call: int  # of the phase's functions, at which the fault was to strike
    moment: float = 0.0  # 1 is the phase's last call
    struck: bool = False
    status: int | None = None  # None: it never ended
    seconds: float = 0.0  # from the fault to the end of mpiexec and its output
    said: list[str] = field(default_factory=list)  # minidl's own lines of distress
    noticed: str = "nobody"
    traceback: bool = False
    left: int = 0  # processes
    finished: bool = False  # the run, in spite of it
    goal: int = ITERATIONS  # of a group; with fewer ranks there are more
    loss: float | None = None  # the last in the log
    saved: int = -1  # the newest checkpoint's iteration; -1: there is none
    damaged: list[str] = field(default_factory=list)  # checkpoints, newer than that one
    lost: int = 0  # iterations that the log tells of, and that are made again if the run goes on
    resumed: int | None = None  # the status of going on
    resumed_said: str = ""
    equal: bool | None = None  # to what would have been; None: nothing to compare
    # Seconds from the fault to the next iteration of a run that goes on.
    paused: float | None = None


def rehearse(strategy: str, events: Path, folder: Path) -> Rehearsal:
    """Run to the end without a fault."""
    layout = LAYOUTS[strategy]
    status, _, printed = run_victim(layout, {"kind": "none"}, events, folder)
    if status != 0:
        raise RuntimeError(f"{strategy} does not even run without a fault: {printed}")
    calls = [json.loads((folder / f"calls.{n}.json").read_text()) for n in range(layout.ranks)]
    return Rehearsal(checkpoint.read(folder / "run" / "checkpoint.h5"), calls)


def attempt(
    cell: Cell, rehearsal: Rehearsal, seed: list[int], events: Path, folder: Path, ulfm: bool
) -> Outcome:
    """Make one trial in an empty folder; the run goes on by the commands that a user has.

    Parameters
    ----------
    seed : list of int
        Decides the moment.
    ulfm : bool
        Start ranks so that the others may outlive one: Open MPI only.
    """
    outcome = suffer(cell, rehearsal, seed, events, folder, ulfm)
    if not (ulfm and outcome.finished):
        go_on(outcome, LAYOUTS[cell.strategy], folder)
        compare(outcome, rehearsal, LAYOUTS[cell.strategy], folder)
    return outcome


def suffer(
    cell: Cell, rehearsal: Rehearsal, seed: list[int], events: Path, folder: Path, ulfm: bool
) -> Outcome:
    """Have the fault come upon a run; look at what is left of it. The rest is ``attempt``'s."""
    layout = LAYOUTS[cell.strategy]
    rank = layout.roles[cell.role]
    generator = np.random.default_rng(seed)
    calls = rehearsal.calls[rank][cell.phase]
    call = int(generator.integers(1, calls + 1))
    outcome = Outcome(call, call / calls)
    fault = {"rank": rank, "phase": cell.phase, "kind": cell.kind, "call": outcome.call}
    outcome.status, ended, printed = run_victim(layout, fault, events, folder, ulfm)
    outcome.left = end_all_in(folder)
    noted: dict[str, Any] = {}
    if (folder / "fault.json").exists():
        noted = json.loads((folder / "fault.json").read_text())
        outcome.struck, outcome.seconds = True, ended - noted["time"]
        for path in noted["shared"]:
            Path(path).unlink(missing_ok=True)
    listen(outcome, printed)
    look(outcome, folder / "run", noted.get("seconds", 0.0))
    return outcome


def run_victim(
    layout: Layout, fault: dict[str, Any], events: Path, folder: Path, ulfm: bool = False
) -> tuple[int | None, float, str]:
    """Start the ranks; return mpiexec's status, when it ended, and what was printed."""
    watchdog = ("--watchdog", WATCHDOG) if fault["kind"] == "hang" else ()
    command = [
        launcher(), *(("--with-ft", "ulfm") if ulfm else ()), "-n", layout.ranks,
        sys.executable, VICTIM, json.dumps(fault),
        "train", "hep", "--data", events, *HOW, *watchdog, *layout.flags, "--out", "run",
    ]  # fmt: skip
    process = subprocess.Popen(
        [*map(str, command)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    patience = time.monotonic() + PATIENCE
    while process.poll() is None and not (folder / "fault.json").exists():
        if time.monotonic() > patience:
            break
        time.sleep(0.05)
    try:
        printed, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        end_all_in(folder)
        return None, time.time(), process.communicate()[0]
    return process.returncode, time.time(), printed


def end_all_in(folder: Path) -> int:
    """Kill the processes that work in a folder and do not end by themselves; count them."""
    patience = time.monotonic() + LINGERING
    while (found := working_in(folder)) and time.monotonic() < patience:
        time.sleep(0.05)
    for number in found:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(found)


def working_in(folder: Path) -> list[int]:
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                found.append(int(link.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def listen(outcome: Outcome, printed: str) -> None:
    """Who noticed, and what they said."""
    printed = printed.replace("\0", "")
    own = MPICH_BOX.sub("", BOX.sub("", printed))
    outcome.said, outcome.traceback = SAID.findall(own), "Traceback" in own
    if outcome.said:
        speaker = re.search(r"rank \d+ (?=failed|has made)", outcome.said[0])
        outcome.noticed = speaker[0].strip() if speaker else "minidl"
    elif own != printed:
        outcome.noticed = "mpiexec"


def look(outcome: Outcome, run: Path, struck: float) -> None:
    """What is left of a run; ``struck`` is the second at which the fault did."""
    try:
        log = read_log(run)
    except UserError as error:
        if (run / "log.jsonl").exists():
            outcome.damaged.append(str(error))
        return
    outcome.finished = bool(log) and log[-1].get("reason") == "finished"
    iterations = [event for event in log if event["event"] == "iteration"]
    setbacks = [place for place, event in enumerate(log) if "setback" in event]
    if setbacks:
        outcome.said.append(log[setbacks[0]]["setback"])
        later = [event for event in log[setbacks[0] :] if event["event"] == "iteration"]
        outcome.paused = min((event["seconds"] for event in later), default=struck) - struck
    outcome.loss = iterations[-1]["loss"] if iterations else None
    outcome.goal = next((e["iterations"] for e in reversed(log) if "iterations" in e), ITERATIONS)
    try:
        state, _, outcome.damaged = checkpoint.newest(run / "checkpoint.h5")
    except UserError as error:
        if (run / "checkpoint.h5").exists():
            outcome.damaged.append(str(error))
        outcome.lost = len(iterations)
        return
    outcome.damaged += [
        f"{name} is not finite"
        for name, layer in state.layers.items()
        if not np.isfinite(layer.parameters).all()
    ]
    outcome.saved = state.iterations[0]
    outcome.lost = lost_by_the_living(log, setbacks[0]) if setbacks else not_in(state, iterations)


def not_in(state: checkpoint.State, iterations: list[dict[str, Any]]) -> int:
    """Count the iterations that a log tells of and a checkpoint does not have."""
    return sum(event["iteration"] > state.iterations[event["group"]] for event in iterations)


def lost_by_the_living(log: list[dict[str, Any]], setback: int) -> int:
    """Count the iterations that those who go on after a setback had made, and make again.

    With fewer ranks there are more iterations, and groups are numbered anew.
    """
    before, after = log[0], log[setback]
    made = {e["group"]: e["iteration"] for e in log[:setback] if e["event"] == "iteration"}
    if not made:
        return 0
    ranks = enumerate(before["groups"])
    alive = {group for rank, group in ranks if group >= 0 and rank not in after["lost"]}
    scale = before["iterations"] / after["iterations"]
    kept = zip(sorted(alive), after["iterations_made"], strict=True)
    return sum(max(0, round(made.get(group, 0) - done * scale)) for group, done in kept)


def go_on(outcome: Outcome, layout: Layout, folder: Path) -> None:
    """Resume the run; replay it, if its own record of updates is what its end has to equal."""
    words = ("train", "--resume", "run", "--watchdog", 600)
    done = minidl(*words, ranks=layout.ranks, cwd=folder, timeout=PATIENCE)
    outcome.resumed = done.returncode
    outcome.resumed_said = " ".join(SAID.findall(done.stderr)) or done.stderr[-200:]
    if layout.groups > 1 and (folder / "run" / "record.h5").exists():
        done = minidl("replay", "run", cwd=folder, timeout=PATIENCE)
        outcome.equal = done.returncode == 0 and "to the bit" in done.stdout


def go_on_together(outcomes: dict[Path, Outcome], layout: Layout) -> None:
    """As ``go_on``, of the runs in many folders by one start of the ranks."""
    status, said = None, "hangs"
    what = "replay" if layout.groups > 1 else "resume"
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = mpiexec(
            layout.ranks,
            *(sys.executable, RESUMER, what, *outcomes),
            timeout=PATIENCE * len(outcomes),
        )
        status, said = done.returncode, done.stderr[-200:]
    waiting = dict(outcomes)
    for folder, outcome in outcomes.items():
        del waiting[folder]
        answer = folder / "resumed.json"
        if not answer.exists() or (status != 0 and not waiting):  # it took the ranks with it
            outcome.resumed, outcome.resumed_said = status, said
            for each in outcomes:
                end_all_in(each)
            break
        told = json.loads(answer.read_text())
        outcome.resumed, outcome.resumed_said = told["status"], told["said"]
        outcome.equal = told["equal"]
    if waiting:
        go_on_together(waiting, layout)


def compare(outcome: Outcome, rehearsal: Rehearsal, layout: Layout, folder: Path) -> None:
    """With one group, the end has to be what it would have been without a fault."""
    if outcome.saved == -1 or outcome.resumed not in (0, 2):
        outcome.equal = None
    elif layout.groups == 1:
        try:
            state = checkpoint.read(folder / "run" / "checkpoint.h5")
        except UserError as error:
            outcome.damaged.append(str(error))
        else:
            outcome.equal = alike(state, rehearsal.state)


def alike(state: checkpoint.State, other: checkpoint.State) -> bool:
    """Whether two states have the same numbers in all layers and optimisers, and come as far."""
    same = state.iterations == other.iterations and state.layers.keys() == other.layers.keys()
    for name, layer in state.layers.items() if same else ():
        twin = other.layers[name]
        pairs = [(layer.parameters, twin.parameters)]
        pairs += [(layer.optimizer[part], twin.optimizer[part]) for part in twin.optimizer]
        same &= layer.updates == twin.updates
        same &= all(np.array_equal(ours, theirs) for ours, theirs in pairs)
    return same
