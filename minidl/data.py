"""HDF5 data sets: several files as one, checked, dealt to ranks, shuffled, read ahead.

A file holds arrays that share their first axis, one entry a sample, images channel-first:
``data`` (samples, channels, height, width), ``label`` (samples,) and the like.
"""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .errors import UserError
from .hdf5 import bytes_now, numbers, open_hdf5, readable

Samples = dict[str, np.ndarray]
Prepare = Callable[[Samples, np.ndarray | None], tuple[np.ndarray, Any]]

CHANCES = 8  # uniform random numbers a sample, for augmentation


class Dataset:
    """Arrays of one or more HDF5 files, as if the files stood one after the other.

    Parameters
    ----------
    paths : sequence of Path
    fields : sequence of str
        Names of the arrays that ``read`` returns.
    gaps : sequence of str
        Those in which a number that is not finite says that a value is missing.

    Raises
    ------
    UserError
        For a file that is missing, is no HDF5, is cut off, lacks a field or is empty; for fields
        of different lengths, and files of different shapes.
    """

    def __init__(
        self, paths: Sequence[Path], fields: Sequence[str], gaps: Sequence[str] = ()
    ) -> None:
        self.paths, self.fields = [Path(path) for path in paths], tuple(fields)
        self.gaps = tuple(gaps)
        self.files = [open_hdf5(path) for path in self.paths]
        self.lengths = [bytes_now(file) for file in self.files]
        counts = [
            self._check(path, file) for path, file in zip(self.paths, self.files, strict=True)
        ]
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        if not len(self):
            raise UserError(f"{_names(self.paths)}: no samples in it; at least one is needed")

    def __len__(self) -> int:
        return int(self.starts[-1])

    def shape(self, field: str) -> tuple[int, ...]:
        """Shape of one sample of ``field``."""
        return self.files[0][field].shape[1:]

    def locate(self, sample: int) -> tuple[Path, int]:
        """Find the file that holds a sample, and its index there."""
        file = int(np.searchsorted(self.starts, sample, side="right")) - 1
        return self.paths[file], sample - int(self.starts[file])

    def read(self, indices: np.ndarray) -> Samples:
        """Read samples, in the order of ``indices``, which come along as ``index``.

        Raises
        ------
        UserError
            For numbers that are not finite, and where a file turns out to be damaged.
        """
        return {"index": indices, **{field: self._read(field, indices) for field in self.fields}}

    def column(self, field: str) -> np.ndarray:
        """Read a whole field of few numbers a sample, as labels, weights and boxes are."""
        with readable(f"{_names(self.paths)}: cannot read {field!r}"):
            return np.concatenate(
                [
                    numbers(path, file, field)[:]  # it need not be among the fields that are read
                    for path, file in zip(self.paths, self.files, strict=True)
                ]
            )

    def _check(self, path: Path, file: h5py.File) -> int:
        for field in self.fields:
            numbers(path, file, field)
            first = self.files[0][field]
            if file[field].shape[1:] != first.shape[1:]:
                raise UserError(
                    f"{path}: samples of {field!r} have shape {file[field].shape[1:]}, "
                    f"those of {self.paths[0]} {first.shape[1:]}; files read together must agree"
                )
        lengths = {field: len(file[field]) for field in self.fields}
        if len(set(lengths.values())) > 1:
            raise UserError(f"{path}: arrays of different lengths: {lengths}; expected one length")
        return lengths[self.fields[0]]

    def _read(self, field: str, indices: np.ndarray) -> np.ndarray:
        first = self.files[0][field]
        out = np.empty((len(indices), *first.shape[1:]), first.dtype)
        owners = np.searchsorted(self.starts, indices, side="right") - 1
        for place, (owner, index) in enumerate(zip(owners, indices, strict=True)):
            sample = index - self.starts[owner]
            with readable(f"{self.paths[owner]}: cannot read {field!r}, sample {sample}"):
                # One sample at a time: HDF5's lists of indices are slower than a loop.
                out[place] = self.files[owner][field][sample]
                if bytes_now(self.files[owner]) < self.lengths[owner]:
                    raise OSError("the file has been cut off since it was opened")
        if out.dtype.kind == "f" and field not in self.gaps and not np.isfinite(out).all():
            bad = ~np.isfinite(out).reshape(len(out), -1).all(axis=1)
            path, sample = self.locate(int(indices[np.argmax(bad)]))
            raise UserError(
                f"{path}: {field!r}, sample {sample}: not a finite number (NaN or infinity); "
                "correct or drop the sample"
            )
        return out


def check_labels(dataset: Dataset, field: str, classes: int) -> None:
    """Raise ``UserError`` unless every label is a class number, 0 to classes - 1."""
    labels = dataset.column(field)
    if labels.ndim != 1:
        raise UserError(f"{_names(dataset.paths)}: {field!r} is not one number a sample")
    bad = (labels != np.floor(labels)) | (labels < 0) | (labels >= classes)
    if bad.any():
        path, sample = dataset.locate(int(np.argmax(bad)))
        raise UserError(
            f"{path}: {field!r}, sample {sample}: label {labels[np.argmax(bad)]} is out of range; "
            f"expected 0 to {classes - 1}"
        )


def check_images(dataset: Dataset, field: str, channels: int) -> tuple[int, int, int]:
    """Raise ``UserError`` unless images have so many channels; return (H, W, C)."""
    shape = dataset.shape(field)
    if len(shape) != 3 or shape[0] != channels or 0 in shape:
        raise UserError(
            f"{_names(dataset.paths)}: samples of {field!r} have shape {shape}; "
            f"expected ({channels}, height, width)"
        )
    return (*shape[1:], channels)


class Batches:
    """One rank's share of each batch, epoch after epoch.

    Every epoch goes once through all samples, in an order that depends on the seed and the epoch
    only. A batch takes the next ``size * batch_size`` of them and deals them to the ranks in
    consecutive pieces; the last batch of an epoch takes what is left, dealt as evenly as can be.
    So P ranks see in every batch what one rank would see with P times the batch size.

    Parameters
    ----------
    samples : int
        How many there are.
    batch_size : int
        For each rank.
    rank, size : int
    seed : int or None
        None keeps the samples in order: for evaluation.
    """

    def __init__(
        self, samples: int, batch_size: int, rank: int, size: int, seed: int | None
    ) -> None:
        if samples < size:
            raise UserError(
                f"{samples} samples are fewer than {size} ranks; use fewer ranks or more data"
            )
        self.samples, self.batch_size = samples, batch_size
        self.rank, self.size, self.seed = rank, size, seed
        self._last_order = -1, np.empty(0, np.int64)

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return -(-self.samples // (self.batch_size * self.size))

    def __getitem__(self, iteration: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Indices of this rank's samples in batch ``iteration`` (over all epochs), and chances.

        The chances, (samples, CHANCES) uniform in [0, 1), belong to the place in the batch: they
        do not depend on how the batch is dealt to ranks. Without a seed there are none.
        """
        epoch, number = divmod(iteration, self.per_epoch)
        batch = np.arange(self.total(iteration)) + number * self.batch_size * self.size
        mine = np.array_split(np.arange(len(batch)), self.size)[self.rank]
        if self.seed is None:
            return batch[mine], None
        generator = np.random.default_rng([self.seed, epoch, number])
        return self._shuffled(epoch)[batch[mine]], generator.random((len(batch), CHANCES))[mine]

    def total(self, iteration: int) -> int:
        """Samples of all ranks in batch ``iteration``."""
        full = self.batch_size * self.size
        return min(full, self.samples - iteration % self.per_epoch * full)

    def count(self, iteration: int, ranks: range) -> int:
        """Samples that some of the ranks together have in batch ``iteration``."""
        each, more = divmod(self.total(iteration), self.size)
        return sum(each + (rank < more) for rank in ranks)

    def _shuffled(self, epoch: int) -> np.ndarray:
        known, order = self._last_order  # both at once: threads may ask for different epochs
        if known != epoch:
            order = np.random.default_rng([self.seed or 0, epoch]).permutation(self.samples)
            self._last_order = epoch, order
        return order


def read_ahead(items: Iterator[Any], depth: int = 2) -> Generator[Any, None, None]:
    """Yield what ``items`` yields, computed by a background thread, at most ``depth`` ahead.

    An exception in the thread is raised where its item was awaited.
    """
    ready: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[Any, BaseException | None, bool]) -> None:
        while not stop.is_set():
            try:
                return ready.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None, False))
                if stop.is_set():
                    return
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))

    thread = threading.Thread(target=work, daemon=True, name="read-ahead")
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    # A program that ends with an error would stop the thread anywhere, also inside of HDF5, whose
    # lock it would then hold forever, and the program wait for that on its way out.
    atexit.register(end)
    try:
        while True:
            item, error, last = ready.get()
            if error is not None:
                raise error
            if last:
                return
            yield item
    finally:
        end()
        atexit.unregister(end)


def prepared(
    dataset: Dataset,
    batches: Batches,
    prepare: Prepare,
    start: int,
    stop: int,
) -> Generator[tuple[np.ndarray, Any], None, None]:
    """Read and prepare the batches ``start`` to ``stop``, as (x, target)."""
    for (whole,) in prepared_in_parts(dataset, batches, prepare, start, stop, 1):
        yield whole


def prepared_in_parts(
    dataset: Dataset,
    batches: Batches,
    prepare: Prepare,
    start: int,
    stop: int,
    parts: int,
) -> Generator[list[tuple[np.ndarray, Any]], None, None]:
    """Read and prepare the batches ``start`` to ``stop``, each cut into so many even parts."""
    for iteration in range(start, stop):
        indices, chances = batches[iteration]
        cuts = np.array_split(np.arange(len(indices)), parts)
        yield [
            prepare(dataset.read(indices[cut]), None if chances is None else chances[cut])
            for cut in cuts
        ]


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
