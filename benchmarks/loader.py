"""Does a rank ever wait for data? Compressed images are read while the network trains.

    python benchmarks/loader.py
    python benchmarks/loader.py --size 224 --batch-size 8 --width 128 --iterations 20

The data are synthetic: a temporary HDF5 file of images in which a few pixels in a hundred are hit,
as in collision events, one sample a chunk, gzip and shuffle. Each job trains the HEP network on
them as ``minidl train`` does, one thread a rank, on one rank and then on more.

Measured: the time that each rank spends on "load", waiting for its next batch, as a share of its
steps, and the distribution of these waits over all ranks. The first iterations, which fill memory
and the queue of batches read ahead, are left out. Reading and preparing a batch by itself, before
training begins, says what the background thread has to do meanwhile; where ranks have a core each,
it takes this time from the arithmetic even if nobody waits for it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from harness import Floor, command_line, numbers, on_ranks, report, spans_of

from minidl.tables import plain_table

WAITING_FLOOR = 1.0  # percent of the time of the rank that waits most
HIT = 0.03  # share of the pixels that are not zero
WARM_UP = 3  # iterations left out: more than batches are read ahead


def main() -> None:
    """Measure, or be one of the ranks."""
    parser = command_line(__doc__)
    parser.add_argument("--ranks", type=numbers, default="1,2", help="a job for each")
    parser.add_argument("--size", type=int, default=64, help="height and width of the images")
    parser.add_argument("--batch-size", type=int, default=32, help="of each rank")
    parser.add_argument("--width", type=int, default=32, help="filters of each convolution")
    parser.add_argument("--samples", type=int, default=2048, help="in the file")
    parser.add_argument("--iterations", type=int, default=150, help="of each job")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments, Path(arguments.worker))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.h5"
        write_events(path, arguments.samples, arguments.size)
        jobs = {ranks: on_ranks(ranks, str(path)) for ranks in arguments.ranks}
    summarise(arguments, jobs)


def write_events(path: Path, samples: int, size: int) -> None:
    """Write sparse images with exponentially distributed energies, and random labels."""
    generator = np.random.default_rng(1)
    image = (3, size, size)
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "data", (samples, *image), "f4", chunks=(1, *image), compression="gzip", shuffle=True
        )
        for sample in range(samples):
            hit = generator.random(image) < HIT
            data[sample] = hit * generator.exponential(20, image)
        file["label"] = generator.integers(0, 2, samples)


def work(arguments: argparse.Namespace, path: Path) -> None:
    """Train as one rank of the job; rank 0 prints every rank's times, iteration by iteration."""
    # Here and not above: the process that starts the jobs must not start MPI itself.
    from mpi4py import MPI

    from minidl import model
    from minidl.data import prepared
    from minidl.settings import Settings
    from minidl.train import Training

    comm = MPI.COMM_WORLD
    settings = Settings(
        data=(path,),
        batch_size=arguments.batch_size,
        width=arguments.width,
        iterations=arguments.iterations,
    )
    training = Training(comm, settings, model.load("hep"))

    start, count = time.perf_counter(), 10
    for _ in prepared(training.dataset, training.batches, training.model.prepare, 0, count):
        pass
    alone = (time.perf_counter() - start) / count

    # Without a run's folder no log is kept; the stopwatch has its numbers, on every rank.
    training.run(None, lambda event: None)
    spans = spans_of(training.stopwatch, "load")
    loads = (spans["end"] - spans["start"])[WARM_UP:]
    ends = spans["end"][WARM_UP - 1 :]
    everyone = np.empty((comm.size, len(loads)))
    comm.Gather(loads, everyone)
    shortest = np.array(alone)
    comm.Allreduce(MPI.IN_PLACE, shortest, MPI.MAX)
    if comm.rank == 0:
        steps = np.diff(ends).tolist()
        print(json.dumps({"loads": everyone.tolist(), "steps": steps, "alone": float(shortest)}))


def summarise(arguments: argparse.Namespace, jobs: dict[int, dict[str, Any]]) -> None:
    """Print the share and the distribution of the waits, a row a number of ranks."""
    titles = (">step, ms", ">waits: %", ">median, ms", ">99 %", ">max", ">read, ms")
    table = plain_table("ranks", *titles)
    figures, floors = {}, []
    for ranks, job in jobs.items():
        loads, steps = np.array(job["loads"]), np.array(job["steps"])
        shares = 100 * loads.sum(axis=1) / steps.sum()
        milliseconds = np.percentile(1e3 * loads, [50, 99, 100])
        step, alone = 1e3 * float(np.median(steps)), 1e3 * job["alone"]
        seen = figures[ranks] = {
            "step_ms": step,
            "waiting_percent": shares.max(),
            "median_ms": milliseconds[0],
            "percentile_99_ms": milliseconds[1],
            "max_ms": milliseconds[2],
            "read_and_prepare_ms": alone,
        }
        table.add_row(str(ranks), *(f"{value:.3g}" for value in seen.values()))
        share = f"{shares.max():.2g} % ({shares.min():.2g}-{shares.max():.2g})"
        floors.append(
            Floor(
                f"waiting for data, {ranks} ranks",
                f"<= {WAITING_FLOOR:g} %",
                share,
                bool(shares.max() <= WAITING_FLOOR),
            )
        )
    report(arguments, {"ranks": figures}, [table], floors)


if __name__ == "__main__":
    main()
