"""The network of the paper's high-energy-physics problem (section II, table II).

Five 3x3 convolutions, four of them followed by max-pooling, then the mean over the image and one
linear layer. The global average keeps the model at 2.3 MiB and independent of the image's size: a
dense layer in its place would have 44 times as many parameters to communicate.
"""

from __future__ import annotations

import numpy as np

from minidl.errors import UserError
from minidl.layers import (
    Conv2d,
    GlobalAvgPool2d,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Sequential,
    Strips,
)


def network(
    shape: tuple[int, int, int],
    generator: np.random.Generator,
    *,
    width: int = 128,
    dtype: np.typing.DTypeLike = np.float32,
) -> Sequential:
    """Build the classifier: (N, H, W, C) -> logits (N, 2) for background and signal.

    Parameters
    ----------
    shape : (int, int, int)
        H, W, C of an image: (224, 224, 3) in the paper. At least 16 x 16.
    generator : np.random.Generator
        Draws the initial weights.
    width : int
        Filters of every convolution: 128 in the paper.
    """
    height, breadth, channels = shape
    if min(height, breadth) < 16:
        raise UserError(
            f"the HEP network halves its images four times and needs 16 x 16 pixels or more; "
            f"these are {height} x {breadth}"
        )

    def conv(inputs: int, first: bool = False) -> Layer:
        return Conv2d(
            inputs,
            width,
            3,
            padding=1,
            generator=generator,
            input_gradient=not first,
            dtype=dtype,
        )

    # ReLU and maximum commute: pooling first gives the same numbers with a quarter of the work.
    return Sequential(
        Strips(conv1=conv(channels, first=True), pool1=MaxPool2d(2), relu1=ReLU()),
        Strips(conv2=conv(width), pool2=MaxPool2d(2), relu2=ReLU()),
        Strips(conv3=conv(width), pool3=MaxPool2d(2), relu3=ReLU()),
        Strips(conv4=conv(width), pool4=MaxPool2d(2), relu4=ReLU()),
        Strips(conv5=conv(width), relu5=ReLU()),
        mean=GlobalAvgPool2d(),
        linear=Linear(width, 2, generator=generator, dtype=dtype),
    )
