"""What a run has trained: its model, with options and measured values, its network, its state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ..checkpoint import State, newest
from ..errors import UserError
from ..layers import Layer
from ..layers.layer import Shape
from ..model import Model, load


def model_of(
    folder: Path, settings: dict[str, Any], options: dict[str, Any] | None = None
) -> Model:
    """Load the model that a run's settings name.

    Parameters
    ----------
    folder : Path
    settings : dict
        As ``run.read_settings`` returns them.
    options : dict, optional
        Of the model's own, in place of the run's.

    Raises
    ------
    UserError
        If there is none.
    """
    name = settings.get("model")
    if not isinstance(name, str):
        raise UserError(f"{folder}/settings.json: names no model")
    model = Model(load(name), settings.get("options", {}) | (options or {}))
    model.measured = settings.get("measured", {})
    return model


def network_of(model: Model, settings: dict[str, Any], shape: Shape) -> Layer:
    """Build the network of a run for images of ``shape``, with other parameters than it has."""
    options = {"width": settings["width"]} if settings.get("width") else {}
    network: Layer = model.network(shape, np.random.default_rng(0), **options)
    return network


def state_of(folder: Path) -> tuple[State, Path]:
    """Read a run's newest whole checkpoint; warn on standard error of newer ones, and say why.

    Raises
    ------
    UserError
        If none is whole.
    """
    state, path, problems = newest(folder / "checkpoint.h5")
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for problem in problems:
        line = f"warning: {problem}; {path}, of iteration {state.iterations[0]}, is used instead"
        console.print(line, style="yellow", markup=False)
    return state, path
