"""Does a rank that learns weather ever wait for frames? Does its memory grow?

    python benchmarks/climate_loader.py
    python benchmarks/climate_loader.py --cases reduced --ranks 1,2

The data are random numbers, no weather, in the layout of the public data set and of ``minidl
generate climate``: a frame a chunk, gzip and shuffle; numbers from 1 to 2, whose first byte is
the same and whose others are random, so that three quarters are left as in the public files. Each
job trains the climate network as ``minidl train`` does, one thread a rank: on squares of the
globe's frames, one at a time, with all filters; or on a small region with few, where a step is
short.

Measured: the time that each rank waits for its next batch, as a share of its steps; the time that
reading and preparing a batch takes by itself, before training; the resident set of rank 0 before
the first and the last step of an epoch. The iterations before, which fill memory and the queue of
batches read ahead, are left out. Needs Linux, which tells the resident set.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from harness import Floor, command_line, numbers, on_ranks, report, spans_of

from minidl.tables import plain_table
from minidl_models.climate.channels import CHANNELS, CLASSES
from minidl_models.climate.yearly import create

WAITING_FLOOR = 1.0  # percent of the time of the rank that waits most
GROWTH_FLOOR = 1.02  # resident memory after an epoch over that before
WARM_UP = 4  # iterations left out: more than batches are read ahead
STORMS = 3  # boxes of a frame


@dataclass(frozen=True)
class Case:
    """Frames, and a network that is trained on them for an epoch."""

    rows: int
    columns: int
    batch_size: int  # of each rank
    width: int | None  # filters of the first layer; the model's own if None
    batches: int  # of each rank, in an epoch


CASES = {
    "full": Case(768, 1152, 1, None, 12),
    "reduced": Case(192, 192, 8, 16, 40),
}


def main() -> None:
    """Measure, or be one of the ranks."""
    parser = command_line(__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--ranks", type=numbers, default="1", help="a job for each")
    arguments = parser.parse_args()
    if arguments.worker:
        work(Path(arguments.worker))
        return
    jobs = {}
    for name in arguments.cases:
        for ranks in arguments.ranks:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{name}.h5"
                write_frames(path, CASES[name], ranks)
                what = f"{name}, {ranks} rank{'s' * (ranks > 1)}"
                jobs[what] = on_ranks(ranks, str(path))
    summarise(arguments, jobs)


def write_frames(path: Path, case: Case, ranks: int) -> None:
    """Write an epoch of frames for so many ranks."""
    generator = np.random.default_rng(1)
    frames = case.batches * case.batch_size * ranks
    with h5py.File(path, "w") as file:
        create(file, (frames, len(CHANNELS), case.rows, case.columns))
        images, boxes = file["images"], file["boxes"]
        for frame in range(frames):
            images[frame] = 1 + generator.random(images.shape[1:], np.float32)
            low = generator.integers(0, (case.rows // 2, case.columns // 2), (STORMS, 2))
            kinds = generator.integers(0, len(CLASSES), (STORMS, 1))
            boxes[frame, :STORMS] = np.hstack([low, low + case.rows // 8, kinds])


def work(path: Path) -> None:
    """Train as one rank of the job; rank 0 prints what was measured, iteration by iteration."""
    # Here and not above: the process that starts the jobs must not start MPI itself.
    from mpi4py import MPI

    from minidl import model
    from minidl.data import prepared, read_ahead
    from minidl.settings import Settings
    from minidl.train import Training

    comm, case = MPI.COMM_WORLD, CASES[path.stem]
    module = model.load("climate")
    own = {"batch_size": case.batch_size, "width": case.width}
    iterations = WARM_UP + case.batches
    settings = Settings(data=(path,), iterations=iterations, **{**module.DEFAULTS, **own})
    training = Training(comm, settings, module, tell=lambda line: None)

    start, count = time.perf_counter(), 4
    for _ in prepared(training.dataset, training.batches, training.model.prepare, 0, count):
        pass
    alone = (time.perf_counter() - start) / count

    resident: list[int] = []

    def watched(items: Iterator[Any]) -> Iterator[Any]:
        for item in read_ahead(items):
            resident.append(resident_bytes())
            yield item

    training.read = watched
    training.run(None, lambda event: None)
    spans = spans_of(training.stopwatch, "load")
    loads = (spans["end"] - spans["start"])[WARM_UP:]
    everyone = np.empty((comm.size, len(loads)))
    comm.Gather(loads, everyone)
    if comm.rank == 0:
        seen = {
            "loads": everyone.tolist(),
            "steps": np.diff(spans["end"][WARM_UP - 1 :]).tolist(),
            "alone": alone,
            "resident": resident[WARM_UP:],
        }
        print(json.dumps(seen))


def resident_bytes() -> int:
    """Return the memory that this process has now."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return 1024 * int(line.split()[1])


def summarise(arguments: argparse.Namespace, jobs: dict[str, dict[str, Any]]) -> None:
    """Print a row a job, and the floors."""
    titles = (">step, ms", ">waits: %", ">max, ms", ">read, ms", ">first, MiB", ">last, MiB")
    table = plain_table("training", *titles)
    figures, floors = {}, []
    for name, job in jobs.items():
        loads, steps = np.array(job["loads"]), np.array(job["steps"])
        share = float((100 * loads.sum(axis=1) / steps.sum()).max())
        first, last = job["resident"][0], job["resident"][-1]
        figures[name] = {
            "step_ms": 1e3 * float(np.median(steps)),
            "waiting_percent": share,
            "max_ms": 1e3 * float(loads.max()),
            "read_and_prepare_ms": 1e3 * job["alone"],
            "first_mib": first / 2**20,
            "last_mib": last / 2**20,
        }
        table.add_row(name, *(f"{value:,.4g}" for value in figures[name].values()))
        waits, growth = share <= WAITING_FLOOR, last / first
        floors += [
            Floor(f"{name}: waiting, %", f"<= {WAITING_FLOOR:g}", f"{share:.2g}", waits),
            Floor(
                f"{name}: memory, last over first",
                f"<= {GROWTH_FLOOR:g}",
                f"{growth:.3f}",
                growth <= GROWTH_FLOOR,
            ),
        ]
    report(arguments, {"jobs": figures}, [table], floors)


if __name__ == "__main__":
    main()
