"""What happened in a run, in one HDF5 file: every rank's time and every update of a server.

Layout of ``record.h5``: ``spans/RANK``, arrays of ``stopwatch.SPAN`` in order of time, in seconds
since all ranks left a barrier together; ``updates``, an array of ``parallel.served.UPDATE`` in
which the updates of one layer stand in the order in which its server made them; ``meetings``, the
iterations that every group had made, a row for each time that all had met and gone on from the
newest network. Attributes: ``layers`` (names in forward order), ``activities``, ``groups`` (one
number a rank, -1 for a server), ``virtual`` (whether the seconds are those of a virtual cluster),
``began`` (from which second on there are spans: a resumed run has none of before).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI

from .errors import UserError
from .hdf5 import open_hdf5, readable, write_hdf5
from .stopwatch import ACTIVITIES


@dataclass
class Record:
    """A run in numbers. ``groups[rank]`` is -1 for a server; ``spans[rank]`` has dtype ``SPAN``."""

    layers: list[str]
    groups: list[int]
    spans: list[np.ndarray]
    updates: np.ndarray
    virtual: bool = False  # whether the seconds are not real ones
    # Iterations of every group, whenever all had met and gone on from the newest network.
    meetings: list[list[int]] = field(default_factory=list)
    began: float = 0.0  # second of the run at which the spans begin: later, where it was resumed

    def staleness(self, layer: int) -> np.ndarray:
        """Of every update of a layer, how many others came between its read and its write."""
        updates = self.updates[self.updates["layer"] == layer]
        return updates["made"] - 1 - updates["read"]

    def histograms(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Of every layer that a server updated: how many updates had which staleness."""
        for number, name in enumerate(self.layers):
            values, counts = np.unique(self.staleness(number), return_counts=True)
            if len(values):
                yield name, dict(zip(map(str, values.tolist()), counts.tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Write the record.

        Raises
        ------
        UserError
            If that is not possible. What was there before is still there then.
        """
        temporary = path.with_suffix(".part")
        try:
            write_hdf5(temporary, self._write)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(f"{path}: cannot write the record: {error.strerror}") from None

    def _write(self, file: h5py.File) -> None:
        # As for checkpoints: texts of a fixed length.
        file.attrs["layers"] = np.array(self.layers, np.bytes_)
        file.attrs["activities"] = np.array(ACTIVITIES, np.bytes_)
        file.attrs["groups"] = self.groups
        file.attrs["virtual"], file.attrs["began"] = self.virtual, self.began
        file["updates"], file["meetings"] = self.updates, np.array(self.meetings, np.int64)
        for rank, spans in enumerate(self.spans):
            file[f"spans/{rank}"] = spans


def load(folder: Path) -> Record:
    """Read the record of a run.

    Raises
    ------
    UserError
        If there is none, or it is damaged.
    """
    path = folder / "record.h5"
    if not path.exists():
        raise UserError(f"{folder}: no record.h5 in it; expected the folder of a finished run")
    with readable(f"{path}: not the record of a run, or damaged"), open_hdf5(path) as file:
        groups = [int(group) for group in file.attrs["groups"]]
        return Record(
            np.asarray(file.attrs["layers"]).astype(str).tolist(),
            groups,
            [file[f"spans/{rank}"][:] for rank in range(len(groups))],
            file["updates"][:],
            bool(file.attrs.get("virtual", False)),
            file["meetings"][:].tolist(),
            float(file.attrs["began"]),
        )


def collect(comm: MPI.Intracomm, own: np.ndarray) -> list[np.ndarray]:
    """Bring every rank's array to rank 0, one after the other; elsewhere the list is empty."""
    dtype = own.dtype
    lengths = np.empty(comm.size, np.int64)
    comm.Gather(np.array(len(own)), lengths, root=0)
    if comm.rank > 0:
        comm.Send(own.view(np.uint8), dest=0)
        return []
    arrays = [own]
    for rank in range(1, comm.size):
        array = np.empty(lengths[rank], dtype)
        comm.Recv(array.view(np.uint8), source=rank)
        arrays.append(array)
    return arrays


def gather(
    comm: MPI.Intracomm, layers: list[str], groups: Sequence[int], spans: np.ndarray,
    updates: np.ndarray,
) -> Record | None:  # fmt: skip
    """Bring the whole record to rank 0."""
    all_spans, all_updates = collect(comm, spans), collect(comm, updates)
    if comm.rank > 0:
        return None
    return Record(layers, list(groups), all_spans, np.concatenate(all_updates))
