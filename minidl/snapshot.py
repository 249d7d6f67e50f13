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
from .errors import UserError
from .layers import Layer
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


def restore(comm: MPI.Intracomm, strategy: Any, state: State) -> None:
    """Put a state's optimisers, versions and generators where this rank has them.

    Generators go on only if there are as many ranks as there were.

    Raises
    ------
    UserError
        If the optimiser was another.
    """
    own, served = optimizers(strategy), getattr(strategy, "served", {})
    for number, (layer, saved) in enumerate(
        zip(strategy.layers, state.layers.values(), strict=True)
    ):
        if number in own:
            if own[number].state.keys() != saved.optimizer.keys():
                there, needed = ", ".join(saved.optimizer), ", ".join(own[number].state)
                raise UserError(
                    f"the checkpoint is of another optimiser: it has {there} of every layer, "
                    f"expected {needed}; leave --optimizer"
                )
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
