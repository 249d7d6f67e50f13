"""What has to be learnt to say which number of groups learns fastest: every combination, as cases.

As in the paper's figure 8 the batch of all nodes together stays the same: an update of G groups is
made of 1/G of it. Momentum and learning rate are tuned for each number of groups. Source: Deep
Learning at 15PF, section VI.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..model import Model, load
from ..parallel.virtual import Machine
from ..settings import Settings
from .learning import Learning
from .members import InMemory
from .work import Work


class Case(NamedTuple):
    """A run of a plan; ``batch_size`` is that of all nodes together."""

    groups: int
    batch_size: int
    momentum: float
    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """For its file."""
        return (
            f"groups-{self.groups}_batch-{self.batch_size}_momentum-{self.momentum}"
            f"_rate-{self.learning_rate}_seed-{self.seed}"
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs that are to be compared.

    Parameters
    ----------
    model : str
    nodes : int
        That compute; a server for each layer comes on top where there is more than one group.
    machine : Machine
    data, validation : sequence of Path
    groups, batch_sizes, momenta, learning_rates, seeds : sequence
        Every combination is a run. Batches are those of all nodes together.
    width : int
        Of the network that computes; what is charged for is the model as it is meant for.
    optimizer : str
    epochs : int
        Of every run.
    options : dict
        Of the model.

    Raises
    ------
    UserError
        If nodes cannot be dealt to groups, or batches to nodes, or there is nothing to compare
        with: a synchronous run, which is that of one group.
    """

    model: str
    nodes: int
    machine: Machine
    data: Sequence[Path]
    validation: Sequence[Path]
    groups: Sequence[int]
    batch_sizes: Sequence[int]
    momenta: Sequence[float]
    learning_rates: Sequence[float]
    seeds: Sequence[int]
    width: int
    optimizer: Any
    epochs: int
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("groups", "batch_sizes", "momenta", "learning_rates", "seeds"):
            values = sorted(set(getattr(self, name)))
            object.__setattr__(self, name, values)  # frozen, but for this
            if not values:
                raise UserError(f"--{name.replace('_', '-')} takes one value or several")
        if self.groups[0] != 1:
            raise UserError(
                f"--groups {self.groups[0]} ...: expected a 1 among them, the synchronous run over "
                "which the others are judged"
            )
        for groups in self.groups:
            if self.nodes % groups:
                raise UserError(
                    f"--nodes {self.nodes} cannot be dealt to {str(groups)[:20]} equal groups; "
                    "change --nodes or --groups"
                )
        for batch in self.batch_sizes:
            if batch < 1 or batch % self.nodes:
                nearest = max(1, round(min(batch, 10**9) / self.nodes)) * self.nodes
                raise UserError(
                    f"--batch-sizes {str(batch)[:20]} cannot be dealt to {self.nodes} nodes; it is "
                    f"that of all of them together: {nearest} can"
                )

    def cases(self) -> list[Case]:
        """All of them; seed by seed, so that a plan that is stopped has whole ones."""
        product = itertools.product(
            self.seeds, self.groups, self.batch_sizes, self.momenta, self.learning_rates
        )
        return [
            Case(groups, batch, momentum, rate, seed)
            for seed, groups, batch, momentum, rate in product
        ]

    def open(self) -> tuple[Model, InMemory]:
        """Open the data that are to be learnt."""
        model = Model(load(self.model), self.options)
        return model, InMemory(model.open(self.data))

    def learning(self, case: Case, model: Model, dataset: InMemory, work: Work) -> Learning:
        """Make a run ready; ``work`` is what it is charged for."""
        how: dict[str, Any] = {}
        if case.groups > 1:
            how = {"strategy": "hybrid", "groups": case.groups, "servers": len(work.sizes)}
        settings = Settings(
            data=tuple(self.data),
            validation=tuple(self.validation),
            epochs=self.epochs,
            batch_size=case.batch_size // self.nodes,
            optimizer=self.optimizer,
            momentum=case.momentum,
            learning_rate=case.learning_rate,
            width=self.width,
            seed=case.seed,
            options=self.options,
            **how,
        )
        return Learning(model, dataset, settings, self.nodes, work, self.machine)

    def to_json(self) -> dict[str, Any]:
        """As plain values; files by their full path."""
        files = {name: [str(path.resolve()) for path in getattr(self, name)] for name in FILES}
        return asdict(self) | files

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """Make a plan of what ``to_json`` returned."""
        files = {name: tuple(map(Path, values[name])) for name in FILES}
        return cls(**(values | files | {"machine": Machine(**values["machine"])}))


FILES = ("data", "validation")
