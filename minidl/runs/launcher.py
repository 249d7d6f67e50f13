"""``minidl train`` on many ranks, started as a user would start it, and ended with this process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UserError
from ..settings import Settings, flag

PATIENCE = 10.0  # seconds that an interrupted run has to say what it has saved


def find_mpiexec() -> str:
    """Return the launcher that belongs to this Python, else the first on the PATH.

    Raises
    ------
    UserError
        If there is none.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise UserError(
            "no mpiexec beside Python or on the PATH to start ranks with; "
            "install one: pip install 'minidl[mpich]'"
        )
    return found


def flags(settings: Settings) -> list[str]:
    """Write settings as the flags of ``minidl train`` that ask for them."""
    words: list[str] = []
    asked = settings.to_json()
    options = asked.pop("options")
    for name, value in (asked | options).items():
        if value is None or value is False or value == []:
            continue
        values = value if isinstance(value, list) else [value]
        words += [flag(name)] if value is True else [flag(name), *map(str, values)]
    return words


def launch(ranks: int, arguments: Sequence[str], tell: Callable[[str], None]) -> int:
    """Run ``minidl`` with these arguments on so many ranks, to its end.

    Parameters
    ----------
    ranks : int
    arguments : list of str
    tell : function (line)
        Is shown every line that the run prints.

    Returns
    -------
    int
        Its exit status.
    """
    # -P: no file of the working directory is mistaken for a library's module.
    command = [find_mpiexec(), "-n", str(ranks), sys.executable, "-P", "-m", "minidl", *arguments]
    # A process group of its own, so that Ctrl-C reaches the run once, from here. Open MPI wants
    # to be asked for more ranks than cores, which servers that mostly wait make sensible.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", **os.environ},
        process_group=0,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            tell(line.rstrip())
        return process.wait()
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Interrupt a run that goes on, and kill what does not end by that."""
    if process.poll() is not None:
        return
    try:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
