"""What happens in an iteration, layer by layer, where all nodes are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..parallel.virtual.ghost import NoStopwatch
from .simulation import Scenario, Waits, simulate

ITERATIONS = 4  # the last but one is looked at: it has one before, and one after it


@dataclass(frozen=True)
class LayerTimes:
    """A layer in an iteration, in seconds, on the root of group 0.

    Attributes
    ----------
    server : int
        The rank that holds it; -1 if every rank does.
    announced : float
        When its gradient is complete, from the iteration's beginning.
    takes : float
        Everything from there to the new parameters on all of the group, if nothing else travels.
    exposed : float
        What of that the root waits for; the rest is hidden behind computing.
    """

    name: str
    server: int
    announced: float
    takes: float
    exposed: float

    @property
    def hidden(self) -> float:
        """What nobody waits for."""
        return max(0.0, self.takes - self.exposed)


class Diary(Waits):
    """Also keeps when each layer's gradient was announced, and how long each layer was waited for.

    Attributes
    ----------
    sent : list of (layer, seconds)
        When something of a layer was sent.
    waited : list of (layer, when, how long)
    """

    def __init__(self, clock: Callable[[], float], workers: int) -> None:
        super().__init__(clock, workers)
        self.sent: list[tuple[int, float]] = []
        self.waited: list[tuple[int, float, float]] = []

    def __call__(self, activity: str, layer: int = -1, peer: int = -1) -> Waits | NoStopwatch:
        """Time a block; note a layer's."""
        if activity == "send":
            self.sent.append((layer, self.clock()))
        self.layer = layer
        return super().__call__(activity, layer, peer)

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.waited.append((self.layer, self.began, self.clock() - self.began))


def explain(scenario: Scenario) -> list[LayerTimes]:
    """Follow the layers through an iteration, in forward order."""
    alike = replace(scenario.machine, jitter=0)
    times, diaries = simulate(replace(scenario, machine=alike, iterations=ITERATIONS), Diary)
    diary, (begin, end) = diaries[0], times.ends[0, -3:-1]
    assert isinstance(diary, Diary)
    work, roles = scenario.work, scenario.roles
    holders = roles.holders(work.sizes) if roles.servers else [-1] * len(work.sizes)
    explained = []
    for number, (name, size) in enumerate(zip(work.names, work.bytes, strict=True)):
        sent = [at for layer, at in diary.sent if layer == number and begin < at <= end]
        waits = [
            seconds for layer, at, seconds in diary.waited if layer == number and begin <= at < end
        ]
        explained.append(
            LayerTimes(
                name,
                holders[number],
                min(sent) - begin,
                communication(scenario, size),
                float(np.sum(waits)),
            )
        )
    return explained


def communication(scenario: Scenario, size: int) -> float:
    """Seconds from a gradient of so many bytes to the new parameters, if nothing is in the way."""
    machine, roles = scenario.machine, scenario.roles
    update = machine.update_time(size)
    if not roles.servers:
        return machine.collective_time("Allreduce", roles.workers, size) + update
    through_server = 2 * machine.message_time(8 + size) + update  # 8 bytes are the version
    if scenario.strategy == "async":
        return through_server
    group = roles.group_size
    summing = machine.collective_time("Reduce", group, size)
    return summing + through_server + machine.collective_time("Bcast", group, size)
