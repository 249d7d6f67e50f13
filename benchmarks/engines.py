"""A single layer's forward and backward, as an engine for ``minidl.bench.turns``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.bench.turns import Answer, Turn
from minidl.layers import Conv2d, ConvTranspose2d
from minidl.layers.algorithms import AlgorithmName
from minidl.threads import use_threads


@dataclass(frozen=True)
class Case:
    """A 5x5 convolution of stride 2, or a transposed one, on one square image of this size."""

    channels: int
    filters: int
    size: int
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the image."""
        return self.size, self.size, self.channels

    def layer(self, algorithm: AlgorithmName = "auto") -> Conv2d | ConvTranspose2d:
        """Make the layer."""
        kind, more = (ConvTranspose2d, {"output_padding": 1}) if self.transposed else (Conv2d, {})
        generator = np.random.default_rng(1)
        return kind(
            self.channels, self.filters, 5,
            stride=2, padding=2, generator=generator, algorithm=algorithm, **more,
        )  # fmt: skip

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw x and dy."""
        generator = np.random.default_rng(2)
        dy_shape = self.layer().output_shape(self.shape)
        return tuple(
            generator.standard_normal((1, *shape), np.float32) for shape in (self.shape, dy_shape)
        )

    def __str__(self) -> str:
        kind = "transposed" if self.transposed else "strided"
        return f"{kind}, {self.channels} to {self.filters}, {self.size}^2"


def minidl_layer(case: Case, algorithm: AlgorithmName) -> Turn:
    """Compute a layer by this algorithm, on one thread."""
    use_threads(1)
    layer, (x, dy) = case.layer(algorithm), case.arrays()

    def turn() -> Answer:
        layer.forward(x)
        layer.backward(dy)
        return {}

    return turn


def torch_layer(case: Case, channels_last: bool) -> Turn:
    """Compute the same in PyTorch, on one thread."""
    import torch

    from minidl.bench.torch_twin import twin

    torch.set_num_threads(1)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    layer = twin(case.layer()).to(memory_format=layout)
    x, dy = (
        torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for array in case.arrays()
    )
    x.requires_grad_()

    def turn() -> Answer:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x).backward(dy)
        return {}

    return turn
