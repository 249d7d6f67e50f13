"""Make data sets of simulated events: on all cores, the same for a seed, safe to interrupt.

Events are made in shards of a fixed size, each with random numbers of its own, so that a data set
does not depend on how many processes made it. A finished shard is kept beside the data set until
that is complete: an interrupted production goes on where it was.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from minidl.errors import UserError

from .selection import FEATURES, select

LUMINOSITY = 36_000.0  # per picobarn: of the data that the paper's selection was made for
EVERY = 10.0  # seconds between lines where no bar can be drawn
COLLISIONS = {0: 1000, 1: 100}  # in a shard, by label; most QCD collisions are given up early

Shard = dict[str, Any]  # its file as "path", and its arrays but for the images


def generate(
    *,
    events: int,
    out: Path,
    size: int = 64,
    seed: int = 1,
    workers: int | None = None,
    overwrite: bool = False,
) -> None:
    """Simulate collision events: half signal (gluino pairs), half background (QCD jets).

    ```
    minidl generate hep --events 10000 --out train.h5
    minidl generate hep --events 5000 --size 224 --seed 2 --out test.h5
    ```

    Ctrl-C keeps what is finished; the same command goes on from there.

    Parameters
    ----------
    events
        Events that pass the preselection and are stored.
    out
        The HDF5 file to make.
    size
        Pixels of an image along each side.
    seed
        Other seeds make other events.
    workers
        Processes; one a core unless given. They make the same events, only faster.
    overwrite
        Replace the file if it is there.

    Raises
    ------
    UserError
        If the file is there already or cannot be written, or Pythia is not installed.
    """
    check_request(events, out, size, seed, workers, overwrite)
    parts = out.with_name(out.name + ".parts")
    prepare_parts(parts, {"size": size, "seed": seed, "minidl": version("minidl")})
    console = Console(soft_wrap=True, highlight=False)
    workers = workers or available_cores()
    needed = {0: events - events // 2, 1: events // 2}
    with ProcessPoolExecutor(workers, get_context("spawn"), start_worker) as pool:
        try:
            shards = {
                label: produce(pool, workers, parts, label, count, size, seed, console)
                for label, count in needed.items()
            }
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise KeyboardInterrupt(
                f"interrupted; the finished events are in {parts}, and the same command goes on"
            ) from None
        except BrokenProcessPool:
            raise UserError(
                "a process that made events was ended from outside (out of memory?); "
                "the same command goes on from the finished ones, maybe with fewer --workers"
            ) from None
    try:
        write(out, shards, needed, seed)
    except OSError as error:
        raise UserError(f"{out}: cannot write: {error}") from None
    shutil.rmtree(parts)
    console.print(f"wrote {out}: {events:,} simulated events, {out.stat().st_size / 2**20:.1f} MiB")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_request(
    events: int, out: Path, size: int, seed: int, workers: int | None, overwrite: bool
) -> None:
    """Raise ``UserError`` for what cannot be done."""
    for name, value, least in (
        ("--events", events, 2),
        ("--size", size, 8),
        ("--seed", seed, 0),
        ("--workers", 1 if workers is None else workers, 1),
    ):
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    if seed >= 2**32:
        raise UserError(f"--seed must be less than {2**32}, got {seed}")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists already; name another with --out, or use --overwrite")
    for package in ("pythia8mc", "fastjet"):
        if find_spec(package) is None:
            raise UserError(
                f"simulating collisions needs {package}, which is not installed: "
                "pip install 'minidl[hep]'"
            )


def prepare_parts(parts: Path, settings: dict[str, Any]) -> None:
    """Make the folder of finished shards; drop those that were made with other settings."""
    try:
        if parts.exists():
            try:
                same = json.loads((parts / "settings.json").read_text()) == settings
            except (OSError, ValueError):
                same = False
            if same:
                return
            shutil.rmtree(parts)
        parts.mkdir(parents=True)
        (parts / "settings.json").write_text(json.dumps(settings))
    except OSError as error:
        raise UserError(f"{parts}: cannot write there: {error}; see --out") from None


def produce(
    pool: ProcessPoolExecutor,
    workers: int,
    parts: Path,
    label: int,
    count: int,
    size: int,
    seed: int,
    console: Console,
) -> list[Shard]:
    """Make shards of one class until the first ones hold ``count`` events."""
    name = ("background", "signal")[label]
    shards: list[Shard] = []
    have, said = 0, time.monotonic()
    columns = (
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=count)
        for path in in_order(pool, workers, parts, label, size, seed):
            with np.load(path) as file:
                shard = {key: file[key] for key in file.files if key != "data"}
            shards.append({"path": path, **shard})
            have += len(shard["weight"])
            progress.update(task, completed=min(have, count))
            if not console.is_terminal and (have >= count or time.monotonic() - said > EVERY):
                said = time.monotonic()
                console.print(f"{name}: {min(have, count)}/{count} events")
            if have >= count:
                break
    return shards


def in_order(
    pool: ProcessPoolExecutor, workers: int, parts: Path, label: int, size: int, seed: int
) -> Iterator[Path]:
    """Yield the files of shard 0, 1, 2, ..., of which some more are always being made."""
    numbers = itertools.count()
    running: deque[Future[Path]] = deque()
    try:
        while True:
            while len(running) < workers + 1:
                running.append(pool.submit(make_shard, parts, label, next(numbers), size, seed))
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def start_worker() -> None:
    """Leave Ctrl-C to the main process, end with it, and leave the libraries' banners unsaid."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def end_with_parent() -> None:
        connection.wait([parent_process().sentinel])  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def make_shard(parts: Path, label: int, number: int, size: int, seed: int) -> Path:
    """Simulate a shard's collisions, keep what passes the preselection, return its file."""
    path = parts / f"{label}-{number:05d}.npz"
    if path.exists():
        return path
    # Here, so that only the workers load the simulation.
    from .collisions import Collisions
    from .detector import detect
    from .images import draw
    from .jets import find_jets, preselect
    from .selection import features

    generator = np.random.default_rng([seed, label, number])
    collisions = Collisions(label, int(generator.integers(1, 900_000_000)))
    rows: list[dict[str, Any]] = []
    for _ in range(COLLISIONS[label]):
        particles = collisions.next()
        if particles is None:
            continue
        *calorimeters, tracks = detect(particles, generator)
        jets = find_jets(calorimeters)
        if preselect(jets):
            image = draw(calorimeters, tracks, size)
            rows.append({"data": image, "weight": collisions.weight, **features(jets)})
    arrays = {name: np.array([row[name] for row in rows]) for name in ("weight", *FEATURES)}
    arrays["data"] = np.array([row["data"] for row in rows]).reshape(-1, 3, size, size)
    arrays["weight_tried"] = np.array(collisions.weight_tried)
    arrays["cross_section"] = np.array(collisions.cross_section())
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    temporary.replace(path)
    return path


def write(out: Path, shards: dict[int, list[Shard]], needed: dict[int, int], seed: int) -> None:
    """Write the data set under a temporary name, and rename it when it is whole."""
    columns: dict[str, list[np.ndarray]] = {}
    cross_sections = {}
    for label, made in shards.items():
        joined = {name: np.concatenate([s[name] for s in made]) for name in ("weight", *FEATURES)}
        kept = slice(0, needed[label])
        cross_sections[label] = float(np.mean([shard["cross_section"] for shard in made]))
        tried = sum(shard["weight_tried"] for shard in made)
        expected = cross_sections[label] * LUMINOSITY * joined["weight"].sum() / tried
        weight = joined["weight"][kept]
        joined["weight"] = weight / weight.sum() * expected
        joined["normweight"] = weight / weight.mean()
        for name, column in joined.items():
            columns.setdefault(name, []).append(column[: needed[label]])
        columns.setdefault("label", []).append(np.full(needed[label], label, np.int8))
    order = np.random.default_rng([seed, 2]).permutation(sum(needed.values()))
    arrays = {name: np.concatenate(parts)[order] for name, parts in columns.items()}
    arrays["psr"] = select(arrays)["SR"].astype(np.int8)
    place = np.argsort(order)  # where in the file each event goes
    temporary = out.with_name(out.name + ".part")
    try:
        with h5py.File(temporary, "w") as file:
            describe(file, cross_sections, seed)
            for name, array in arrays.items():
                file[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
            write_images(file, kept_images(shards, needed), place)
            file.flush()
        os.replace(temporary, out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def kept_images(shards: dict[int, list[Shard]], needed: dict[int, int]) -> Iterator[np.ndarray]:
    """The images of the events that are kept, one shard in memory at a time."""
    for label, made in shards.items():
        left = needed[label]
        for shard in made:
            with np.load(shard["path"]) as file:
                yield from file["data"][:left]
            left -= len(shard["weight"])


def write_images(file: h5py.File, images: Iterator[np.ndarray], place: np.ndarray) -> None:
    """Write images (3, size, size) to their places in ``data``, one a chunk."""
    data = None
    for image, row in zip(images, place, strict=True):
        if data is None:
            data = file.create_dataset(
                "data",
                (len(place), *image.shape),
                "f4",
                chunks=(1, *image.shape),
                compression="gzip",
                shuffle=True,
            )
        data[row] = image


def describe(file: h5py.File, cross_sections: dict[int, float], seed: int) -> None:
    """Say in the file what is in it."""
    file.attrs["content"] = (
        "Simulated events (Pythia 8, a detector in the manner of Delphes), no recorded data. "
        "data: channels electromagnetic and hadronic transverse energy (GeV) and tracks, then "
        "eta (-2.5 to 2.5), then phi (-pi to pi). label: 1 gluino pairs, 0 QCD. weight: events "
        "expected at 36/fb; normweight: the same, with mean 1 in each class. psr: in the "
        "physicist's signal region."
    )
    file.attrs["seed"] = seed
    file.attrs["pythia8mc"] = version("pythia8mc")
    for label, name in enumerate(("background", "signal")):
        file.attrs[f"cross_section_{name}_pb"] = cross_sections[label]
