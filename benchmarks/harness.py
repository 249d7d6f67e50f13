"""What the benchmarks share: medians with their spread, floors, and starting themselves on ranks.

Every figure is a ratio within one run: what is compared takes turns on the same machine, and each
turn gives one ratio. The median of these ratios is held against the floor; the smallest and the
largest show how far to trust it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from minidl.bench.spread import Spread as Spread  # the benchmarks take it from here
from minidl.stopwatch import ACTIVITIES, Stopwatch
from minidl.tables import plain_table

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Floor:
    """A promise and what was seen of it. ``held`` is None where there is nothing to hold it to."""

    what: str
    floor: str
    seen: str
    held: bool | None


def command_line(text: str) -> argparse.ArgumentParser:
    """Return a parser with a script's docstring as its help, the defaults shown, and --json."""

    class Formatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
        pass

    parser = argparse.ArgumentParser(description=text, formatter_class=Formatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def numbers(text: str) -> list[int]:
    """Read ``1,2,4``."""
    return [int(part) for part in text.split(",")]


def spans_of(watch: Stopwatch, *activities: str) -> np.ndarray:
    """Return when these activities went on, as an array of ``SPAN``."""
    spans = watch.spans()
    return spans[np.isin(spans["activity"], [ACTIVITIES.index(name) for name in activities])]


def report(
    arguments: argparse.Namespace,
    figures: dict[str, Any],
    tables: Sequence[Table],
    floors: Sequence[Floor],
) -> None:
    """Print what was measured and the floors it is held against."""
    if arguments.json:
        floor_rows = [asdict(floor) for floor in floors]
        settings = {name: value for name, value in vars(arguments).items() if name != "worker"}
        whole = {"settings": settings, **figures, "floors": floor_rows}
        print(json.dumps(whole, indent=2, default=asdict))
        return
    console = Console(highlight=False)
    for table in tables:
        console.print(table)
        console.print()
    if not floors:
        return
    summary = plain_table("floor", ">at", ">seen: median (min-max)", ">held")
    for row in floors:
        verdict = "-" if row.held is None else "yes" if row.held else "NO"
        summary.add_row(row.what, row.floor, row.seen, verdict)
    console.print(summary)


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a process whose matrix products use so many threads."""
    # Root in a container, and more ranks than cores, are refused by Open MPI unless asked for.
    open_mpi = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    return {**os.environ, **open_mpi, **dict.fromkeys(THREADS, str(threads))}


def on_ranks(ranks: int, worker: str) -> dict[str, Any]:
    """Run this script again, on so many ranks, with ``--worker``; return the JSON it prints."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
    if launcher is None:
        sys.exit("no mpiexec: pip install 'minidl[mpich]'")
    command = [sys.executable, "-m", "mpi4py", *sys.argv, "--worker", worker]
    done = subprocess.run(
        [launcher, "-n", str(ranks), *command],
        env=environment(threads=1),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{sys.argv[0]} failed on {ranks} ranks, status {done.returncode}")
    return json.loads(done.stdout)
