"""A network as an ONNX graph, layer by layer, for any of the programs that run such graphs.

Whoever feeds it needs nothing of minidl's conventions but what ``prepare`` gives: images come in,
and maps go out, channels last. In between they lie as ONNX wants them, channels first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import helper

from .. import __version__
from ..layers import Layer
from ..layers.layer import Shape
from .graph import FIRST, Graph, Tensor
from .operators import said

# Of 2022: every operator that is used is in it, and programs of that age still read it.
OPSET, IR = 17, 8


def onnx_model(network: Layer, shape: Shape, metadata: dict[str, str]) -> onnx.ModelProto:
    """Say a network in ONNX, for batches of any size.

    Its input ``images`` is (N, H, W, C). The output is ``output``; of a network that ends in
    ``Branches``, it is one output a branch, called as the branch is.

    Parameters
    ----------
    shape : (int, int, int)
        H, W, C of an image.
    metadata : dict of str to str
        Kept with it.

    Raises
    ------
    UserError
        If there is a layer that is not known here.
    """
    graph = Graph()
    images = Tensor(graph.unused("images"), shape)
    entering = Tensor(graph.node("Transpose", "channels_first", images.name, perm=FIRST), shape)
    leaving = [
        Tensor(graph.channels_last(tensor, name or "output"), tensor.shape)
        for name, tensor in _flat(said(graph, network, entering))
    ]
    made = helper.make_graph(
        graph.nodes,
        "minidl",
        [_declared(images)],
        [_declared(tensor) for tensor in leaving],
        graph.constants,
    )
    model = helper.make_model(
        made,
        producer_name="minidl",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    helper.set_model_props(model, metadata)
    return model


def _flat(output: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the outputs with their names, those of branches inside branches as OUTER.INNER."""
    if isinstance(output, Tensor):
        yield name, output
        return
    for branch, part in output.items():
        yield from _flat(part, f"{name}.{branch}" if name else branch)


def _declared(tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        tensor.name, onnx.TensorProto.FLOAT, ("batch", *tensor.shape)
    )
