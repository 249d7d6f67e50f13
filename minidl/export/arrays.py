"""A trained network's numbers by name, as npz and as safetensors: formats that run no code.

``conv1.weight`` has the shape that the layer has, see ``LAYOUT``. All else that is known about the
network goes with them as text.
"""

from __future__ import annotations

import io
import json

import numpy as np

from ..checkpoint import State
from ..layers import Layer

Arrays = dict[str, np.ndarray]
Metadata = dict[str, str]

LAYOUT = (
    "Conv2d weight (KH, KW, C, K), ConvTranspose2d weight (KH, KW, K, C), Linear weight (C, K), "
    "with C channels in and K out; BatchNorm2d statistics (2 C): running means, then variances; "
    "images (N, H, W, C)"
)


def named_arrays(state: State) -> Arrays:
    """The tensors of all layers, as ``LAYER.TENSOR``, and ``LAYER.statistics``.

    Layers keep their numbers in the checkpoint, ``03.conv1``, where names alone are not enough.
    """
    several = [
        [name.split(".", 1)[1] for name in part] for part in (state.layers, state.statistics)
    ]
    alone = all(len(set(names)) == len(names) for names in several)
    arrays = {}
    for name, layer in state.layers.items():
        shell = Layer()
        shell.shapes = layer.views
        for tensor, values in shell.views(layer.parameters).items():
            arrays[f"{name.split('.', 1)[1] if alone else name}.{tensor}"] = values
    for name, values in state.statistics.items():
        arrays[f"{name.split('.', 1)[1] if alone else name}.statistics"] = values
    return arrays


def npz(arrays: Arrays, metadata: Metadata) -> bytes:
    """For ``np.load``, which need not unpickle; ``metadata`` is one text more, of JSON."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, metadata=np.array(json.dumps(metadata)), **arrays)
    return file.getvalue()


def safetensors(arrays: Arrays, metadata: Metadata) -> bytes:
    """For ``safetensors.safe_open``, of Hugging Face's format; needs the package of that name."""
    from safetensors.numpy import save

    return save(arrays, metadata)
