"""The folder of a plan: what was asked, and a file for each run that is finished.

``asked.json`` is the plan, ``curves/NAME.npz`` what a run has learnt: arrays, nothing pickled. So a
plan that was stopped goes on where it was.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import write_whole
from .learning import Learnt
from .plan import Case, Plan

ASKED = "asked.json"
ARRAYS = ("seconds", "losses", "samples", "staleness")


def claim(folder: Path, plan: Plan) -> None:
    """Make the folder that of the plan, unless it is so already.

    Raises
    ------
    UserError
        If it is that of another plan, has anything else in it, or cannot be made.
    """
    asked, path = plan.to_json(), folder / ASKED
    try:
        if path.is_file():
            check_same(folder, json.loads(path.read_text()), json.loads(json.dumps(asked)))
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"{folder}: is there already, and not the folder of a plan; name another with --out"
            )
        (folder / "curves").mkdir(parents=True)
        write_whole(path, (json.dumps(asked, indent=2) + "\n").encode())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: cannot be the folder of a plan: {error}") from None


def check_same(folder: Path, before: Any, now: Mapping[str, Any]) -> None:
    """Raise ``UserError``, saying what differs, unless both are the same plan."""
    if not isinstance(before, dict):
        raise UserError(f"{folder / ASKED}: damaged; remove the folder, or name another with --out")
    different = [name for name in now if before.get(name) != now[name]]
    if different:
        name = different[0]
        raise UserError(
            f"{folder}: has another plan, whose {name.replace('_', ' ')} was "
            f"{json.dumps(before.get(name))[:60]}, not {json.dumps(now[name])[:60]}; name another "
            "folder with --out, or ask for the same to go on"
        )


def path_of(folder: Path, case: Case) -> Path:
    """Where a finished run is."""
    return folder / "curves" / f"{case.name}.npz"


def save(path: Path, learnt: Learnt) -> None:
    """Write what a run has learnt.

    Raises
    ------
    UserError
        If that fails.
    """
    contents = io.BytesIO()
    np.savez(
        contents,
        allow_pickle=False,
        names=np.array(list(learnt.validation), np.str_),
        figures=np.array(list(learnt.validation.values()), np.float64),
        **{name: getattr(learnt, name) for name in ARRAYS},
    )
    try:
        write_whole(path, contents.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot write the curve: {error.strerror}") from None


def load(path: Path) -> Learnt:
    """Read what a run has learnt.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            figures = dict(zip(file["names"].tolist(), file["figures"].tolist(), strict=True))
            arrays = {name: file[name] for name in ARRAYS}
            return Learnt(**arrays, validation=figures)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path}: damaged; remove it, and it is learnt again") from None
