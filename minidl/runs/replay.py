"""Is a run's network what its record says it is? All its updates are made again, and compared.

An asynchronous run does not repeat itself: another time, gradients arrive in another order. But its
record tells the order in which they were applied to each layer, and so on which version of each
layer every gradient was computed. With the samples, which follow from the seed, that is all there
is to know: the gradients can be computed again, one after the other, and applied in that order. If
what comes out is the run's last checkpoint to the bit, the run did what its record says, and its
strategy what it promises: no gradient was lost, applied twice, torn, or computed on parameters of
which half belonged to another version.

Sums over two ranks are the same in either order, and virtual ranks add in the order of ranks, as a
replay does. In groups of three real ranks and more, MPI may have added the gradients in another
one, as most algorithms of ``--all-reduce`` do: then the networks are compared as ``diff.py``
compares two runs. Bits also depend on the processor and on NumPy's BLAS.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..layers import Dropout
from ..record import Record
from ..settings import Settings
from .diff import LayerDifference, compare_arrays, compare_losses
from .order import ContradictionError, recorded_order
from .past import PastRun
from .rerun import Losses, Rerun
from .trained import model_of


class LossDifference(NamedTuple):
    """A loss that is not the same, and of which gradient."""

    group: int
    iteration: int
    logged: float
    replayed: float


class ReplayedLayer(NamedTuple):
    """One layer's updates, and how far they lead from the checkpoint."""

    updates: int
    stalest: int
    difference: LayerDifference


@dataclass
class Replay:
    """What came out of a replay; ``minidl replay --json`` prints it.

    Attributes
    ----------
    verdict : str
        "bits", "rounding", "different" or, if there cannot have been such a run, "contradictory".
    groups, group_size : int
    contradiction : str or None
        Where the record contradicts itself; nothing was compared then.
    first : LossDifference or None
        The first one, none that led to it being different.
    bound : float
        What rounding explains, where the order of sums is not known.
    layers : dict of str to ReplayedLayer
    """

    verdict: str
    groups: int
    group_size: int
    contradiction: str | None = None
    first: LossDifference | None = None
    bound: float = 0.0
    layers: dict[str, ReplayedLayer] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether the run is what its record says."""
        return self.verdict in ("bits", "rounding")

    @property
    def largest(self) -> float:
        """Largest relative difference of a layer; NaN if one is."""
        return float(np.max([layer.difference.relative for layer in self.layers.values()]))


def replay(run: PastRun, recorded: Record, tell: Callable[[int, int], None]) -> Replay:
    """Make all updates of a finished run again, and compare.

    ``tell`` is told, after each gradient, how many there are and how many there will be.

    Raises
    ------
    UserError
        If the run's model or data are not there any more, or its network draws random numbers.
    """
    rerun = open_rerun(run, recorded)
    roles, settings = rerun.roles, rerun.settings
    result = Replay("different", roles.groups, roles.group_size)
    groups = range(roles.groups)
    counts = [rerun.gradients(group, rerun.iterations) for group in groups]
    versions = [sum(map(rerun.gradients, groups, stops)) for stops in recorded.meetings]
    try:
        if roles.servers:
            orders = recorded_order(recorded, counts, settings.staleness_bound, versions)
        else:  # one group, whose gradients are applied as they come
            orders = [deque([0] * counts[0]) for _ in rerun.served]
        losses = rerun.run(orders, recorded.meetings, lambda done: tell(done, sum(counts)))
    except ContradictionError as contradiction:
        result.verdict, result.contradiction = "contradictory", str(contradiction)
        return result
    for name, served in zip(rerun.names, rerun.served, strict=True):
        parameters = run.arrays.get(f"{served.number:02d}.{name}")
        result.layers[name] = ReplayedLayer(
            len(served.updates),
            max(made - 1 - read for _, _, read, made in served.updates),
            compare_arrays(parameters, served.optimizer.parameters),
        )
    judge(result, run, losses, settings.batch_size * settings.accumulate * roles.group_size)
    return result


def judge(result: Replay, run: PastRun, losses: Losses, samples: int) -> None:
    """Complete a result: its verdict, and where the first difference is.

    ``samples`` is how many an update sums over.
    """
    same = all(layer.difference.equal_bits for layer in result.layers.values())
    pairs = {
        place: (run.updates[place].loss, losses[place]) for place in losses.keys() & run.updates
    }
    if run.adds_in_order:
        apart = next(
            (place for place in losses if place in pairs and len({*pairs[place]}) > 1), None
        )
        equal = same and apart is None
    else:
        unit = max(float(np.finfo(array.dtype).eps) / 2 for array in run.arrays.values())
        noise = 4 * math.sqrt(samples) * unit
        result.bound = noise * max(layer.updates for layer in result.layers.values())
        updates = {p: run.updates[p]._replace(loss=loss) for p, (_, loss) in pairs.items()}
        parting, _ = compare_losses(run, replace(run, updates=updates), noise)
        sudden = parting is not None and parting.sudden
        apart = next((p for p in losses if parting and pairs.get(p) == parting.losses), None)
        equal = not sudden and bool(result.largest <= result.bound)
    if equal:
        result.verdict = "bits" if same else "rounding"
    elif apart:
        iteration, group = apart
        result.first = LossDifference(group, iteration, *pairs[apart])


def open_rerun(run: PastRun, recorded: Record) -> Rerun:
    """Prepare a run's updates as its settings say; refuse what cannot lead to the same network."""
    folder, settings = run.folder, read_settings(run)
    if run.setbacks:
        raise UserError(
            f"{folder}: went on after a setback, which cannot be replayed: {run.setbacks[0]}"
        )
    roles = settings.roles(len(recorded.groups))
    if run.members != recorded.groups or recorded.groups != [*map(roles.group, range(roles.ranks))]:
        raise UserError(f"{folder}: its settings, log and record are of different groups of ranks")
    rerun = Rerun(settings, model_of(folder, run.settings), roles)
    if len(rerun.dataset) != run.start.get("samples"):
        raise UserError(
            f"{folder}: was trained on {run.start.get('samples')} samples, "
            f"and there are {len(rerun.dataset)} now in {', '.join(map(str, settings.data))}"
        )
    if rerun.iterations != run.iteration:
        raise UserError(
            f"{folder}: its checkpoint is of iteration {run.iteration}, "
            f"and its settings are of a run of {rerun.iterations}"
        )
    if rerun.names != recorded.layers:
        raise UserError(
            f"{folder}: the layers of its network were {', '.join(recorded.layers)}, "
            f"and are {', '.join(rerun.names)} now"
        )
    if any(isinstance(leaf, Dropout) for leaf in rerun.network.leaves()):
        raise UserError(
            f"{folder}: its network has dropout, which draws other numbers on every rank; "
            "such a run cannot be replayed"
        )
    return rerun


def read_settings(run: PastRun) -> Settings:
    """Return what a run was asked for."""
    try:
        return Settings.from_json(run.settings)
    except TypeError as error:
        raise UserError(
            f"{run.folder}/settings.json: not the settings of a run of this version: {error}"
        ) from None
