"""The model of a run, and its network, as they were trained: options, measured values, width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

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
