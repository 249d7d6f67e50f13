"""Start programs on several ranks, as a user does, and never wait for ever."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "parallel" / "programs"


def mpiexec(ranks: int, *command: object, timeout: float = 120, cwd: Path | None = None):
    """Run ``command`` on so many ranks; return the finished process with its output."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
    if launcher is None:
        pytest.skip("no mpiexec: install one with pip install 'minidl[mpich]'")
    # Root in a container and more ranks than cores are refused by Open MPI unless asked for.
    environment = {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return subprocess.run(
        [launcher, "-n", str(ranks), *map(str, command)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=environment,
        check=False,
    )


def python(ranks: int, program: str, *arguments: object, timeout: float = 120):
    """Run one of the test programs on so many ranks and require that it succeeds."""
    done = mpiexec(ranks, sys.executable, PROGRAMS / program, *arguments, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def minidl(*arguments: object, ranks: int = 0, cwd: Path | None = None, timeout: float = 120):
    """Run the ``minidl`` command, behind mpiexec if ``ranks`` are given."""
    command = Path(sys.executable).with_name("minidl")
    if ranks:
        return mpiexec(ranks, command, *arguments, cwd=cwd, timeout=timeout)
    return subprocess.run(
        [str(command), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )
