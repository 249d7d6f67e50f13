"""``minidl evaluate``: a trained network's outputs for a data set, judged by its model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import checkpoint
from ..data import Batches, Dataset, prepared, read_ahead
from ..errors import UserError
from ..files import write_whole
from ..layers import Layer
from ..model import Model
from ..run import read_settings
from ..threads import use_threads
from .trained import model_of, network_of, state_of


def evaluate_run(
    folder: Path,
    data: Sequence[Path],
    chosen: dict[str, str],
    as_json: bool,
    console: Console,
) -> None:
    """Judge the network in a run's folder, print the figures, keep them in the folder.

    Parameters
    ----------
    folder, data
    chosen : dict
        Options of the model's own, in place of the run's.
    as_json
        Print the figures as JSON.

    Raises
    ------
    UserError
        If the run, its checkpoint or the data cannot be used.
    """
    use_threads(1)
    settings = read_settings(folder)
    judged = model_of(folder, settings, chosen)
    dataset = judged.open(data)
    network = network_of(judged, settings, judged.shape(dataset))
    state, path = state_of(folder)
    checkpoint.fill(network, state, path)
    means: dict[str, float] = {}
    batches = outputs(network, judged, dataset, settings.get("batch_size", 1), means)
    figures = judged.evaluate(batches, dataset, folder) if hasattr(judged, "evaluate") else {}
    for _ in batches:  # whatever has not been looked at
        pass
    figures = {"iteration": state.iterations[0], "samples": len(dataset), **means, **figures}
    text = json.dumps(figures, indent=2)
    try:
        write_whole(folder / "evaluation.json", f"{text}\n".encode())
    except OSError as error:
        raise UserError(f"{folder}/evaluation.json: cannot write: {error}") from None
    if as_json:
        print(text)
    elif hasattr(judged, "report"):
        for line in judged.report(figures):
            console.print(line, markup=False)
    else:
        for key, value in figures.items():
            console.print(f"{key}: {value}", markup=False)


def outputs(
    network: Layer, judged: Model, dataset: Dataset, batch_size: int, means: dict[str, float]
) -> Iterator[tuple[Any, Any]]:
    """Yield (output, target) of every batch, in order; each output is there until the next.

    ``means`` is completed as they go: loss, its terms and metrics, means over the data set.
    """
    batches = Batches(len(dataset), batch_size, 0, 1, seed=None)
    for x, target in read_ahead(prepared(dataset, batches, judged.prepare, 0, batches.per_epoch)):
        output = network.forward(x, training=False)
        for name, value in judged.figures(output, target).items():
            means[name] = means.get(name, 0.0) + value * len(x) / len(dataset)
        yield output, target
