"""A trained network in one HDF5 file, written whole or not at all.

Layout: attribute ``iteration``; a group ``layers`` with one group a layer, ``00.conv1`` and so
on in forward order, holding ``parameters`` (flat) and, as ``views``, the names and shapes of the
tensors in it; ``statistics`` with one array for each leaf that gathers any.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py

from . import __version__
from .data import open_hdf5
from .errors import UserError
from .layers import Layer


def save(path: Path, network: Layer, iteration: int) -> None:
    """Write the network's parameters and statistics to ``path``, replacing it at once.

    Raises
    ------
    UserError
        If it cannot be written. What was there before is still there then.
    """
    temporary = path.with_suffix(".part")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs["minidl"] = __version__
            file.attrs["iteration"] = iteration
            for name, layer in _numbered(network.layers()):
                group = file.create_group(f"layers/{name}")
                group["parameters"] = layer.parameters
                group.attrs["views"] = json.dumps(layer.shapes)
            for name, leaf in _numbered(network.leaves()):
                if leaf.statistics.size:
                    file[f"statistics/{name}"] = leaf.statistics
            file.flush()
        descriptor = os.open(temporary, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{path}: cannot write the checkpoint: {error}") from None
        raise


def load(path: Path, network: Layer) -> int:
    """Read parameters and statistics into ``network``; return the iteration they are from.

    Raises
    ------
    UserError
        If the file is missing, damaged, or of another network.
    """
    with open_hdf5(path) as file:
        if "layers" not in file or "iteration" not in file.attrs:
            raise UserError(f"{path}: not a checkpoint of minidl")
        expected = {name: layer.parameters for name, layer in _numbered(network.layers())}
        found = {name: group["parameters"] for name, group in file["layers"].items()}
        if {name: array.shape for name, array in expected.items()} != {
            name: array.shape for name, array in found.items()
        }:
            raise UserError(
                f"{path}: of another network: its layers are "
                f"{ {name: array.size for name, array in found.items()} }, expected "
                f"{ {name: array.size for name, array in expected.items()} }"
            )
        try:
            for name, parameters in expected.items():
                found[name].read_direct(parameters)
            for name, leaf in _numbered(network.leaves()):
                if leaf.statistics.size:
                    file[f"statistics/{name}"].read_direct(leaf.statistics)
        except (OSError, KeyError) as error:
            raise UserError(f"{path}: the checkpoint is damaged: {error}") from None
        return int(file.attrs["iteration"])


def _numbered(layers: list[Layer]) -> list[tuple[str, Layer]]:
    return [(f"{number:02d}.{layer.name}", layer) for number, layer in enumerate(layers)]
