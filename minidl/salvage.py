"""The state of a run, brought together after ranks have died, wherever the others were interrupted.

Of each layer the copy counts that has had most updates. What its optimiser remembers and a list of
its updates are lost where its server is.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mpi4py import MPI

from .checkpoint import LayerState, State, numbered
from .errors import AgreedError
from .layers import Layer
from .parallel.agreement import everyones
from .parallel.served import UPDATE
from .snapshot import generators, optimizers


def salvage(
    comm: MPI.Intracomm, strategy: Any, make_optimizer: Any, made: tuple[int, int], per_epoch: int
) -> State:
    """Bring together what is left on the ranks of ``comm``; all call.

    Parameters
    ----------
    comm : MPI.Intracomm
        Of those who are left.
    strategy, make_optimizer, per_epoch
        As for ``snapshot.gather``; the strategy may have been interrupted anywhere.
    made : (int, int)
        This rank's group, -1 for a server, and how many iterations it has made.

    Returns
    -------
    State
        The same on every rank. Its ``iterations`` are of the groups of which anybody is left.

    Raises
    ------
    AgreedError
        If a layer's server has died together with the roots of all groups.
    """
    network = strategy.objective.network
    layers = freshest_layers(comm, strategy, make_optimizer)
    progress = np.empty((comm.size, 2), np.int64)
    comm.Allgather(np.array(made), progress)
    is_worker = progress[:, 0] >= 0
    statistics = mean_statistics(comm, network, is_worker)
    rows = [row for served in getattr(strategy, "served", {}).values() for row in served.updates]
    updates = [tuple(row) for part in everyones(comm, rows) for row in part]
    states = [generator.bit_generator.state for generator in generators(network)]
    groups = np.unique(progress[is_worker, 0])
    return State(
        iterations=[int(progress[progress[:, 0] == group, 1].max()) for group in groups],
        per_epoch=per_epoch,
        layers=layers,
        statistics={name: values for name, values in statistics.items() if values.size},
        updates=np.array(updates, UPDATE),
        generators=[json.dumps(state) for state in everyones(comm, states)],
    )


def freshest_layers(
    comm: MPI.Intracomm, strategy: Any, make_optimizer: Any
) -> dict[str, LayerState]:
    """Give every rank the freshest copy of every layer, with what its optimiser remembers."""
    own = optimizers(strategy)
    versions = np.empty((comm.size, len(strategy.layers)), np.int64)
    comm.Allgather(np.array(own_versions(strategy)), versions)
    remembering = np.empty(versions.shape, np.int64)
    comm.Allgather(
        np.array([number in own for number in range(len(strategy.layers))], np.int64), remembering
    )
    lost = [
        layer.name
        for layer, known in zip(strategy.layers, versions.T, strict=True)
        if known.max() < 0
    ]
    if lost:
        raise AgreedError(
            f"nobody is left who has a whole copy of {', '.join(lost)}; minidl train --resume goes "
            "on from the last checkpoint"
            if comm.rank == 0
            else ""
        )
    layers: dict[str, LayerState] = {}
    for number, (name, layer) in enumerate(numbered(strategy.layers)):
        # Of those with the newest version, whoever has made it: it remembers more.
        freshest = int((2 * versions + remembering)[:, number].argmax())
        version = int(versions[freshest, number])
        # Copies: what one has is still needed, should another rank die meanwhile.
        parameters = layer.parameters.copy()
        comm.Bcast(parameters, freshest)
        optimizer = own.get(number) or make_optimizer(np.empty_like(parameters))
        forgotten = np.array(optimizer.forgotten if remembering[freshest, number] else version)
        comm.Bcast(forgotten, freshest)
        remembered = {part: values.copy() for part, values in optimizer.state.items()}
        for values in remembered.values():
            if not remembering[freshest, number]:
                values[...] = 0
            comm.Bcast(values, freshest)
        layers[name] = LayerState(parameters, layer.shapes, remembered, version, int(forgotten))
    return layers


def mean_statistics(
    comm: MPI.Intracomm, network: Layer, is_worker: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every leaf's statistics: the mean over the ranks that are workers."""
    statistics = {name: leaf.statistics.copy() for name, leaf in numbered(network.leaves())}
    for values in statistics.values():
        values *= is_worker[comm.rank]  # a server has seen no data
        comm.Allreduce(MPI.IN_PLACE, values)
        values /= max(is_worker.sum(), 1)
    return statistics


def own_versions(strategy: Any) -> list[int]:
    """How many updates every layer has had on this rank; -1 where that is not known."""
    own, answers = optimizers(strategy), getattr(strategy, "answers", {})
    versions = []
    for number, layer in enumerate(strategy.layers):
        if number in own:
            versions.append(own[number].updates)
        elif layer in answers:
            # An answer under way may have arrived in part: the gradient knows the version.
            parcels = strategy.gradients if strategy.requests.get(layer) else answers
            versions.append(parcels[layer].version)
        else:
            versions.append(-1)
    return versions
