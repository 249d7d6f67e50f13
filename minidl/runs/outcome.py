"""What a run achieved, in figures: from its log, as a curve, and its record."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..progress import PLACE
from ..record import Record
from ..stopwatch import ACTIVITIES
from .plot import Curve


@dataclass(frozen=True)
class Outcome:
    """A finished run. None stands for what it does not have, or has not reached.

    Attributes
    ----------
    seed
    seconds, samples
        Until the last update.
    seconds_per_epoch
        On average, with validation and checkpoints.
    updates
        Of each layer.
    staleness_mean, staleness_max
        Over the updates of all layers.
    loss
        Of training, smoothed, at the end.
    validation
        Loss and metrics at the end; None for one that was not finite.
    seconds_to_target, samples_to_target
        Until the smoothed loss reached the target.
    seconds_to_accuracy
        Until a validation's accuracy reached its target.
    waiting
        Share of their time that workers waited for other ranks.
    busiest_server
        Largest share of its time that a server updated and answered.
    parallel_speedup, learning_speedup, accuracy_speedup
        Over another run, once it is known which: see ``speedup.py``.
    """

    seed: int
    workers: int
    servers: int
    groups: int
    seconds: float
    samples: int
    seconds_per_epoch: float
    samples_per_second: float
    updates: int
    staleness_mean: float | None
    staleness_max: int | None
    loss: float
    validation: dict[str, float | None]
    seconds_to_target: float | None
    samples_to_target: int | None
    seconds_to_accuracy: float | None
    waiting: float
    busiest_server: float | None
    parallel_speedup: float | None = None
    learning_speedup: float | None = None
    accuracy_speedup: float | None = None

    def figures(self) -> dict[str, float | None]:
        """All numbers by name, those of the validation, too. A target never reached is infinite."""
        values = asdict(self)
        validation = {f"validation_{k}": v for k, v in values.pop("validation").items()}
        never = {k: math.inf for k, v in values.items() if v is None and "_to_" in k}
        return values | never | validation


def measure(
    seed: int,
    curve: Curve,
    events: list[dict[str, Any]],
    record: Record,
    target_loss: float,
    target_accuracy: float | None,
) -> Outcome:
    """Bring together what a run's log, as a curve and as it is, and its record say.

    Of a target accuracy, the first validation that has it tells when it was reached.
    """
    ranks = list(zip(record.groups, record.spans, strict=True))
    workers = [spans for group, spans in ranks if group >= 0]
    servers = [spans for group, spans in ranks if group < 0]
    staleness = np.concatenate([record.staleness(n) for n in range(len(record.layers))])
    checks = [event for event in events if event["event"] == "validation"]
    seconds, samples = float(curve.seconds[-1]), int(curve.samples[-1])
    epoch = next(event["samples"] for event in events if event["event"] == "start")
    reached = first_below(curve, target_loss)
    accurate = [
        event["seconds"]
        for event in checks
        if target_accuracy is not None and (event["accuracy"] or 0.0) >= target_accuracy
    ]
    return Outcome(
        seed=seed,
        workers=len(workers),
        servers=len(servers),
        groups=max(record.groups) + 1,
        seconds=seconds,
        samples=samples,
        seconds_per_epoch=seconds * epoch / samples,
        samples_per_second=samples / seconds,
        updates=len(curve.loss),
        staleness_mean=float(staleness.mean()) if len(staleness) else None,
        staleness_max=int(staleness.max()) if len(staleness) else None,
        loss=float(curve.mean[-1]),
        validation={k: v for k, v in checks[-1].items() if k not in PLACE} if checks else {},
        seconds_to_target=None if reached is None else float(curve.seconds[reached]),
        samples_to_target=None if reached is None else int(curve.samples[reached]),
        seconds_to_accuracy=min(accurate, default=None),
        waiting=float(np.mean([share(spans, "wait") for spans in workers])),
        busiest_server=max((share(spans, "update", "send") for spans in servers), default=None),
    )


def first_below(curve: Curve, target: float) -> int | None:
    """Find the update with which the smoothed loss reached the target.

    Means of less than a whole window, at the start, are too noisy to count, here and in ``lowest``.
    """
    whole = curve.window - 1
    reached = np.flatnonzero(curve.mean[whole:] <= target)
    return whole + int(reached[0]) if len(reached) else None


def lowest(curve: Curve) -> float:
    """The lowest smoothed loss that a run reached, at its end or before."""
    return float(np.nanmin(curve.mean[curve.window - 1 :]))


def share(spans: np.ndarray, *activities: str) -> float:
    """Share of a rank's time that it spent so."""
    lasting = spans["end"] - spans["start"]
    chosen = np.isin(spans["activity"], [ACTIVITIES.index(name) for name in activities])
    return float(lasting[chosen].sum() / lasting.sum())
