"""``minidl evaluate``: a trained network's outputs for a data set, judged by its model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console

from .. import checkpoint, model
from ..data import Batches, Dataset, prepared, read_ahead
from ..errors import UserError
from ..layers import Layer
from ..run import read_settings
from ..threads import use_threads

BATCH = 64  # samples at a time; any number gives the same outputs


def evaluate_run(folder: Path, data: Sequence[Path], as_json: bool, console: Console) -> None:
    """Judge the network in a run's folder, print the figures, keep them in the folder.

    Raises
    ------
    UserError
        If the run, its checkpoint or the data cannot be used.
    """
    use_threads(1)
    settings = read_settings(folder)
    name = settings.get("model")
    if not isinstance(name, str):
        raise UserError(f"{folder}/settings.json: names no model")
    module = model.load(name)
    dataset = Dataset(data, module.FIELDS)
    options = {"width": settings["width"]} if settings.get("width") else {}
    network = module.network(module.shape(dataset), np.random.default_rng(0), **options)
    iteration = checkpoint.load(folder / "checkpoint.h5", network)
    outputs, figures = run_network(network, module, dataset)
    if hasattr(module, "evaluate"):
        figures |= module.evaluate(outputs, dataset, folder)
    figures = {"iteration": iteration, "samples": len(dataset), **figures}
    text = json.dumps(figures, indent=2)
    try:
        (folder / "evaluation.json").write_text(text + "\n")
    except OSError as error:
        raise UserError(f"{folder}/evaluation.json: cannot write: {error}") from None
    if as_json:
        print(text)
    elif hasattr(module, "report"):
        for line in module.report(figures):
            console.print(line)
    else:
        for key, value in figures.items():
            console.print(f"{key}: {value}")


def run_network(
    network: Layer, module: ModuleType, dataset: Dataset
) -> tuple[np.ndarray, dict[str, Any]]:
    """Compute the outputs for every sample, in order, and the mean loss and metrics."""
    batches = Batches(len(dataset), BATCH, 0, 1, seed=None)
    outputs, totals = [], dict[str, float]()
    for x, target in read_ahead(prepared(dataset, batches, module.prepare, 0, batches.per_epoch)):
        output = network.forward(x, training=False)
        figures = {"loss": module.loss(output, target)[0]}
        if hasattr(module, "metrics"):
            figures |= module.metrics(output, target)
        for key, value in figures.items():
            totals[key] = totals.get(key, 0.0) + value * len(x) / len(dataset)
        outputs.append(np.array(output))
    return np.concatenate(outputs), totals
