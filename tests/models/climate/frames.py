"""Small files in the layout of the climate data: squares on noise. They are no weather."""

from pathlib import Path

import h5py
import numpy as np

from minidl_models.climate.channels import CHANNELS, CLASSES, MOST_BOXES, UNUSED

BRIGHT = 5.0  # standard deviations of the noise, that a square stands out by
SIDES = (12, 24)  # pixels
EACH = len(CHANNELS) // len(CLASSES)  # channels in which a class shows


def draw_frames(count, *, height=64, width=96, seed=0):
    """Images (T, 16, H, W) and boxes (T, 15, 5): one or two squares a frame, side by side."""
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((count, len(CHANNELS), height, width), np.float32)
    boxes = np.full((count, MOST_BOXES, 5), UNUSED, np.int32)
    for frame in range(count):
        for number in range(1 + frame % 2):
            high, wide = generator.integers(*SIDES, 2)
            top = generator.integers(height - high + 1)
            left = number * width // 2 + generator.integers(width // 2 - wide + 1)
            kind = (frame + number) % len(CLASSES)
            boxes[frame, number] = top, left, top + high, left + wide, kind
            shown = slice(EACH * kind, EACH * (kind + 1))
            images[frame, shown, top : top + high, left : left + wide] += BRIGHT
    return images, boxes


def write_frames(path: Path, count: int, *, height=64, width=96, seed=0, **replaced) -> Path:
    """Write what ``draw_frames`` draws.

    ``replaced`` arrays are written instead of those of the same name, or beside them; None leaves
    one out.
    """
    images, boxes = draw_frames(count, height=height, width=width, seed=seed)
    with h5py.File(path, "w") as file:
        for name, array in {"images": images, "boxes": boxes, **replaced}.items():
            if array is not None:
                file[name] = array
    return path
