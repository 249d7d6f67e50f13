"""``minidl train --dry-run``: what a run will do, and its first step."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from ..errors import UserError
from ..tables import counted, virtually
from ..train import Training

PATHS = {
    "serial": "kept: one rank sends nothing.",
    "sync": "summed by all ranks. Every rank is a worker.",
    "async": "sent to the rank that holds the layer. Every other rank is a worker.",
    "hybrid": "summed at its group's root, which sends it to the rank that holds the layer.",
}


def plan(training: Training) -> list[str]:
    """Say in sentences what a run will do."""
    settings, roles = training.settings, training.roles
    update = settings.batch_size * settings.accumulate * roles.group_size
    passes = f" in each of {settings.accumulate} passes" if settings.accumulate > 1 else ""
    parts = []
    if settings.strategy == "hybrid":
        sizes = sorted({len(roles.members(group)) for group in range(roles.groups)})
        parts.append(f"{counted(roles.groups, 'group')} of {' or '.join(map(str, sizes))}")
    if roles.servers:
        parts.append(counted(roles.servers, "server"))
    return [
        f"{len(training.dataset):,} samples, {training.batches.per_epoch} iterations an epoch,"
        f" {training.iterations} iterations, {training.iterations * roles.groups} updates.",
        f"{settings.strategy}, {counted(roles.ranks, virtually('rank', training.virtual))}"
        f"{' (' + ', '.join(parts) + ')' if parts else ''}:"
        f" batches of {settings.batch_size} per worker{passes}, {update} per update.",
    ]


def rehearse(training: Training, console: Console | None) -> None:
    """Take one step, and print on the rank with a console what a run would do."""
    strategy, roles = training.strategy, training.roles
    strategy.start()
    if training.group < 0:
        strategy.serve()
    else:
        loss = strategy.step(next(training.batches_from(0)))
        strategy.stop()
    if roles.servers:
        strategy.finish()
    if training.group < 0:
        return
    if not math.isfinite(loss):
        raise UserError(f"the first step's loss is {loss}")
    if console is None:
        return
    for sentence in plan(training):
        console.print(sentence)
    held = ("held by",) if roles.servers else ()
    table = Table("layer", "parameters", "message", *held)
    for layer in strategy.layers:
        server = (f"rank {strategy.holder[layer]}",) if roles.servers else ()
        size = f"{layer.gradient.nbytes:,} bytes"
        table.add_row(layer.name, f"{layer.parameters.size:,}", size, *server)
    console.print(table)
    console.print("Every layer's gradient is one message, " + PATHS[training.settings.strategy])
    spent = training.stopwatch.seconds
    seconds = spent["compute"] + spent["send"] + spent["wait"]
    took = f"{seconds:.2f} s, first use of memory included"
    if training.virtual:
        took = f"{seconds:.4g} virtual seconds"
    console.print(f"One step: loss {loss:.4f}, {took}.")
    console.print("Nothing was written.")
