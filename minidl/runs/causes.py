"""Why two runs may have become different networks: what their settings and logs say, in lines.

A cause is *certain* if it makes another update by definition: another gradient, or another step
along it. The others may matter or not, as other files may hold the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..optim import explicit_momentum
from ..settings import flag
from .past import PastRun, Update

RULE = ("optimizer", "momentum", "nesterov", "weight_decay", "clip")
RATE = ("learning_rate", "schedule", "scale_by_ranks", "warmup")
# Shown by the log, or without influence on the network.
ELSEWHERE = (
    "model", "width", "data", "validation", "seed", "strategy", "groups", "servers", "epochs",
    "iterations", "batch_size", "accumulate", "checkpoint_every", "virtual", "threads", "watchdog",
)  # fmt: skip


class Cause(NamedTuple):
    """One line that explains a difference between two runs, A and B."""

    text: str
    certain: bool


def find_causes(a: PastRun, b: PastRun) -> list[Cause]:
    """What may have made the runs different, the likely first."""
    finders = (
        _network, _samples, _sums, _lengths, _rules, _rates, _groups, _machines, _ranks, _rest
    )  # fmt: skip
    return [cause for find in finders for cause in find(a, b)]


def _network(a: PastRun, b: PastRun) -> Iterator[Cause]:
    for name in ("model", "width"):
        yield from _setting(a, b, name, certain=True)


def _samples(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """What is trained on, in which order."""
    counts = a.start.get("samples"), b.start.get("samples")
    if counts[0] != counts[1]:
        yield Cause(f"A trains on {counts[0]} samples, B on {counts[1]}", True)
    if a.setting("data") != b.setting("data"):
        files = (", ".join(run.setting("data")) for run in (a, b))
        yield Cause("other data files: {} and {}".format(*files), False)
    yield from _setting(a, b, "seed", certain=True)


def _sums(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """Samples that an update sums over."""
    place = _first_difference(a, b, lambda update: update.samples)
    if place is None:
        return
    x, y = a.updates[place].samples, b.updates[place].samples
    if place[0] == 1:
        yield Cause(
            f"an update of A sums over {x} samples ({a.batch}), of B over {y} ({b.batch})", True
        )
    else:
        yield Cause(
            f"update {place[0]} of A sums over {x} samples, of B over {y}: "
            "the last batch of an epoch is not the same",
            True,
        )


def _lengths(a: PastRun, b: PastRun) -> Iterator[Cause]:
    if len(a.updates) != len(b.updates):
        yield Cause(f"A made {len(a.updates)} updates, B {len(b.updates)}", True)


def _rules(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """How a gradient becomes a step."""
    for name in RULE:
        yield from _setting(a, b, name, certain=True)
    if a.setting("momentum") == b.setting("momentum") == "auto" and a.groups != b.groups:
        x, y = explicit_momentum(a.groups), explicit_momentum(b.groups)
        yield Cause(f"--momentum auto is {x:g} with {a.groups} groups, {y:g} with {b.groups}", True)


def _rates(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """Learning rates, as they were logged."""
    place = _first_difference(a, b, lambda update: float(f"{update.learning_rate:.9g}"))
    if place is None:
        return
    x, y = (run.updates[place].learning_rate for run in (a, b))
    reasons = [cause.text for name in RATE for cause in _setting(a, b, name, certain=True)]
    if not reasons and a.setting("scale_by_ranks") and a.group_size != b.group_size:
        reasons = [f"--scale-by-ranks multiplies by {a.group_size} and {b.group_size}"]
    if not reasons and a.setting("schedule") != "constant":
        reasons = [
            f"--schedule {a.setting('schedule')} depends on the length: "
            f"{len(a.updates)} and {len(b.updates)} updates"
        ]
    because = f" ({'; '.join(reasons)})" if reasons else ""
    yield Cause(
        f"learning rates differ from update {place[0]} on: {x:.6g} and {y:.6g}{because}", True
    )


def _groups(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """Groups that update one network, none waiting for the others."""
    for name, run in zip("AB", (a, b), strict=True):
        if run.groups > 1:
            repeats = "" if run.virtual else ", so that it does not even repeat itself"
            yield Cause(
                f"{name} is {run.setting('strategy')} with {run.groups} groups: its gradients are "
                f"stale, and in the order of arrival{repeats}",
                False,
            )


def _machines(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """Where times are computed, they decide who comes first."""
    for name, run, other in (("A", a, b), ("B", b, a)):
        if run.virtual and not other.virtual:
            yield Cause(f"only {name} is of virtual ranks, which add in the order of ranks", False)
    for name, x in a.virtual.items():
        y = b.virtual.get(name, x)
        if x != y:
            yield Cause(f"{flag(name)} {_text(x)} and {_text(y)}", False)


def _ranks(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """What is not the same on many ranks, though the samples are."""
    if a.batch == b.batch:
        return
    if a.gathers_statistics or b.gathers_statistics:
        yield Cause(
            "batch normalisation takes its statistics over every rank's own batch, "
            f"not over the whole one: {a.batch} and {b.batch}",
            False,
        )
    if a.setting("clip") and a.group_size != b.group_size:
        yield Cause(
            f"--clip shortens each worker's gradient, not their sum: {a.batch} and {b.batch}", False
        )


def _rest(a: PastRun, b: PastRun) -> Iterator[Cause]:
    """Any other setting, also one that this file does not know; versions."""
    for name in sorted(set(a.settings) | set(b.settings)):
        if name not in (*ELSEWHERE, *RULE, *RATE):
            yield from _setting(a, b, name, certain=False)
    versions = [{**run.start.get("versions", {}), "MPI": run.start.get("mpi")} for run in (a, b)]
    for name in versions[0]:
        x, y = (version.get(name) for version in versions)
        if x and y and x != y:
            yield Cause(f"other versions of {name}: {x} and {y}", False)


def _setting(a: PastRun, b: PastRun, name: str, *, certain: bool) -> Iterator[Cause]:
    x, y = a.setting(name), b.setting(name)
    if x != y:
        title = flag(name) if name != "model" else "the model:"
        yield Cause(f"{title} {_text(x)} and {_text(y)}", certain)


def _text(value: Any) -> str:
    if value is None:
        return "not given"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _first_difference(a: PastRun, b: PastRun, figure: Any) -> tuple[int, int] | None:
    """Find the first update, of those that both have, for which ``figure`` is not the same."""
    updates: dict[tuple[int, int], tuple[Update, Update]] = {
        place: (update, b.updates[place]) for place, update in a.updates.items()
        if place in b.updates
    }  # fmt: skip
    return next((place for place, (x, y) in updates.items() if figure(x) != figure(y)), None)
