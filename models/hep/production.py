"""Make data sets of simulated events: half signal, half background, as the public ones are."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rich.console import Console

from minidl.errors import UserError

from ..shards import (
    Workers,
    check_numbers,
    check_packages,
    check_room,
    prepare_parts,
    progress,
)
from .selection import FEATURES, select

LUMINOSITY = 36_000.0  # per picobarn: of the data that the paper's selection was made for
COLLISIONS = {0: 1000, 1: 100}  # in a shard, by label; most QCD collisions are given up early
SLACK = 2.0  # of the data set's size over that of its shards, which are compressed otherwise

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
    needed = {0: events - events // 2, 1: events // 2}
    with Workers(workers, "events", parts) as pool:
        shards = {
            label: produce(pool, parts, label, count, size, seed, console)
            for label, count in needed.items()
        }
    try:
        write(out, shards, needed, seed)
    except OSError as error:
        raise UserError(f"{out}: cannot write: {error}; the events are in {parts}") from None
    shutil.rmtree(parts)
    console.print(f"wrote {out}: {events:,} simulated events, {out.stat().st_size / 2**20:.1f} MiB")


def check_request(
    events: int, out: Path, size: int, seed: int, workers: int | None, overwrite: bool
) -> None:
    """Raise ``UserError`` for what cannot be done."""
    check_numbers({"--events": (events, 2), "--size": (size, 8), "--workers": (workers, 1)}, seed)
    if out.exists() and not overwrite:
        raise UserError(f"{out}: exists already; name another with --out, or use --overwrite")
    check_packages("simulating collisions", ("pythia8mc", "fastjet"), "hep")


def produce(
    pool: Workers, parts: Path, label: int, count: int, size: int, seed: int, console: Console
) -> list[Shard]:
    """Make shards of one class until the first ones hold ``count`` events."""
    shards: list[Shard] = []
    have = 0
    jobs = ((parts, label, number, size, seed) for number in itertools.count())
    with progress(console, ("background", "signal")[label], count, "events") as show:
        for path in pool.make(make_shard, jobs):
            with np.load(path, allow_pickle=False) as file:
                shard = {key: file[key] for key in file.files if key != "data"}
            shards.append({"path": path, **shard})
            have += len(shard["weight"])
            show(min(have, count))
            if have >= count:
                break
    return shards


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
    files = (shard["path"] for made in shards.values() for shard in made)
    check_room(out.parent, SLACK * sum(path.stat().st_size for path in files))
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
            with np.load(shard["path"], allow_pickle=False) as file:
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
    file.attrs["content"] = np.bytes_(
        "Simulated events (Pythia 8, a detector in the manner of Delphes), no recorded data. "
        "data: channels electromagnetic and hadronic transverse energy (GeV) and tracks, then "
        "eta (-2.5 to 2.5), then phi (-pi to pi). label: 1 gluino pairs, 0 QCD. weight: events "
        "expected at 36/fb; normweight: the same, with mean 1 in each class. psr: in the "
        "physicist's signal region."
    )
    file.attrs["seed"] = seed
    file.attrs["pythia8mc"] = np.bytes_(version("pythia8mc"))
    for label, name in enumerate(("background", "signal")):
        file.attrs[f"cross_section_{name}_pb"] = cross_sections[label]
