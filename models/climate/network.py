"""The network of the paper's climate problem (section II, table II): storms, and the fields again.

Five convolutions code a frame into a map of cells, 32 x 32 pixels each. From the code four small
convolutions say of every cell whether the centre of a storm is in it, of which class, where in the
cell and how large; and five transposed convolutions draw the frame again, for which nobody has to
have labelled it.

The paper tells the kinds of layers, their number and 302.1 MiB of parameters, but not the filters:
see ``PRESETS``.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minidl.errors import UserError
from minidl.layers import Branches, Conv2d, ConvTranspose2d, ReLU, Sequential, Strips

from .channels import CLASSES

CELL = 32  # pixels: five halvings

PRESETS = {
    # Keras version by E. Racah, co-author, of the months in which the paper was made: 257.0 MiB.
    "public": (128, 256, 512, 768, 1024),
    # A reconstruction of what the paper does not state: its 302.1 MiB, and about the arithmetic
    # that follows from its run times. The paper's own filters may be others.
    "paper": (256, 384, 448, 704, 1408),
}

# The linear layers' initial weights, of those that He et al. have for a ReLU: near zero, every loss
# starts about where knowing nothing would put it, and nothing has to be unlearnt first. Source of
# the idea: T.-Y. Lin et al., Focal Loss for Dense Object Detection (ICCV 2017), section 4.1.
OUTPUTS = ("confidence", "classes", "position", "size", "deconv5")
SMALL = 0.1


def network(
    shape: tuple[int, int, int],
    generator: np.random.Generator,
    *,
    width: int | None = None,
    preset: str = "public",
    dtype: np.typing.DTypeLike = np.float32,
) -> Sequential:
    """Build the detector: frames (N, H, W, C) -> what it says of G x G' cells, and the frames.

    The output is a tuple: confidence (N, G, G', 2), logits of no storm and a storm; classes
    (N, G, G', 4), logits; position (N, G, G', 2), of the centre in its cell, and size
    (N, G, G', 2), as ``boxes.Grid`` has them; reconstruction (N, H, W, C).

    Parameters
    ----------
    shape : (int, int, int)
        H, W, C of a frame: (768, 768, 16) in the paper. H and W are multiples of 32.
    generator : np.random.Generator
        Draws the initial weights.
    width : int, optional
        Filters of the first convolution; the others' follow in proportion, the preset's if left
        out.
    preset : str
        Whose filters: one of ``PRESETS``.

    Raises
    ------
    UserError
        If there is no such preset, or the frames are not made of whole cells.
    """
    height, breadth, channels = shape
    if min(height, breadth) < CELL or height % CELL or breadth % CELL:
        raise UserError(
            f"the climate network divides frames into cells of {CELL} x {CELL} pixels; these are "
            f"{height} x {breadth}: crop them to multiples of {CELL}"
        )
    f1, f2, f3, f4, f5 = filters(preset, width)
    conv = partial(Conv2d, kernel=5, stride=2, padding=2, generator=generator, dtype=dtype)
    head = partial(Conv2d, f5, kernel=3, padding=1, generator=generator, dtype=dtype)
    deconv = partial(
        ConvTranspose2d,
        kernel=5,
        stride=2,
        padding=2,
        output_padding=1,
        generator=generator,
        dtype=dtype,
    )
    layers = Sequential(
        Strips(conv1=conv(channels, f1, input_gradient=False), relu1=ReLU()),
        Strips(conv2=conv(f1, f2), relu2=ReLU()),
        Strips(conv3=conv(f2, f3), relu3=ReLU()),
        Strips(conv4=conv(f3, f4), relu4=ReLU()),
        Strips(conv5=conv(f4, f5), relu5=ReLU()),
        Branches(
            confidence=head(2),
            classes=head(len(CLASSES)),
            position=head(2),
            size=head(2),
            # In place: the decoder's maps are the largest there are, and nobody else reads them.
            decoder=Sequential(
                deconv1=deconv(f5, f4),
                relu6=ReLU(inplace=True),
                deconv2=deconv(f4, f3),
                relu7=ReLU(inplace=True),
                deconv3=deconv(f3, f2),
                relu8=ReLU(inplace=True),
                deconv4=deconv(f2, f1),
                relu9=ReLU(inplace=True),
                deconv5=deconv(f1, channels),
            ),
        ),
    )
    for layer in layers.layers():
        if layer.name in OUTPUTS:
            layer.parameters *= SMALL
    return layers


def filters(preset: str, width: int | None) -> list[int]:
    """Filters of the five convolutions, the first's being ``width``; the decoder mirrors them."""
    if preset not in PRESETS:
        raise UserError(
            f"no preset {preset!r} of the climate network; expected one of {', '.join(PRESETS)}"
        )
    first = PRESETS[preset][0]
    width = first if width is None else width
    return [max(1, round(number * width / first)) for number in PRESETS[preset]]
