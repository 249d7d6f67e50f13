"""A run's folder: its settings, its log and its checkpoint.

::

    settings.json    what was asked for, completed; `minidl train --from` repeats it
    log.jsonl        one JSON object a line: first {"event": "start"}, then {"event": "iteration"}
                     and {"event": "validation"} as they come, {"event": "staleness"} of every
                     layer, last {"event": "end"}
    checkpoint.h5    the network as last saved
    record.h5        of a finished run, every rank's time and every update of a server
    *.png            pictures

Every strategy writes the same log. Of an iteration of a group: ``group``, ``iteration`` (from 1),
``epoch``, ``samples`` (of all groups, as far as the first rank had heard), ``seconds`` (since the
start), ``loss`` (mean over the group's samples), its ``terms`` if it is a sum, ``learning_rate``
(as it would be if all groups had come equally far), and ``computing``, ``waiting``, ``loading``:
seconds in the iteration for arithmetic, for other ranks and for data, of the rank that speaks for
the group. Of a layer's staleness: ``updates``, how many updates had which staleness. Where "start"
has ``virtual``, the machine that was not there, all these seconds are its own, virtual ones.
"""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from .checkpoint import State, Writer
from .errors import UserError
from .files import write_whole

STARTS = ("start", "resume")


class Run:
    """A run that is being written; ``asked`` are its model and settings, as plain values.

    Raises
    ------
    UserError
        If the folder is there already and shall not be replaced, or cannot be written to.
    """

    def __init__(self, folder: Path, asked: dict[str, Any], *, overwrite: bool) -> None:
        self.folder, self.asked = folder, asked
        self.checkpoints = Writer(folder / "checkpoint.h5")
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file; expected a folder for the run")
        if folder.exists() and any(folder.iterdir()):
            if not overwrite:
                raise UserError(
                    f"{folder}: exists already; name another folder with --out, "
                    "or replace it with --overwrite"
                )
            # Its part: who wrote it has died at once.
            if not any((folder / f"settings.json{part}").exists() for part in ("", ".part")):
                raise UserError(f"{folder}: is not the folder of a run, and will not be replaced")
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            write_whole(folder / "settings.json", (json.dumps(asked, indent=2) + "\n").encode())
            self._log: IO[str] = (folder / "log.jsonl").open("w")
        except OSError as error:
            raise UserError(f"{folder}: cannot write there: {error}; see --out") from None

    @classmethod
    def resumed(
        cls, folder: Path, asked: dict[str, Any], state: State, *, on_disk: bool = True
    ) -> Run:
        """Go on writing a run from a state.

        If it is one ``on_disk``, what the log says of later iterations goes: they are made again.

        Raises
        ------
        UserError
            If the log cannot be read, or the folder not be written to.
        """
        run = cls.__new__(cls)
        run.folder, run.asked = folder, asked
        run.checkpoints = Writer(folder / "checkpoint.h5")
        run.checkpoints.saved = state.iterations[0]
        events = read_log(folder)
        if on_disk:
            events = up_to(state, events, folder / "log.jsonl")
        lines = [json.dumps(event) + "\n" for event in events]
        try:
            settings = json.dumps(asked, indent=2) + "\n"
            write_whole(folder / "settings.json", settings.encode())
            write_whole(folder / "log.jsonl", "".join(lines).encode())
            run._log = (folder / "log.jsonl").open("a")
        except OSError as error:
            raise UserError(f"{folder}: cannot write there: {error}") from None
        return run

    def saved(self) -> str:
        """Say which checkpoint is on the disk, once all that was begun is written.

        Raises
        ------
        UserError
            If it could not be written.
        """
        self.checkpoints.wait()
        return f"{self.checkpoints.path}, of iteration {self.checkpoints.saved}"

    def log(self, event: str, **values: Any) -> None:
        """Add a line to the log. Numbers that are not finite, which JSON lacks, become null.

        Raises
        ------
        UserError
            If it cannot be written.
        """
        try:
            self._log.write(json.dumps({"event": event, **_sayable(values)}) + "\n")
            self._log.flush()
        except OSError as error:
            raise UserError(f"{self.folder}/log.jsonl: cannot write: {error}") from None


def up_to(state: State, events: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Leave out of a log what came after a state, but for its starts.

    With other ranks, groups and iterations have other numbers. So a part of the log, from one start
    to the next, counts as the state does, or the whole of it was before the state or after it.
    """
    numbering = len(state.iterations), state.per_epoch
    places = [place for place, event in enumerate(events) if event["event"] in STARTS]
    kept: list[dict[str, Any]] = []
    where = "after the state"
    for begin, end in reversed([*pairwise([*places, len(events)])]):
        start, part = events[begin], events[begin:end]
        alike = (max(start.get("groups", [0])) + 1, start.get("per_epoch")) == numbering
        if alike and where == "after the state":
            where = "around it"
        elif not alike and where == "around it":
            where = "before it"
        if where == "after the state":
            part = [start]
        elif where == "around it":
            part = [event for event in part if is_before(event, state)]
        kept = part + kept
    if where == "after the state":
        raise UserError(f"{path}: no part of it can have led to the checkpoint")
    return kept


def is_before(event: dict[str, Any], state: State) -> bool:
    """Whether a checkpoint has what an event of the log tells."""
    if event["event"] in ("iteration", "validation"):
        group = event.get("group", 0)
        return group < len(state.iterations) and event["iteration"] <= state.iterations[group]
    return event["event"] in STARTS


def _sayable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sayable(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of an earlier run, as plain values.

    Raises
    ------
    UserError
        If there are none, or no such.
    """
    return _read_json(folder / "settings.json", folder)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a run; a line that was cut off at the end is left out.

    Raises
    ------
    UserError
        If there is none, or a line is no event.
    """
    try:
        lines = (folder / "log.jsonl").read_text().splitlines()
    except OSError:
        raise UserError(f"{folder}: not the folder of a run: no log.jsonl in it") from None
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            if number < len(lines):
                raise UserError(f"{folder}/log.jsonl, line {number}: not JSON") from None
            continue
        if not isinstance(event, dict) or "event" not in event:
            raise UserError(f"{folder}/log.jsonl, line {number}: not an event")
        events.append(event)
    return events


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except OSError:
        raise UserError(f"{folder}: not the folder of a run: no {path.name} in it") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected an object of settings")
    return values
