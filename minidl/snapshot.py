"""The state of a run, brought together from its ranks where nothing is under way, and put back.

Every rank has the network then. What a layer's optimiser remembers is with whoever makes its
updates: every rank of a synchronous run, or the layer's server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from .checkpoint import LayerState, State, numbered
from .errors import AgreedError
from .layers import Layer
from .parallel.agreement import everyones
from .parallel.served import UPDATE
from .record import collect

EVERYWHERE = 0  # of a layer whose updates all ranks make, the state is the first's


def gather(
    comm: MPI.Intracomm,
    strategy: Any,
    make_optimizer: Any,
    iterations: Sequence[int],
    per_epoch: int,
) -> State | None:
    """Bring the state to rank 0; all ranks call.

    Parameters
    ----------
    comm : MPI.Intracomm
    strategy : Strategy
        That has stopped.
    make_optimizer : function (parameters) -> Optimizer
        Tells what an optimiser remembers.
    iterations : sequence of int
        How many every group has made.
    per_epoch : int
        How many are an epoch.
    """
    network, own = strategy.objective.network, optimizers(strategy)
    layers: dict[str, LayerState] = {}
    for number, (name, layer) in enumerate(numbered(strategy.layers)):
        holder = getattr(strategy, "holder", {}).get(layer, EVERYWHERE)
        if comm.rank not in (0, holder):
            continue
        optimizer = own.get(number) or make_optimizer(np.empty_like(layer.parameters))
        remembered = {part: values.copy() for part, values in optimizer.state.items()}
        updates = np.array([optimizer.updates, optimizer.forgotten])
        if holder > 0:
            for array in (updates, *remembered.values()):
                if comm.rank == 0:
                    comm.Recv(array, holder, number)
                else:
                    comm.Send(array, 0, number)
        if comm.rank == 0:
            layers[name] = LayerState(
                layer.parameters.copy(), layer.shapes, remembered, *updates.tolist()
            )
    rows = [row for served in getattr(strategy, "served", {}).values() for row in served.updates]
    states = json.dumps([generator.bit_generator.state for generator in generators(network)])
    generators_states = collect(comm, np.frombuffer(states.encode(), np.uint8))
    updates_made = collect(comm, np.array(rows, UPDATE))
    if comm.rank > 0:
        return None
    statistics = {name: leaf.statistics.copy() for name, leaf in numbered(network.leaves())}
    return State(
        iterations=list(iterations),
        per_epoch=per_epoch,
        layers=layers,
        statistics={name: values for name, values in statistics.items() if values.size},
        updates=np.concatenate(updates_made),
        generators=[array.tobytes().decode() for array in generators_states],
    )


def salvage(
    comm: MPI.Intracomm, strategy: Any, make_optimizer: Any, made: tuple[int, int], per_epoch: int
) -> State:
    """Bring together what is left on the ranks of ``comm`` after others have died; all call.

    Of each layer the copy counts that has had most updates. What its optimiser remembers and a list
    of its updates are lost where its server is.

    Parameters
    ----------
    comm : MPI.Intracomm
        Of those who are left.
    strategy, make_optimizer, per_epoch
        As for ``gather``; the strategy may have been interrupted anywhere.
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
    network, own = strategy.objective.network, optimizers(strategy)
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
    progress = np.empty((comm.size, 2), np.int64)
    comm.Allgather(np.array(made), progress)
    is_worker = progress[:, 0] >= 0
    statistics = {name: leaf.statistics.copy() for name, leaf in numbered(network.leaves())}
    for values in statistics.values():
        values *= is_worker[comm.rank]  # a server has seen no data
        comm.Allreduce(MPI.IN_PLACE, values)
        values /= max(is_worker.sum(), 1)
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


def restore(comm: MPI.Intracomm, strategy: Any, state: State) -> None:
    """Put a state's optimisers, versions and generators where this rank has them.

    Generators go on only if there are as many ranks as there were.
    """
    own, served = optimizers(strategy), getattr(strategy, "served", {})
    for number, (layer, saved) in enumerate(
        zip(strategy.layers, state.layers.values(), strict=True)
    ):
        if number in own:
            own[number].updates, own[number].forgotten = saved.updates, saved.forgotten
            for part, values in own[number].state.items():
                np.copyto(values, saved.optimizer[part])
        if number in served:
            served[number].version = saved.updates
            served[number].updates.replace(state.updates[state.updates["layer"] == number])
            served[number].meet()
        if layer in getattr(strategy, "answers", {}):
            strategy.answers[layer].version = saved.updates
    if len(state.generators) == comm.size:
        saved_states = json.loads(state.generators[comm.rank])
        for generator, values in zip(
            generators(strategy.objective.network), saved_states, strict=True
        ):
            generator.bit_generator.state = values


def places(state: State, groups: int, per_epoch: int) -> list[int]:
    """How many iterations every group has behind it, as groups and batches are now.

    Where these are others, all start where the last of the earlier groups was in the data.

    Parameters
    ----------
    state : State
    groups, per_epoch : int
        Groups, and iterations of an epoch, now.
    """
    if len(state.iterations) == groups and state.per_epoch == per_epoch:
        return list(state.iterations)
    return [min(state.iterations) * per_epoch // state.per_epoch] * groups


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


def optimizers(strategy: Any) -> dict[int, Any]:
    """Those that this rank has, by number of their layer."""
    if hasattr(strategy, "served"):
        return {number: served.optimizer for number, served in strategy.served.items()}
    return dict(enumerate(strategy.optimizers.values()))


def generators(network: Layer) -> Iterator[np.random.Generator]:
    """The random-number generators of a network's leaves."""
    for leaf in network.leaves():
        if hasattr(leaf, "generator"):
            yield leaf.generator
