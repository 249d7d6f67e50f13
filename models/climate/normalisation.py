"""Each channel's mean and standard deviation, measured once; fields in units of them.

Pressures are 100,000 (Pa) and rain rates 0.00000003 (m/s): a network wants both near one. The
published code maps a channel's range, minimum to maximum, to [-1, 1]. One cloudburst sets the
maximum of rain, and all other rain is then -1 within a thousandth; so here it is mean 0 and
standard deviation 1.

A number that is not finite, or as large as the fill values that climate files are written with
(1e20 usually), says that the value is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import h5py
import numpy as np

from minidl.data import Dataset
from minidl.errors import UserError

from .channels import CHANNELS

FILL = 1e15  # no field is so large; what is, is missing
EVERY = 10.0  # seconds between lines that tell how far it is


class Moments(NamedTuple):
    """What is known of the channels' numbers so far, each an array of shape (C,).

    Attributes
    ----------
    numbers : np.ndarray
        How many are not missing.
    mean, squares : np.ndarray
        ``squares`` is the sum of squared differences from the mean.
    minimum, maximum : np.ndarray
        Where there are no numbers, the largest float and its negative: JSON has no infinities.
    """

    numbers: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    def merge(self, other: Moments) -> Moments:
        """Moments of the numbers of both, without differences of large sums.

        T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing
        sample variances", Stanford report STAN-CS-79-773 (1979).
        """
        numbers = self.numbers + other.numbers
        share = other.numbers / np.maximum(numbers, 1)
        step = other.mean - self.mean
        return Moments(
            numbers,
            self.mean + step * share,
            self.squares + other.squares + step**2 * self.numbers * share,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )


NOTHING = (0, 0.0, 0.0, np.finfo(np.float64).max, np.finfo(np.float64).min)  # of no numbers


def measure(dataset: Dataset, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel of ``images``, over all files together.

    A file is read once, a frame at a time, and what is found is kept beside it in
    ``NAME.channels.json``, for as long as the file does not change. Where that cannot be written,
    it is measured anew every time.

    Parameters
    ----------
    dataset : Dataset
        With the field ``images`` (C, H, W).
    tell : callable
        Given a line now and then while files are read.

    Returns
    -------
    dict
        ``mean`` and ``deviation``, C plain numbers each. The deviation of a channel that does not
        vary is 1, as is that of one without numbers, whose mean is 0.

    Raises
    ------
    UserError
        If a file turns out to be damaged.
    """
    total = none(dataset.shape("images")[0])
    for path, file in zip(dataset.paths, dataset.files, strict=True):
        total = total.merge(of_file(path, file["images"], tell))
    deviation = np.sqrt(total.squares / np.maximum(total.numbers, 1))
    deviation[total.minimum >= total.maximum] = 1
    return {"mean": total.mean.tolist(), "deviation": deviation.tolist()}


def normalise(
    images: np.ndarray, mean: Sequence[float], deviation: Sequence[float]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Put the channels last, in standard deviations from their means.

    Parameters
    ----------
    images : np.ndarray, shape (N, C, H, W)
    mean, deviation : sequence of float, C of them

    Returns
    -------
    x : np.ndarray of float32, shape (N, H, W, C)
        0, the mean, where a value is missing.
    missing : np.ndarray of bool, shape (N, H, W, C), or None
        None if nothing is.
    """
    count, channels, height, width = images.shape
    x = np.empty((count, height, width, channels), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # missing values, replaced below
        np.subtract(images.transpose(0, 2, 3, 1), np.asarray(mean, np.float32), out=x)
        x /= np.asarray(deviation, np.float32)
    # A NaN makes the extremes NaN; and this way nothing of the images' size is made.
    if images.size == 0 or (images.min() > -FILL and images.max() < FILL):
        return x, None
    missing = np.ascontiguousarray(~present(images).transpose(0, 2, 3, 1))
    x[missing] = 0
    return x, missing


def present(values: np.ndarray) -> np.ndarray:
    """Where values are not missing."""
    return np.abs(values) < FILL


def none(channels: int) -> Moments:
    """Moments of no numbers."""
    return Moments(*(np.full(channels, value) for value in NOTHING))


def of_frame(frame: np.ndarray) -> Moments:
    """Moments of one frame (C, H, W)."""
    rows = []
    for channel in frame:  # one after the other, as one fits into the cache
        there = present(channel)
        values = (channel if there.all() else channel[there]).astype(np.float64).ravel()
        if values.size == 0:
            rows.append(NOTHING)
            continue
        mean, low, high = values.mean(), values.min(), values.max()
        values -= mean
        rows.append((values.size, mean, np.square(values).sum(), low, high))
    return Moments(*map(np.array, zip(*rows, strict=True)))


def of_file(path: Path, images: h5py.Dataset, tell: Callable[[str], None]) -> Moments:
    """Moments of a file's images (T, C, H, W): as kept beside it, or measured and then kept."""
    kept = path.with_suffix(".channels.json")
    status = path.stat()
    file = {"name": path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    total = recall(kept, file, images.shape[1])
    if total is None:
        total = of_frames(path, images, lambda line: tell(f"{line}, once; kept in {kept.name}"))
        try:
            keep(kept, file, total)
        except OSError as error:
            tell(f"cannot keep what was measured, so it will be measured again: {error}")
    return total


def of_frames(path: Path, images: h5py.Dataset, tell: Callable[[str], None]) -> Moments:
    """Moments of a file's images, one frame in memory at a time."""
    total, said = none(images.shape[1]), -np.inf
    for number in range(len(images)):
        if monotonic() - said > EVERY:
            said = monotonic()
            tell(f"measuring {path.name}: {number}/{len(images)} frames")
        try:
            total = total.merge(of_frame(images[number]))
        except OSError as error:
            raise UserError(f"{path}: cannot read 'images', sample {number}: {error}") from None
    return total


def recall(kept: Path, file: dict[str, Any], channels: int) -> Moments | None:
    """What was kept of this very file, or None."""
    try:
        found = json.loads(kept.read_text())
        moments = Moments(*(np.array(found[name], np.float64) for name in Moments._fields))
        same = found["file"] == file
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sound = all(column.shape == (channels,) for column in moments) and np.isfinite(moments).all()
    return moments if same and sound else None


def keep(kept: Path, file: dict[str, Any], moments: Moments) -> None:
    """Write under a name of this process's own, and rename: several may be measuring."""
    columns = {name: column.tolist() for name, column in moments._asdict().items()}
    names = [channel.name for channel in CHANNELS]
    temporary = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    try:
        temporary.write_text(json.dumps({"file": file, "channels": names, **columns}, indent=1))
        temporary.replace(kept)
    finally:
        temporary.unlink(missing_ok=True)
