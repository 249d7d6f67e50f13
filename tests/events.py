"""Small synthetic data sets in the layout of the event files. They are no simulated events."""

from pathlib import Path

import h5py
import numpy as np


def write_events(path: Path, count: int, *, size: int = 16, seed: int = 0, **replaced) -> Path:
    """Write sparse random images whose class shows in the number of hits.

    ``replaced`` arrays are written instead of those of the same name; None leaves one out.
    """
    generator = np.random.default_rng(seed)
    label = generator.permutation(np.arange(count) % 2)
    hits = generator.random((count, 3, size, size)) < 0.05 * (1 + 2 * label[:, None, None, None])
    arrays = {
        "data": (hits * generator.exponential(20, hits.shape)).astype(np.float32),
        "label": label,
        "weight": np.ones(count, np.float32),
        **replaced,
    }
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
    return path
