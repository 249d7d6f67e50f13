"""How much faster one run is than another, in two figures, and how much seeds decide about them.

- The **parallel speed-up** is the other run's time an epoch over this one's: samples a second. It
  takes every sample for equally useful, however stale its gradient.
- The **learning speed-up** is the other run's time to a target over this one's. It is the parallel
  speed-up times the epochs that the other needs over those that this one needs, and below it where
  asynchrony costs updates.

That a run is judged by its time to a target: C. Coleman et al., DAWNBench: An End-to-End Deep
Learning Benchmark and Competition (NIPS MLSys workshop, 2017); P. Mattson et al., MLPerf Training
Benchmark (MLSys 2020). That both figures are reported side by side, and their names: S. Yoginath et
al., the DeepEx paper (IPDPSW 2019), whose formula is not at hand: the one above is ours.

Times are those of the run's own clock, from its first iteration on: validation and checkpoints
count, starting and ending do not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from .outcome import Outcome

NEVER = math.inf

DEFINITIONS = (
    "Parallel speed-up: its time for an epoch over the strategy's. Learning speed-up: its time to "
    "the target over the strategy's; 0 where the strategy never reached it.",
    "Time to a target as the measure: DAWNBench (Coleman et al., 2017). Both speed-ups side by "
    "side: DeepEx (Yoginath et al., 2019).",
)


class Spread(NamedTuple):
    """Of a figure, over seeds. What was never reached took infinitely long: it is not left out."""

    lowest: float
    median: float
    highest: float


def spread(values: Sequence[float | None]) -> Spread | None:
    """Median and range; None if a value is not there, or not a number."""
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    if len(numbers) < len(values):
        return None
    return Spread(min(numbers), statistics.median(numbers), max(numbers))


def with_speedups(outcome: Outcome, over: Outcome) -> Outcome:
    """Complete the figures of a run by those over another, of the same seed."""
    return replace(
        outcome,
        parallel_speedup=over.seconds_per_epoch / outcome.seconds_per_epoch,
        learning_speedup=ratio(over.seconds_to_target, outcome.seconds_to_target),
        accuracy_speedup=ratio(over.seconds_to_accuracy, outcome.seconds_to_accuracy),
    )


def ratio(over: float | None, own: float | None) -> float | None:
    """Of two times, None for never; None if neither run arrived, and nothing can be said."""
    if own is None:
        return None if over is None else 0.0
    return NEVER if over is None else over / own
