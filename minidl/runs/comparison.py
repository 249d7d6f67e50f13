"""What came out of a comparison: its table, its remarks, and all of its figures as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from rich.table import Table

from ..tables import plain_table
from .outcome import Outcome
from .speedup import DEFINITIONS, Spread, spread, with_speedups


class Line(NamedTuple):
    """A line of the table: a figure of every strategy, by its name in ``Outcome.figures``."""

    title: str
    figure: str
    form: str
    unit: str = ""
    otherwise: str = "-"  # where there is no such figure
    infinite: str = "never"


@dataclass
class Comparison:
    """The outcomes of all runs, by strategy, a seed each, judged by one target.

    Parameters
    ----------
    target_loss : float
    target_accuracy : float or None
    outcomes : dict of lists of Outcome
    chosen_afterwards : bool
        Whether the target loss is what these runs themselves made of it.
    """

    target_loss: float
    target_accuracy: float | None = None
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    chosen_afterwards: bool = False

    @property
    def over(self) -> str:
        """The strategy whose runs speed-ups are over."""
        return "serial" if "serial" in self.outcomes else "sync"

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.outcomes["sync"])

    def relate(self) -> None:
        """Complete every outcome by its speed-ups."""
        over = self.outcomes[self.over]
        self.outcomes = {
            strategy: [with_speedups(*pair) for pair in zip(same, over, strict=True)]
            for strategy, same in self.outcomes.items()
        }

    def lines(self) -> Iterator[Line]:
        """All figures that the table shows."""
        loss, accuracy = f"loss {self.target_loss:.4g}", self.target_accuracy
        yield Line("time", "seconds", "{:.1f}", " s")
        yield Line("time an epoch", "seconds_per_epoch", "{:.2f}", " s")
        yield Line("parallel speed-up", "parallel_speedup", "{:.2f}")
        yield Line("samples/s", "samples_per_second", "{:.1f}")
        yield Line("updates of a layer", "updates", "{:,.0f}")
        yield Line("staleness: mean", "staleness_mean", "{:.2f}")
        yield Line("staleness: largest", "staleness_max", "{:.0f}")
        yield Line("training loss at the end", "loss", "{:.4f}")
        for name in self.outcomes["sync"][0].validation:
            title, figure = f"validation {name}", f"validation_{name}"
            yield Line(title, figure, "{:.4f}", otherwise="not finite")
        yield Line(f"time to {loss}", "seconds_to_target", "{:.1f}", " s")
        yield Line(f"samples to {loss}", "samples_to_target", "{:,.0f}")
        yield Line("learning speed-up", "learning_speedup", "{:.2f}", infinite="inf")
        if accuracy is not None:
            yield Line(f"time to accuracy {accuracy:.4g}", "seconds_to_accuracy", "{:.1f}", " s")
            title = "learning speed-up: accuracy"
            yield Line(title, "accuracy_speedup", "{:.2f}", infinite="inf")
        yield Line("workers' time waiting", "waiting", "{:.1%}")
        yield Line("busiest server at work", "busiest_server", "{:.1%}")

    def table(self) -> Table:
        """Lay the figures out, a column for each strategy."""
        table = plain_table("", *(f">{strategy}" for strategy in self.outcomes))
        first = [same[0] for same in self.outcomes.values()]
        workers = (f"{o.workers} + {o.servers}" if o.servers else f"{o.workers}" for o in first)
        table.add_row("workers + servers", *workers)
        table.add_row("groups", *(f"{o.groups}" for o in first))
        for line in self.lines():
            spreads = [over_seeds(same)[line.figure] for same in self.outcomes.values()]
            table.add_row(line.title, *(median(line, found) for found in spreads))
            ranges = [range_of(line, found) for found in spreads]
            if any(ranges):
                table.add_row("  range", *ranges)
        return table

    def definitions(self) -> Iterator[str]:
        """Say what the figures mean."""
        yield (
            "Speed-ups are over serial: one rank with as many samples an update as sync."
            if self.over == "serial"
            else "Speed-ups are over sync; with --serial, they would be over one rank."
        )
        yield from DEFINITIONS
        if self.chosen_afterwards:
            yield "The target is the lowest loss that all runs reached; --target-loss sets another."
        yield (
            f"Figures are medians over {self.seeds} seeds, and below them the lowest and the "
            "highest; speed-ups are those of runs of the same seed."
            if self.seeds > 1
            else "Figures are those of one seed; --seeds 1 2 3 would tell how much they vary."
        )

    def remarks(self, cores: int) -> Iterator[str]:
        """Say what never reached a target, and what keeps the comparison from being a fair one."""
        yield from self._missed(f"loss {self.target_loss:.4g}", lambda o: o.seconds_to_target)
        if self.target_accuracy is not None:
            what = f"accuracy {self.target_accuracy:.4g}"
            yield from self._missed(what, lambda o: o.seconds_to_accuracy)
        seen = {strategy: same[0].samples for strategy, same in self.outcomes.items()}
        if len(set(seen.values())) > 1:
            numbers = ", ".join(f"{strategy} {samples:,}" for strategy, samples in seen.items())
            yield f"The runs did not see equally many samples: {numbers}."
        most = max(same[0].workers + same[0].servers for same in self.outcomes.values())
        if most > cores:
            yield (
                f"Up to {most} ranks shared {cores} cores: samples/s, waiting and speed-ups are "
                "those of such a machine."
            )

    def _missed(self, what: str, reached: Callable[[Outcome], float | None]) -> Iterator[str]:
        for strategy, same in self.outcomes.items():
            missed = [str(outcome.seed) for outcome in same if reached(outcome) is None]
            if missed:
                seeds = f" with {len(missed)} of {len(same)} seeds: {', '.join(missed)}"
                yield f"{strategy} did not reach {what}{seeds if len(same) > 1 else ''}."

    def to_json(self) -> dict[str, Any]:
        """As plain values. What is infinite, or was never reached, is null."""
        return {
            "target_loss": self.target_loss,
            "target_accuracy": self.target_accuracy,
            "definitions": list(self.definitions()),
            "speedups_over": self.over,
            "runs": {
                strategy: [finite(asdict(outcome)) for outcome in same]
                for strategy, same in self.outcomes.items()
            },
            "over_seeds": {
                strategy: {
                    figure: found and finite(found._asdict())
                    for figure, found in over_seeds(same).items()
                }
                for strategy, same in self.outcomes.items()
            },
        }


def over_seeds(same: list[Outcome]) -> dict[str, Spread | None]:
    """Median and range of every figure of the runs of a strategy."""
    figures = [outcome.figures() for outcome in same]
    return {name: spread([own[name] for own in figures]) for name in figures[0]}


def write(line: Line, value: float) -> str:
    """Write a figure without its unit."""
    return line.form.format(value) if math.isfinite(value) else line.infinite


def median(line: Line, found: Spread | None) -> str:
    """Write a line's median."""
    if found is None:
        return line.otherwise
    return write(line, found.median) + (line.unit if math.isfinite(found.median) else "")


def range_of(line: Line, found: Spread | None) -> str:
    """Write a line's range; nothing where it is too narrow to be seen."""
    if found is None:
        return ""
    low, high = write(line, found.lowest), write(line, found.highest)
    return f"{low}-{high}" if low != high else ""


def finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, with null for those that are not finite, which JSON lacks."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
