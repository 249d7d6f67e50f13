"""Make data sets of synthetic weather in the layout of the public one: a file a year."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import h5py
from rich.console import Console

from minidl.errors import UserError

from ..shards import Workers, check_numbers, check_packages, prepare_parts, progress
from .yearly import SHARD, SOURCES, Request, Window, make_shard, write

PACIFIC: Window = (0.0, 48.0, 110.0, 158.0)  # the western North Pacific, richest in typhoons
TRACKS = (1980, 2023)  # years of which all basins' tracks are known
SMALLEST = 96  # rows: half a degree each here; of fewer a cyclone would be a few pixels
STRIDE = 32  # pixels a cell of the network's grid: five convolutions of stride 2


def generate(
    *,
    years: str,
    frames: int,
    out: Path,
    size: int = 192,
    region: Window | None = None,
    globe: bool = False,
    months: str = "1-12",
    seed: int = 1,
    workers: int | None = None,
    overwrite: bool = False,
) -> None:
    """Make synthetic weather: sixteen fields a frame, with boxes around its storms.

    ```
    minidl generate climate --years 1995-1999 --frames 200 --out climate
    minidl generate climate --years 2001 --frames 1460 --globe --size 768 --out .
    ```

    The tropical storms are where real ones were at a frame's date; all else is drawn at random.
    Ctrl-C keeps what is finished; the same command goes on from there, and skips finished years.
    While a year is made, its frames take twice their place on the disk.

    Parameters
    ----------
    years
        A year or a range of years, 1980 to 2023.
    frames
        Frames of each year, evenly spaced in time; 1460 are four a day.
    out
        The folder of the files, climo_YYYY.h5.
    size
        Rows of a frame.
    region
        South, north, west, east, in degrees; 0 48 110 158, the western North Pacific, unless
        given.
    globe
        The whole globe, size x 1.5 size pixels.
    months
        A month or a range of months that frames are of.
    seed
        Other seeds make other weather.
    workers
        Processes; one a core unless given. They make the same frames, only faster.
    overwrite
        Replace files that are there, be they finished with the same settings or not.

    Raises
    ------
    UserError
        If a file is there that was made otherwise or cannot be written, or a package is missing.
    """
    check_numbers({"--frames": (frames, 1), "--workers": (workers, 1)}, seed)
    if globe and region is not None:
        raise UserError("--globe and --region exclude each other; give one of them")
    window = None if globe else region or PACIFIC
    request = Request(frames, between("--months", months, (1, 12)), window, size, seed)
    first, last = between("--years", years, TRACKS)
    if first > last:
        raise UserError(f"--years {years}: the first is after the last")
    files = {year: out / f"climo_{year}.h5" for year in range(first, last + 1)}
    check_request(request, files)
    check_packages("making weather", (*SOURCES, "scipy"), "climate")
    finished = set() if overwrite else {year for year in files if is_finished(files[year], request)}
    console = Console(soft_wrap=True, highlight=False)
    for year, path in files.items():
        if year in finished:
            console.print(f"{path}: there already, made with the same settings")
        else:
            make_year(path, request, year, workers, console)


def between(flag: str, text: str, bounds: tuple[int, int]) -> tuple[int, int]:
    """Read "3" as 3 to 3, and "3-5" as 3 to 5, if within bounds."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if found is None:
        raise UserError(f"{flag} {text}: expected a number or a range, as {bounds[0]}-{bounds[1]}")
    first, last = int(found[1]), int(found[2] or found[1])
    for number in (first, last):
        if not bounds[0] <= number <= bounds[1]:
            raise UserError(f"{flag} {text}: must be from {bounds[0]} to {bounds[1]}")
    return first, last


def check_request(request: Request, years: Iterable[int]) -> None:
    """Raise ``UserError`` for frames that cannot be made."""
    if request.region is not None:
        south, north, west, east = request.region
        if not (-90 <= south < north <= 90 and -180 <= west < east <= west + 360):
            raise UserError(
                f"--region {south:g} {north:g} {west:g} {east:g}: expected south, north, west, "
                "east in degrees, north within 90, west from -180, east at most 360 from it"
            )
    shape = f"--size {request.rows}: frames of {request.rows} x {request.columns:g} pixels"
    if request.rows < SMALLEST:
        raise UserError(f"{shape}; needs at least {SMALLEST} rows")
    if request.rows % STRIDE or request.columns % STRIDE:
        raise UserError(f"{shape}; both must be divisible by {STRIDE}, for the network's grid")
    for year in years:
        most = len(request.all_times(year))
        if request.frames > most:
            raise UserError(
                f"--frames {request.frames}: these months of {year} have {most} six-hourly times; "
                "take fewer, or more years"
            )


def is_finished(path: Path, request: Request) -> bool:
    """Whether a year's file is there; ``UserError`` if something else is."""
    if not path.exists():
        return False
    try:
        with h5py.File(path) as file:
            if json.loads(file.attrs["settings"]) == request.settings():
                return True
    except (OSError, KeyError, TypeError, ValueError):
        pass  # it is of somewhere else, or damaged
    raise UserError(
        f"{path}: exists already, made with other settings; "
        "name another folder with --out, or use --overwrite"
    )


def make_year(
    path: Path, request: Request, year: int, workers: int | None, console: Console
) -> None:
    """Make one year's file."""
    parts = path.with_name(path.name + ".parts")
    prepare_parts(parts, request.settings())
    jobs = ((parts, request, year, first) for first in range(0, request.frames, SHARD))
    shards: list[Path] = []
    with (
        Workers(workers, "frames", parts) as pool,
        progress(console, path.name, request.frames, "frames") as show,
    ):
        for shard in pool.make(make_shard, jobs):
            shards.append(shard)
            show(min(len(shards) * SHARD, request.frames))
    try:
        write(path, request, year, shards)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error}; the frames are in {parts}") from None
    shutil.rmtree(parts)
    size = path.stat().st_size / 2**20
    console.print(f"wrote {path}: {request.frames:,} synthetic frames, {size:,.1f} MiB")
