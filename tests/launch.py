"""Start programs on several ranks, as a user does, and never wait for ever."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "parallel" / "programs"

# What Open MPI's mpiexec adds where ranks do not end well, below what they said themselves.
BOX = re.compile(
    r"(?ms)^-{70,}\n(?:MPI_ABORT was invoked|prterun ).*?^-{70,}\n|^\[warn\] Epoll [^\n]*\n"
    r"|^\[[\w.-]+:\d+\] pmix_ptl_base: send_msg: [^\n]*\n"
    r"|^NBC_Progress: an error [^\n]*\n\n?|^Error in NBC_Start_round\(\)[^\n]*\n\n?"
)


def launcher() -> str:
    """Find the mpiexec that belongs to this Python, else the first on the PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        pytest.skip("no mpiexec: install one with pip install 'minidl[mpich]'")
    return found


def mpiexec(
    ranks: int,
    *command: object,
    timeout: float = 120,
    cwd: Path | None = None,
    options: tuple[str, ...] = (),
):
    """Run ``command`` on so many ranks; return the finished process with the ranks' output."""
    done = subprocess.run(
        [launcher(), *options, "-n", str(ranks), *map(str, command)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )
    done.stderr = BOX.sub("", done.stderr.replace("\0", ""))
    return done


def python(ranks: int, program: str, *arguments: object, timeout: float = 120):
    """Run one of the test programs on so many ranks and require that it succeeds."""
    done = mpiexec(ranks, sys.executable, PROGRAMS / program, *arguments, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def minidl(
    *arguments: object,
    ranks: int = 0,
    cwd: Path | None = None,
    timeout: float = 120,
    options: tuple[str, ...] = (),
):
    """Run the ``minidl`` command, behind mpiexec with ``options`` if ``ranks`` are given."""
    command = Path(sys.executable).with_name("minidl")
    if ranks:
        return mpiexec(ranks, command, *arguments, cwd=cwd, timeout=timeout, options=options)
    return subprocess.run(
        [str(command), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )
