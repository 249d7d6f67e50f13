"""Every kind of layer as ONNX operators.

Source: the operators' schemas, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UserError
from ..layers import (
    AvgPool2d,
    BatchNorm2d,
    Branches,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Strips,
    Tanh,
)
from ..layers.windows import Windows
from .graph import Graph, Tensor


def said(graph: Graph, layer: Layer, x: Tensor) -> Any:
    """Add a layer; return its output, or of ``Branches`` a dictionary of their outputs."""
    # Not any base class would do: a layer that has another forward computes something else.
    kind = next(kind for kind in type(layer).__mro__ if "forward" in vars(kind))
    if kind not in OPERATORS:
        known = ", ".join(kind.__name__ for kind in OPERATORS)
        raise UserError(
            f"{layer.name}: no ONNX is known for a layer of the kind {type(layer).__name__}, only "
            f"for {known}; --to npz and --to safetensors take any layer"
        )
    return OPERATORS[kind](graph, layer, x)


def _geometry(windows: Windows) -> dict[str, Any]:
    return {
        "kernel_shape": windows.kernel,
        "strides": windows.stride,
        "pads": (*windows.padding, *windows.padding),
    }


def _weights(graph: Graph, layer: Conv2d | ConvTranspose2d) -> tuple[str, str]:
    weight = layer.weight.transpose(3, 2, 0, 1)
    return _constants(graph, layer, weight=weight, bias=layer.bias)


def _constants(graph: Graph, layer: Layer, **arrays: np.ndarray) -> Any:
    return tuple(graph.constant(f"{layer.name}.{name}", arrays[name]) for name in arrays)


def _conv(graph: Graph, layer: Conv2d, x: Tensor) -> Tensor:
    return graph.layer("Conv", layer, x, *_weights(graph, layer), **_geometry(layer.windows))


def _deconv(graph: Graph, layer: ConvTranspose2d, x: Tensor) -> Tensor:
    geometry = _geometry(layer.windows) | {"output_padding": layer.more}
    return graph.layer("ConvTranspose", layer, x, *_weights(graph, layer), **geometry)


def _max_pool(graph: Graph, layer: MaxPool2d, x: Tensor) -> Tensor:
    return graph.layer("MaxPool", layer, x, **_geometry(layer.windows))


def _avg_pool(graph: Graph, layer: AvgPool2d, x: Tensor) -> Tensor:
    return graph.layer("AveragePool", layer, x, count_include_pad=1, **_geometry(layer.windows))


def _global_avg_pool(graph: Graph, layer: GlobalAvgPool2d, x: Tensor) -> Tensor:
    mean = graph.node("GlobalAveragePool", f"{layer.name}.GlobalAveragePool", x.name)
    return graph.layer("Flatten", layer, Tensor(mean, x.shape))


def _flatten(graph: Graph, layer: Flatten, x: Tensor) -> Tensor:
    name = graph.channels_last(x, f"{layer.name}.channels_last")
    return graph.layer("Flatten", layer, Tensor(name, x.shape))


def _linear(graph: Graph, layer: Linear, x: Tensor) -> Tensor:
    constants = _constants(graph, layer, weight=layer.weight, bias=layer.bias)
    return graph.layer("Gemm", layer, x, *constants)


def _norm(graph: Graph, layer: BatchNorm2d, x: Tensor) -> Tensor:
    constants = _constants(
        graph,
        layer,
        scale=layer.scale,
        shift=layer.shift,
        mean=layer.running_mean,
        variance=layer.running_variance,
    )
    return graph.layer("BatchNormalization", layer, x, *constants, epsilon=layer.epsilon)


def _sequential(graph: Graph, layer: Sequential, x: Tensor) -> Any:
    for child in layer.children:
        x = said(graph, child, x)
    return x


def _branches(graph: Graph, layer: Branches, x: Tensor) -> dict[str, Any]:
    return {child.name: said(graph, child, x) for child in layer.children}


def _residual(graph: Graph, layer: Residual, x: Tensor) -> Tensor:
    return graph.layer("Add", layer, x, said(graph, layer.children[0], x).name)


OPERATORS: dict[type[Layer], Callable[[Graph, Any, Tensor], Any]] = {
    Conv2d: _conv,
    ConvTranspose2d: _deconv,
    Linear: _linear,
    BatchNorm2d: _norm,
    ReLU: lambda graph, layer, x: graph.layer("Relu", layer, x),
    LeakyReLU: lambda graph, layer, x: graph.layer("LeakyRelu", layer, x, alpha=layer.slope),
    Sigmoid: lambda graph, layer, x: graph.layer("Sigmoid", layer, x),
    Tanh: lambda graph, layer, x: graph.layer("Tanh", layer, x),
    MaxPool2d: _max_pool,
    AvgPool2d: _avg_pool,
    GlobalAvgPool2d: _global_avg_pool,
    Flatten: _flatten,
    Dropout: lambda graph, layer, x: x,  # which drops nothing but in training
    Sequential: _sequential,
    Strips: _sequential,
    Branches: _branches,
    Residual: _residual,
}
