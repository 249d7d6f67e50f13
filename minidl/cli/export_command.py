"""``minidl export``: what a run has trained, in a file for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from .. import __version__, checkpoint
from ..checkpoint import State
from ..errors import UserError
from ..export import arrays
from ..files import write_whole
from ..layers import Layer
from ..layers.layer import Shape
from ..model import Model
from ..run import read_settings
from ..runs.trained import model_of, network_of, state_of

Format = Literal["npz", "safetensors", "onnx"]


def export_run(
    folder: Path, form: Format, out: Path | None, overwrite: bool, data: Sequence[Path]
) -> Path:
    """Write the network in a run's folder to a file, whole or not at all; return the file's path.

    Parameters
    ----------
    out : Path, optional
        ``network.FORMAT`` in the run's folder unless given.
    data
        Whose images' shape an ONNX network is for; the run's own unless given.

    Raises
    ------
    UserError
        If the run cannot be used, the file exists already or cannot be written, a package is
        missing, or the network cannot be said in that format.
    """
    settings = read_settings(folder)
    out = out or folder / f"network.{form}"
    check_place(out, overwrite)
    if form != "npz" and find_spec(form) is None:
        raise UserError(f"--to {form} needs the package {form}: pip install 'minidl[export]'")
    state, path = state_of(folder)
    chosen = model_of(folder, settings)
    metadata = describe(settings, chosen, state)
    if form == "onnx":
        shape = shape_of_images(chosen, settings, data)
        network = network_of(chosen, settings, shape)
        checkpoint.fill(network, state, path)
        contents = onnx_file(network, shape, metadata)
    else:
        metadata["layout"] = arrays.LAYOUT
        contents = getattr(arrays, form)(arrays.named_arrays(state), metadata)
    write(out, contents)
    return out


def describe(settings: dict[str, Any], chosen: Model, state: State) -> dict[str, str]:
    """What has to be known to use the network: texts, of JSON where they are no words."""
    return {
        "model": settings["model"],
        "options": json.dumps(chosen.options),
        "measured": json.dumps(chosen.measured),
        "width": json.dumps(settings.get("width")),
        "iterations": json.dumps(state.iterations),
        "minidl": __version__,
    }


def shape_of_images(chosen: Model, settings: dict[str, Any], data: Sequence[Path]) -> Shape:
    """(H, W, C) of the images in these files, or else in the run's.

    Raises
    ------
    UserError
        If they cannot be read.
    """
    try:
        return chosen.shape(chosen.open(data or [Path(path) for path in settings["data"]]))
    except (UserError, KeyError) as error:
        raise UserError(
            f"the shape of the network's images is that of the data, but {error}; "
            "name files of such images with --data"
        ) from None


def onnx_file(network: Layer, shape: Shape, metadata: dict[str, str]) -> bytes:
    """The bytes of an ONNX file, which has been checked."""
    from onnx.checker import check_model

    from ..export.onnx_model import onnx_model

    made = onnx_model(network, shape, metadata)
    check_model(made, full_check=True)
    return made.SerializeToString()


def check_place(path: Path, overwrite: bool) -> None:
    """Raise ``UserError`` if a file of this name may not be written."""
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error}") from None
    if is_folder:
        raise UserError(f"{path}: is a folder; name a file with --out")
    if exists and not overwrite:
        raise UserError(
            f"{path}: exists already; name another file with --out, or replace it with --overwrite"
        )


def write(path: Path, contents: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        write_whole(path, contents)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error}") from None
