"""What is a bad combination of ranks, cores, BLAS and MPI, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What launchers and libraries call themselves, and which of them can work together.
FAMILIES = {
    "Open MPI": "Open MPI", "OpenRTE": "Open MPI",
    "MVAPICH": "MPICH", "MPICH": "MPICH", "HYDRA": "MPICH", "Intel(R) MPI": "MPICH",
}  # fmt: skip
OPTIMISED = ("openblas", "mkl", "blis", "accelerate", "armpl", "nvpl", "essl")


@dataclass(frozen=True)
class Machine:
    """What matters for running many ranks here."""

    blas: str  # its name and version
    threads: int  # that the BLAS uses in each rank
    mpi: str | None  # first line of the library's version; None if it cannot be loaded
    wheels: tuple[str, ...]  # MPIs installed by pip
    launcher: str | None  # the mpiexec that is found first
    launcher_version: str
    ranks: int  # in this job
    ranks_here: int  # on this computer
    cores: int  # that these may use
    memory: int  # bytes of this computer


def advice(machine: Machine) -> list[str]:
    """Say what is a bad combination, and what to do about it. Nothing where all is well."""
    return [*about_mpi(machine), *about_cores(machine)]


def about_mpi(machine: Machine) -> Iterator[str]:
    """Whether ranks can be started, and will find each other."""
    own = Path(sys.executable).with_name("mpiexec")
    if machine.mpi is None:
        yield (
            "no MPI library can be loaded: pip install 'minidl[mpich]', or load your cluster's "
            "MPI module"
        )
    if machine.launcher is None and machine.wheels and machine.ranks == 1:
        yield f"mpiexec is not on PATH: activate this environment, or start it as {own}"
    if len(machine.wheels) > 1:
        yield (
            f"{len(machine.wheels)} MPIs are installed here, {' and '.join(machine.wheels)}, and "
            "mpiexec may start one while mpi4py loads the other: pip uninstall all but one, and "
            "install that again"
        )
    library, launcher = family(machine.mpi or ""), family(machine.launcher_version)
    if library and launcher and library != launcher:
        yield (
            f"{machine.launcher} belongs to {launcher}, but mpi4py loaded {library}: every rank "
            f"would run alone; start ranks with {library}'s mpiexec, which is {own} if pip "
            "installed it"
        )


def about_cores(machine: Machine) -> Iterator[str]:
    """Whether ranks and their threads have a core each, and a fast BLAS to use it."""
    ranks, cores, threads = machine.ranks_here, machine.cores, machine.threads
    if ranks > cores:
        yield (
            f"{ranks} ranks share {plural(cores, 'core')} and wait for each other: start "
            f"{cores} here, or ask your batch system for more cores"
        )
    elif ranks * threads > cores:
        yield (
            f"{plural(ranks, 'rank')} with {plural(threads, 'BLAS thread')} each are more than "
            f"{plural(cores, 'core')}: `minidl train` gives the BLAS one thread; for programs of "
            f"your own set OPENBLAS_NUM_THREADS={cores // ranks}, or its like for other BLAS"
        )
    if not any(name in machine.blas.lower() for name in OPTIMISED):
        yield (
            f"NumPy's BLAS is {machine.blas!r}, many times slower than an optimised one: "
            "pip install --force-reinstall numpy brings OpenBLAS"
        )


def about_threads(ranks: int, threads: int, cores: int) -> str | None:
    """Whether the threads that each rank on this computer was asked to use have a core each."""
    if ranks * threads <= cores:
        return None
    return (
        f"{plural(ranks, 'rank')} with --threads {threads} are more than {plural(cores, 'core')}, "
        f"and wait for each other: --threads {max(1, cores // ranks)} fits here (minidl gives the "
        "BLAS one thread by itself)"
    )


def family(text: str) -> str | None:
    """Which kind of MPI a library or a launcher is, by what it says of itself."""
    return next((kin for name, kin in FAMILIES.items() if name in text), None)


def plural(number: int, noun: str) -> str:
    """Write ``1 core``, ``2 cores``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
