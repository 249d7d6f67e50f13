"""A run that was made, as its folder tells: settings, every update, the network as last saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from ..hdf5 import open_hdf5, readable
from ..run import read_log, read_settings
from ..settings import Settings

DEFAULTS = Settings()


class Update(NamedTuple):
    """An update as the log has it. A loss that was not finite is NaN."""

    loss: float
    learning_rate: float
    samples: int


@dataclass(frozen=True)
class PastRun:
    """A run's settings and numbers, up to its checkpoint.

    Attributes
    ----------
    folder : Path
    settings, start : dict
        As written; ``start`` is the log's first event.
    updates : dict of (iteration, group) to Update
        In the order of iterations, then of groups.
    arrays : dict of str to np.ndarray
        Every layer's parameters; under the name and "statistics", what a layer gathers.
    iteration : int
        That the arrays are from.
    finished : bool
    setbacks : list of str
        After which the run went on by itself.
    """

    folder: Path
    settings: dict[str, Any]
    start: dict[str, Any]
    updates: dict[tuple[int, int], Update]
    arrays: dict[str, np.ndarray]
    iteration: int
    finished: bool
    setbacks: list[str] = field(default_factory=list)

    def setting(self, name: str) -> Any:
        """A setting's value; its default, if the run is from before it was introduced."""
        return self.settings.get(name, getattr(DEFAULTS, name, None))

    @property
    def members(self) -> list[int]:
        """The group of every rank, -1 for a server."""
        return self.start.get("groups", [0] * self.start["ranks"])

    @property
    def groups(self) -> int:
        """Number of groups that update the network."""
        return max(self.members) + 1

    @property
    def group_size(self) -> int:
        """Ranks that one update sums over."""
        return self.members.count(0)

    @property
    def adds_in_order(self) -> bool:
        """Whether sums have the bits that they have in the order of ranks."""
        how = self.setting("all_reduce")
        of_two = self.group_size <= 2  # a + b is b + a
        return of_two or how == "naive" or (how == "mpi" and bool(self.virtual))

    @property
    def virtual(self) -> dict[str, Any]:
        """The flags of virtual ranks; empty for real ones."""
        return self.settings.get("virtual", {})

    @property
    def gathers_statistics(self) -> bool:
        """Whether a layer gathers numbers without a gradient, as batch normalisation does."""
        return any(name.endswith("statistics") for name in self.arrays)

    @property
    def batch(self) -> str:
        """What an update sums over, in words."""
        ranks = "1 rank" if self.group_size == 1 else f"{self.group_size} ranks"
        passes = self.setting("accumulate")
        return f"{ranks} x {self.setting('batch_size')}" + (
            f" x {passes} passes" if passes > 1 else ""
        )


def read_run(folder: Path) -> PastRun:
    """Read a run's folder.

    Raises
    ------
    UserError
        If it is not the folder of a run, or one without an update or a checkpoint.
    """
    settings, events = read_settings(folder), read_log(folder)
    arrays, iteration = _read_checkpoint(folder / "checkpoint.h5")
    updates, samples = {}, 0
    try:
        start = next(event for event in events if event["event"] == "start")
        int(start["ranks"])
        for event in events:
            if event["event"] == "iteration":
                loss = float("nan") if event["loss"] is None else float(event["loss"])
                update = Update(loss, event["learning_rate"], event["samples"] - samples)
                samples = event["samples"]  # the log's are of all updates so far
                if event["iteration"] <= iteration:
                    updates[event["iteration"], event.get("group", 0)] = update
    except (KeyError, TypeError, ValueError, StopIteration):
        raise UserError(f"{folder}/log.jsonl: not the log of a training run") from None
    if not updates:
        raise UserError(f"{folder}: no update before its checkpoint; nothing to compare")
    finished = any(event.get("reason") == "finished" for event in events)
    updates = dict(sorted(updates.items()))
    setbacks = [event["setback"] for event in events if "setback" in event]
    return PastRun(folder, settings, start, updates, arrays, iteration, finished, setbacks)


def _read_checkpoint(path: Path) -> tuple[dict[str, np.ndarray], int]:
    with readable(f"{path}: not a checkpoint of minidl, or damaged"), open_hdf5(path) as file:
        arrays = {name: layer["parameters"][:] for name, layer in file["layers"].items()}
        for name, statistics in file.get("statistics", {}).items():
            arrays[f"{name} statistics"] = statistics[:]
        if not arrays:
            raise KeyError("no layers")
        return arrays, int(file.attrs["iteration"])
