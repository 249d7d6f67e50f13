"""Run ``programs/steps.py`` and read what it saved."""

import json
from dataclasses import dataclass

import numpy as np
from launch import python

DEFAULTS = {
    "strategy": "sync",
    "groups": 1,
    "servers": 0,
    "optimizer": "sgd",
    "normalise": False,
    "dtype": "float64",
    "clip": None,
    "parts": 1,
    "turns": False,
}


@dataclass
class Outcome:
    """Shapes: parameters (ranks, size), losses (ranks, batches)."""

    parameters: np.ndarray
    losses: np.ndarray
    updates: np.ndarray

    def staleness(self, layer):
        updates = self.updates[self.updates["layer"] == layer]
        return (updates["made"] - 1 - updates["read"]).tolist()


def steps(folder, ranks, shares, **what):
    """``shares``: for each batch a list with the number of samples of each worker."""
    path = folder / f"{ranks}-{'-'.join(map(str, what.values()))}.npz"
    python(
        ranks,
        "steps.py",
        json.dumps({**DEFAULTS, **what, "shares": shares, "path": str(path)}),
    )
    with np.load(path) as file:
        return Outcome(file["parameters"], file["losses"], file["updates"])
