"""An ONNX graph while it is built: nodes and constants, each under a name of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..layers import Layer
from ..layers.layer import Shape

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)  # where channels are moved to


class Tensor(NamedTuple):
    """A value in the graph, and one sample's shape as minidl has it: (H, W, C) or (C,)."""

    name: str
    shape: Shape


class Graph:
    """Nodes and constants, with names that are all different."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._taken: set[str] = set()

    def unused(self, name: str) -> str:
        """Return this name, or with a number if it is taken; it is taken from now on."""
        number, free = 1, name
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add an array."""
        name = self.unused(name)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, which is called like its only output."""
        name = self.unused(name)
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def layer(
        self, operator: str, layer: Layer, x: Tensor, *constants: str, **attributes: Any
    ) -> Tensor:
        """Add a layer that is a single node."""
        name = self.node(operator, f"{layer.name}.{operator}", x.name, *constants, **attributes)
        return Tensor(name, layer.output_shape(x.shape))

    def channels_last(self, x: Tensor, name: str) -> str:
        """Add what gives this name to a tensor as minidl has it: images with channels last."""
        if len(x.shape) == 3:
            return self.node("Transpose", name, x.name, perm=LAST)
        return self.node("Identity", name, x.name)
