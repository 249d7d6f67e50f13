"""Statistics of one field of a data set, read in bounded memory, and what is wrong with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator

import h5py
import numpy as np

from ..tables import times

SAMPLES = 2000  # looked at, of a field with more
BYTES = 2**30  # read of one field at most, as HDF5 decompresses it
BLOCK = 2**20  # numbers read at a time of a field with one number a sample
CLASSES = 20  # an integer field with more distinct numbers is no label
WASTE = 4  # times a sample's size: what reading it may decompress without a warning


class Survey:
    """What the numbers of a field are like.

    Fields of one number a sample are read whole, others sample by sample, evenly spaced.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of numbers, the first axis counting samples.
    images : collection of int
        How many images the file has, for each field of images: integers of another length are no
        labels. Any length will do for a file without images.

    Attributes
    ----------
    name : str
        The field's path in the file.
    samples : int
        How many were looked at.
    minimum, mean, maximum : np.ndarray, shape (rows,)
        Of the finite numbers; NaN without any. One row a channel for images, else one in all.
    zeros : np.ndarray, shape (rows,)
        Share of zeros.
    not_finite : np.ndarray, shape (rows,)
        How many numbers are NaN or infinite.
    classes : Counter of int
        How often each label comes; empty where the field is none: not few integers.
    """

    def __init__(self, dataset: h5py.Dataset, images: Collection[int] = ()) -> None:
        self.dataset, self.name = dataset, dataset.name.strip("/")
        rows = dataset.shape[1] if is_image(dataset) else 1
        self.samples, self.classes = 0, Counter[int]()
        self.minimum, self.maximum = np.full((2, rows), np.nan)
        self.not_finite, zeros, count = np.zeros((3, rows), np.int64)
        total = np.zeros(rows)
        label = dataset.ndim == 1 and dataset.dtype.kind in "iub"
        label = label and (not images or len(dataset) in images)
        for samples in blocks(dataset):
            self.samples += len(samples)
            if label:
                self.classes.update(samples.astype(np.int64).tolist())
                label = len(self.classes) <= CLASSES
            # (samples, C, H, W) -> (C, samples * H * W); what is no image is one row.
            values = np.moveaxis(samples, 1, 0) if rows > 1 else samples
            values = values.reshape(rows, -1).astype(np.float64)
            bad = ~np.isfinite(values)
            self.not_finite += bad.sum(axis=1)
            zeros += (values == 0).sum(axis=1)
            count += values.shape[1]
            values[bad] = np.nan
            self.minimum = np.fmin(self.minimum, np.fmin.reduce(values, axis=1))
            self.maximum = np.fmax(self.maximum, np.fmax.reduce(values, axis=1))
            values[bad] = 0
            total += values.sum(axis=1)
        if not label:
            self.classes.clear()
        with np.errstate(invalid="ignore"):
            self.mean, self.zeros = total / (count - self.not_finite), zeros / count


def is_field(dataset: h5py.Dataset) -> bool:
    """Whether these are numbers, one entry a sample."""
    return bool(dataset.shape) and dataset.size > 0 and dataset.dtype.kind in "fiub"


def is_image(dataset: h5py.Dataset) -> bool:
    """Whether a field holds images: (samples, channels, height, width), channels the fewest."""
    return is_field(dataset) and dataset.ndim == 4 and dataset.shape[1] <= min(dataset.shape[2:])


def blocks(dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    """Yield samples of a field, no more at a time than fit into memory."""
    if dataset.ndim == 1:
        for start in range(0, len(dataset), BLOCK):
            yield dataset[start : start + BLOCK]
        return
    affordable = int(BYTES / (dataset.nbytes / len(dataset) * decompressed(dataset)))
    count = max(1, min(len(dataset), SAMPLES, affordable))
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int):
        yield dataset[index : index + 1]


def decompressed(dataset: h5py.Dataset) -> float:
    """How many times its own size HDF5 has to decompress in order to read one sample."""
    if dataset.chunks is None or dataset.id.get_create_plist().get_nfilters() == 0:
        return 1.0
    sample = dataset.shape[1:]
    steps = zip(sample, dataset.chunks[1:], strict=True)
    covered = math.prod(math.ceil(size / step) * step for size, step in steps)
    return dataset.chunks[0] * covered / math.prod(sample)


def problems(survey: Survey) -> list[str]:
    """Say what would stop or slow a training on this field."""
    dataset, name = survey.dataset, survey.name
    found = []
    if bad := int(survey.not_finite.sum()):
        found.append(
            f"{name}: of the numbers looked at, {bad:,} are NaN or infinite, at which training "
            "stops; correct or drop these samples"
        )
    if dataset.ndim == 4 and dataset.shape[3] < min(dataset.shape[1:3]):
        found.append(
            f"{name}: samples of {times(dataset.shape[1:])} seem to have their channels last; "
            "expected channels x height x width"
        )
    if dataset.ndim > 1 and (waste := decompressed(dataset)) > WASTE:
        chunk = times((1, *dataset.shape[1:]))
        found.append(
            f"{name}: reading one sample decompresses {waste:.0f} times its size, as chunks are "
            f"{times(dataset.chunks)}; training reads in random order and would be slow; "
            f"rewrite the file: h5repack -l {name}:CHUNK={chunk} OLD.h5 NEW.h5"
        )
    return found
