"""What a simulation says of a machine: seconds, where they go, and how much of the machine is used.

Definitions are those of Deep Learning at 15PF, section VI: *peak* is the best iteration,
*sustained* the mean over all of them, *speed-up* over one node alone. Groups keep time by
themselves: an iteration of the machine is the one of that number of every group.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .simulation import BROADCAST, REDUCE, SERVER, Scenario, simulate

EQUAL = 3  # iterations tell all where nodes are alike


@dataclass(frozen=True)
class Outcome:
    """What ``run`` has found; times are of an iteration, in seconds.

    Parameters
    ----------
    iteration : float
        Mean over groups and iterations. It is the sum of the following five.
    compute : float
        Mean of all workers.
    reduce, broadcast : float
        What a root waits for where all nodes are alike: communication that nothing hides.
    server : float
        What a root waits for servers, with their queues.
    wait : float
        The rest: waiting for nodes that are slower this time.
    alone : float
        Of one node by itself.
    peak, sustained : float
        Floating-point operations a second, of the best iteration and of all.
    speedup, peak_speedup : float
        Samples a second, over those of one node by itself: of all iterations, of the best.
    efficiency : float
        Speed-up over the number of workers.
    straggler_loss : float
        Share of the samples a second that is lost since nodes are not alike.
    """

    iteration: float
    compute: float
    reduce: float
    server: float
    broadcast: float
    wait: float
    alone: float
    peak: float
    sustained: float
    speedup: float
    peak_speedup: float
    efficiency: float
    straggler_loss: float

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def run(scenario: Scenario) -> Outcome:
    """Simulate a scenario, and the same with nodes that are alike."""
    roles, work, machine = scenario.roles, scenario.work, scenario.machine
    roots = [roles.root(group) for group in range(roles.groups)]
    sizes = np.array([len(roles.members(group)) for group in range(roles.groups)])
    times, _ = simulate(replace(scenario, iterations=1 + scenario.iterations))
    seconds = iteration_times(times.ends[roots])
    equal, _ = simulate(replace(scenario, machine=replace(machine, jitter=0), iterations=EQUAL))
    seconds_if_equal = iteration_times(equal.ends[roots])

    samples = scenario.samples * sizes
    a_second = (samples[:, None] / seconds).sum(axis=0)  # of each iteration
    sustained = (samples / seconds.mean(axis=1)).sum()
    if_equal = (samples / seconds_if_equal.mean(axis=1)).sum()
    alone = work.alone(machine, scenario.samples)
    of_one = scenario.samples / alone
    whole = times.ends[:, -1] - times.ends[:, 1]
    compute = (whole - times.waits[..., 1:].sum(axis=(1, 2))).mean() / scenario.iterations
    exposed = equal.waits[roots, :, 1:].mean(axis=(0, 2))
    exposed[SERVER] = times.waits[roots, SERVER, 1:].mean()
    iteration = seconds.mean()
    return Outcome(
        iteration,
        compute,
        exposed[REDUCE],
        exposed[SERVER],
        exposed[BROADCAST],
        iteration - compute - exposed.sum(),
        alone,
        a_second.max() * work.operations,
        sustained * work.operations,
        sustained / of_one,
        a_second.max() / of_one,
        sustained / of_one / roles.workers,
        1 - sustained / if_equal,
    )


def iteration_times(ends: np.ndarray) -> np.ndarray:
    """Seconds of each iteration but the first, in which no update is waited for.

    Shapes: (groups, iterations + 1) -> (groups, iterations - 1).
    """
    return np.diff(ends[:, 1:])
