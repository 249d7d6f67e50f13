"""Which number of groups learns fastest: what a plan's curves say.

- The *time to the target* is that until the smoothed loss of training reaches it, in a run that
  does not end above it: stale gradients can undo what was learnt.
- The **parallel speed-up** is the time an epoch takes on one node, which has the whole batch, over
  that on all nodes: samples a second, as in ``scaling.py``.
- The **learning speed-up** is the time to the target of the best synchronous run over that of this
  one. It also counts how many epochs are needed, which batches and staleness change.

That runs are judged by their time to a target: C. Coleman et al., DAWNBench: An End-to-End Deep
Learning Benchmark and Competition (2017). Both figures side by side, and their names: S. Yoginath
et al., the DeepEx paper (2019), whose formula is not at hand: the one above is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from ..bench.spread import Spread
from ..runs.outcome import first_below
from ..runs.plot import WINDOWS, Curve
from .learning import Learnt
from .plan import Case, Plan
from .work import Work

NEVER = math.inf


@dataclass(frozen=True)
class Choice:
    """A number of groups and a batch, with the momentum and the learning rate that suit it best.

    Attributes
    ----------
    curves : list of Curve
        One a seed.
    seconds : Spread
        To the target, over seeds; ``NEVER`` where one did not reach it.
    epoch : float
        Seconds, the median over seeds.
    staleness : float
        Mean over all updates.
    parallel_speedup, learning_speedup : float
        The latter is 0 where half of the seeds or more did not reach the target, and NaN where the
        best synchronous run did not either.
    validation : dict of str to float
        Figures at the end: medians over seeds.
    """

    groups: int
    batch_size: int
    momentum: float
    learning_rate: float
    curves: list[Curve]
    seconds: Spread
    epoch: float
    staleness: float
    validation: dict[str, float]
    parallel_speedup: float
    learning_speedup: float = math.nan

    @property
    def final(self) -> float:
        """The smoothed loss at the end, of the worst seed."""
        return max(final_loss(curve) for curve in self.curves)

    def to_json(self) -> dict[str, Any]:
        """As plain values, without curves."""
        values = vars(self) | {"final": self.final, "seconds": asdict(self.seconds)}
        del values["curves"]
        return values


def json_values(value: Any) -> Any:
    """Put None for what JSON has no number for: infinity, and what is not a number."""
    if isinstance(value, Mapping):
        return {key: json_values(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [json_values(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def judge(
    plan: Plan, work: Work, curves: Mapping[Case, Learnt], target: float | None
) -> tuple[float, list[Choice]]:
    """Choose the best of each number of groups and batch; return the target, too.

    Unless one is given, it is a loss that every number of groups reaches at its best, with every
    seed: the largest, over numbers of groups, of the least that any momentum and learning rate ends
    with where the worst seed counts.
    """
    rows: dict[tuple[int, int], list[list[tuple[Case, Learnt]]]] = {}
    for how, runs in by_seeds(curves).items():
        rows.setdefault((how.groups, how.batch_size), []).append(runs)
    if target is None:
        best: dict[int, float] = {}
        for (groups, _), tried in rows.items():
            least = min(
                max(final_loss(curve_of(groups, learnt)) for _, learnt in runs) for runs in tried
            )
            best[groups] = min(least, best.get(groups, math.inf))
        target = max(best.values())
    choices = []
    for tried in rows.values():
        judged = [judged_by(plan, work, runs, target) for runs in tried]
        choices.append(min(judged, key=lambda choice: (choice.seconds.median, choice.final)))
    over = best_of(choice for choice in choices if choice.groups == 1).seconds.median
    return target, [with_speedup(choice, over) for choice in choices]


def by_seeds(curves: Mapping[Case, Learnt]) -> dict[Case, list[tuple[Case, Learnt]]]:
    """Bring together runs that differ in the seed only, by their first."""
    together: dict[Case, list[tuple[Case, Learnt]]] = {}
    for case, learnt in curves.items():
        together.setdefault(case._replace(seed=0), []).append((case, learnt))
    return together


def judged_by(plan: Plan, work: Work, runs: list[tuple[Case, Learnt]], target: float) -> Choice:
    """Judge runs that differ in the seed only."""
    case = runs[0][0]
    curves = [curve_of(case.groups, learnt, f"seed {case.seed}") for case, learnt in runs]
    seconds = Spread.of(seconds_to(target, curve) for curve in curves)
    learnt = [learnt for _, learnt in runs]
    epoch = median(float(each.seconds[-1]) / plan.epochs for each in learnt)
    updates = learnt[0].samples.sum() / plan.epochs / case.batch_size  # an epoch's, of one node
    alone = math.ceil(updates) * work.alone(plan.machine, case.batch_size)
    return Choice(
        case.groups,
        case.batch_size,
        case.momentum,
        case.learning_rate,
        curves,
        seconds,
        epoch,
        float(np.mean([each.mean_staleness for each in learnt])),
        {name: median(each.validation[name] for each in learnt) for name in learnt[0].validation},
        alone / epoch,
    )


def with_speedup(choice: Choice, over: float) -> Choice:
    """Compare with the best synchronous run's time to the target."""
    own = choice.seconds.median
    speedup = math.nan if over == NEVER else over / own
    return Choice(**{**vars(choice), "learning_speedup": speedup})


def best_of(choices: Iterable[Choice]) -> Choice:
    """Find what reaches the target first, in the median over seeds; else what ends lowest."""
    return min(choices, key=lambda choice: (choice.seconds.median, choice.final))


def curve_of(groups: int, learnt: Learnt, label: str = "") -> Curve:
    """Return a run's curve, smoothed as those of real runs."""
    window = max(1, len(learnt.losses) // groups // WINDOWS) * groups
    return Curve(
        label, np.cumsum(learnt.samples), learnt.seconds, learnt.losses, np.empty((0, 3)), window,
        virtual=True,
    )  # fmt: skip


def seconds_to(target: float, curve: Curve) -> float:
    """When the smoothed loss reached the target, or ``NEVER``, also if it ends above it."""
    at = first_below(curve, target)
    return NEVER if at is None or final_loss(curve) > target else float(curve.seconds[at])


def final_loss(curve: Curve) -> float:
    """The smoothed loss at the end; infinite where it is not a number."""
    last = float(curve.mean[-1])
    return last if math.isfinite(last) and np.isfinite(curve.loss[-1]) else math.inf


def recommendation(choices: list[Choice], target: float) -> str:
    """Say in a line what reaches the target first, and how sure that is."""
    best = best_of(choices)
    sync = best_of(choice for choice in choices if choice.groups == 1)
    if best.seconds.median == NEVER:
        return f"Nothing reaches loss {target:.4g} with more than half of the seeds."
    if any(curve.mean[curve.window - 1] <= target for curve in best.curves):
        return f"Loss {target:.4g} is where runs begin, so that nothing is learnt: try more epochs."
    verb = "reaches" if best is sync else "reach"
    first = f"{described(best)} {verb} loss {target:.4g} first, in {best.seconds.median:.4g} s"
    if best is sync:
        hybrids = [choice for choice in choices if choice.groups > 1]
        if not hybrids:
            return f"{first}."
        other = best_of(hybrids)
        if other.seconds.median == NEVER:
            return f"{first}; no other number of groups reaches it."
        rest = other.seconds.median / best.seconds.median
        return f"{first}; {described(other)} take {rest:.2f} times as long.{doubt(best, other)}"
    if sync.seconds.median == NEVER:
        return f"{first}; no synchronous run reaches it."
    times = sync.seconds.median / best.seconds.median
    said = f"{first}: {times:.2f} times as fast as the best synchronous run"
    return f"{said} ({described(sync)}).{doubt(best, sync)}"


def doubt(best: Choice, other: Choice) -> str:
    """Say so where seeds leave it open which of the two is faster."""
    if len(best.curves) == 1:
        return " With one seed, that may be luck."
    if best.seconds.largest >= other.seconds.smallest:
        return " The seeds' ranges overlap: that may be luck."
    return " The seeds' ranges do not overlap."


def at_the_edge(plan: Plan, choices: Iterable[Choice]) -> str:
    """Say who might be better yet with a learning rate that was not tried; "" if nobody."""
    edges = {plan.learning_rates[0]: "smallest", plan.learning_rates[-1]: "largest"}
    if len(edges) == 1:
        return "One learning rate was tried: it may suit one number of groups and not another."

    def told(choice: Choice) -> str:
        batch = f", batch {choice.batch_size:,}" if len(plan.batch_sizes) > 1 else ""
        rate = choice.learning_rate
        return f"{in_words(choice.groups)}{batch} ({edges[rate]}, {rate:g})"

    said = [told(choice) for choice in choices if choice.learning_rate in edges]
    if not said:
        return ""
    return (
        "At the edge of the learning rates tried, so that others may be better yet: "
        f"{'; '.join(said)}."
    )


def described(choice: Choice) -> str:
    """What a choice is, in words."""
    return (
        f"{in_words(choice.groups)}, batch {choice.batch_size:,}, momentum {choice.momentum:g}, "
        f"learning rate {choice.learning_rate:g}"
    )


def in_words(groups: int) -> str:
    """So many groups."""
    return "one group" if groups == 1 else f"{groups} groups"
