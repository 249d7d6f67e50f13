"""A run's whole state in one HDF5 file, written whole or not at all, and checked when it is read.

Layout: attributes ``iteration`` (of the first group), ``iterations`` (one a group), ``per_epoch``
(how many are an epoch), ``seconds`` and ``samples`` (as the log has them), ``asked`` (the run's
model and settings, JSON), ``versions`` (of minidl and the libraries, JSON); and

    layers/NN.NAME/parameters     flat; ``views``: names and shapes of the tensors in it
    layers/NN.NAME/optimizer/*    what the layer's optimiser remembers; ``updates`` made so far, the
                                  first of which are ``forgotten``
    statistics/NN.NAME            of each leaf that gathers any without a gradient
    updates                       every update of a server so far, of ``served.UPDATE``
    meetings                      iterations of every group, a row each time that all had met
    generators                    a line of JSON a rank: its leaves' random-number generators

NN are numbers in forward order. HDF5 keeps a checksum of every chunk of numbers (Fletcher 32) and
of its own structure, and looks at them whenever it reads.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from .errors import UserError
from .files import sync_folder
from .hdf5 import numbers, open_hdf5, readable, write_hdf5
from .layers import Layer
from .versions import versions

KEPT = 3  # checkpoints: the newest, and the two before it in case that it is found damaged


class LayerState(NamedTuple):
    """A layer and its optimiser; the arrays have one entry a parameter."""

    parameters: np.ndarray
    views: dict[str, tuple[int, ...]]
    optimizer: dict[str, np.ndarray]
    updates: int
    forgotten: int = 0  # updates of which the optimiser remembers nothing, as its server has died


@dataclass
class State:
    """Everything that a run needs to go on.

    Attributes
    ----------
    iterations : list of int
        How many every group has made.
    per_epoch : int
        How many are an epoch, which depends on the number of workers.
    layers : dict of str to LayerState
        Numbered names, in forward order.
    statistics : dict of str to np.ndarray
    updates : np.ndarray of ``served.UPDATE``
    meetings : list of list of int
        ``iterations`` of this checkpoint and of those before.
    generators : list of str
        One a rank.
    seconds, samples : float, int
        Of all groups so far.
    asked : dict
        Model and settings.
    """

    iterations: list[int]
    per_epoch: int
    layers: dict[str, LayerState]
    statistics: dict[str, np.ndarray]
    updates: np.ndarray
    generators: list[str]
    meetings: list[list[int]] = field(default_factory=list)
    seconds: float = 0.0
    samples: int = 0
    asked: dict[str, Any] = field(default_factory=dict)


class Writer:
    """Writes states in the background, one after the other, while training goes on.

    Parameters
    ----------
    path : Path
        The newest; older ones are beside it, see ``history``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.saved = -1  # the first group's iteration that is on the disk
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def write(self, state: State) -> None:
        """Start to write; the state's arrays must not change any more.

        Raises
        ------
        UserError
            If the one before could not be written.
        """
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(state,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until all is written; raises what ``write`` does."""
        if self._thread:
            self._thread.join()
        if self._error:
            raise self._error

    def _write(self, state: State) -> None:
        try:
            save(self.path, state)
            self.saved = state.iterations[0]
        except BaseException as error:
            self._error = error


def history(path: Path) -> list[Path]:
    """The newest checkpoint and its forerunners, whether they are there or not."""
    return [path, *(path.with_stem(f"{path.stem}.{age}") for age in range(1, KEPT))]


def save(path: Path, state: State) -> None:
    """Write a state to ``path``; what was there becomes the first of its forerunners.

    Raises
    ------
    UserError
        If it cannot be written. What was there before is still there then.
    """
    temporary = path.with_suffix(".part")
    try:
        write_hdf5(temporary, lambda file: _write(file, state))
        _make_room(path)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{path}: cannot write the checkpoint: {error}") from None
        raise


def _make_room(path: Path) -> None:
    """Let every checkpoint become one older; the newest has both names until it is replaced."""
    names = history(path)[::-1]
    for older, newer in pairwise(names):
        if newer.exists():
            older.unlink(missing_ok=True)
            try:
                os.link(newer, older)
            except OSError:  # a file system without links: for a moment the newest is not there
                os.replace(newer, older)


def _write(file: h5py.File, state: State) -> None:
    # Texts of a fixed length: others lie in a heap without a checksum, and HDF5 may look in a
    # damaged one for ever.
    file.attrs["versions"] = np.bytes_(json.dumps(versions()))
    file.attrs["iteration"], file.attrs["iterations"] = state.iterations[0], state.iterations
    file.attrs["per_epoch"] = state.per_epoch
    file.attrs["seconds"], file.attrs["samples"] = state.seconds, state.samples
    file.attrs["asked"] = np.bytes_(json.dumps(state.asked))
    for name, layer in state.layers.items():
        _put(file, f"layers/{name}/parameters", layer.parameters)
        file[f"layers/{name}"].attrs["views"] = np.bytes_(json.dumps(layer.views))
        group = file.create_group(f"layers/{name}/optimizer")
        group.attrs["updates"], group.attrs["forgotten"] = layer.updates, layer.forgotten
        for part, values in layer.optimizer.items():
            _put(group, part, values)
    for name, values in state.statistics.items():
        _put(file, f"statistics/{name}", values)
    _put(file, "updates", state.updates)
    _put(file, "meetings", np.array(state.meetings, np.int64))
    lines = "\n".join(state.generators).encode()
    _put(file, "generators", np.frombuffer(lines, np.uint8))


def _put(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Write an array with checksums, which only arrays with elements can have."""
    group.create_dataset(name, data=values, fletcher32=bool(values.size) or None)


def read(path: Path) -> State:
    """Read a whole state.

    Raises
    ------
    UserError
        If the file is missing, damaged, or no checkpoint.
    """
    with _opened(path) as file:
        lines = numbers(path, file, "generators")[:].tobytes().decode()
        updates = numbers(path, file, "updates", "V")[:]
        asked = json.loads(file.attrs["asked"])
        if "layer" not in updates.dtype.names or not isinstance(asked, dict):
            raise TypeError("its updates or settings are none")
        return State(
            [int(count) for count in file.attrs["iterations"]],
            int(file.attrs["per_epoch"]),
            {
                name: LayerState(
                    numbers(path, group, "parameters")[:],
                    json.loads(group.attrs["views"]),
                    {
                        part: numbers(path, group["optimizer"], part)[:]
                        for part in group["optimizer"]
                    },
                    int(group["optimizer"].attrs["updates"]),
                    int(group["optimizer"].attrs["forgotten"]),
                )
                for name, group in sorted(file["layers"].items(), key=by_number)
            },
            {
                name: numbers(path, file["statistics"], name)[:]
                for name in file.get("statistics", ())
            },
            updates,
            lines.split("\n"),
            numbers(path, file, "meetings")[:].tolist(),
            float(file.attrs["seconds"]),
            int(file.attrs["samples"]),
            asked,
        )


def newest(path: Path) -> tuple[State, Path, list[str]]:
    """Read the newest state that is whole; say what was wrong with newer ones.

    Raises
    ------
    UserError
        If there is none.
    """
    problems: list[str] = []
    for candidate in history(path):
        try:
            return read(candidate), candidate, problems
        except UserError as error:
            problems.append(str(error))
    raise UserError(f"no checkpoint to go on from: {'; '.join(problems)}")


def load(path: Path, network: Layer) -> int:
    """Read parameters and statistics into ``network``; return the iteration they are from.

    Raises
    ------
    UserError
        If the file is missing, damaged, or of another network.
    """
    state = read(path)
    fill(network, state, path)
    return state.iterations[0]


def fill(network: Layer, state: State, path: Path) -> None:
    """Put a state's parameters and statistics into a network.

    Raises
    ------
    UserError
        If they are of another network.
    """
    layers = {name: layer.parameters for name, layer in numbered(network.layers())}
    leaves = {name: leaf.statistics for name, leaf in numbered(network.leaves())}
    parameters = {name: layer.parameters for name, layer in state.layers.items()}
    for wanted, found in (layers, parameters), (leaves, state.statistics):
        expected = {name: values.size for name, values in wanted.items() if values.size}
        there = {name: values.size for name, values in found.items()}
        if expected != there:
            raise UserError(
                f"{path}: of another network: its layers are {there}, expected {expected}"
            )
        for name in there:
            np.copyto(wanted[name], found[name])


def by_number(item: tuple[str, Any]) -> int:
    """The number of a named layer; by their names alone, the 100th comes before the 11th."""
    return int(item[0].partition(".")[0])


def numbered(layers: list[Layer]) -> list[tuple[str, Layer]]:
    """Layers with their names in a checkpoint."""
    return [(f"{number:02d}.{layer.name}", layer) for number, layer in enumerate(layers)]


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a checkpoint; turn whatever a damaged one leads to into one line."""
    with readable(f"{path}: the checkpoint is damaged"), open_hdf5(path) as file:
        if "layers" not in file or "iterations" not in file.attrs:
            raise UserError(f"{path}: not a checkpoint of minidl")
        yield file
