"""``minidl explain``: a run before any node-hour is spent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console

from ..roles import Roles
from ..simulate.explanation import LayerTimes, explain
from ..simulate.outcome import run
from ..simulate.simulation import Scenario
from ..tables import plain_table, size_text
from .simulation import Asked, described

FEW = 4  # groups that are listed at each end


def print_explanation(
    asked: Asked, options: dict[str, Any], as_json: bool, console: Console
) -> None:
    """Print roles, layers and their messages, and the time that an iteration takes."""
    scenario = asked.scenario(options)
    layers, outcome = explain(scenario), run(scenario)
    if as_json:
        rows = [{**asdict(layer), "hidden": layer.hidden} for layer in layers]
        print(json.dumps({**asdict(asked), "layers": rows, **outcome.to_json()}, indent=2))
        return
    console.print(f"{described(scenario)}\n")
    for line in roles_told(scenario):
        console.print(line)
    console.print()
    console.print(layer_table(scenario, layers))
    exposed = sum(layer.exposed for layer in layers)
    alike = outcome.iteration * (1 - outcome.straggler_loss)
    console.print(
        "\nGFLOP: forward and backward, of a worker's samples. announced: when backward has the "
        "gradient, from the iteration's beginning. takes: from there to the new parameters, with "
        "nothing in the way. exposed: what rank 0 waits for; hidden: the rest, behind computing. "
        "All in ms, with nodes that are alike.\n\n"
        f"Predicted: {1e3 * alike:,.3f} ms an iteration if all nodes are alike, "
        f"{1e3 * exposed:,.3f} of them waiting for messages; {1e3 * outcome.iteration:,.3f} ms "
        f"with the machine's jitter; {outcome.sustained / 1e15:.4g} PFLOP/s, "
        f"{outcome.speedup:,.1f} times one node."
    )


def roles_told(scenario: Scenario) -> Iterator[str]:
    """Say which ranks work in which group, and which hold which layers."""
    roles, names = scenario.roles, scenario.work.names
    if not roles.servers:
        yield f"ranks 0 to {roles.workers - 1}: workers; each makes every update itself"
        return
    shown = range(roles.groups)
    for group in [*shown[:FEW], *shown[max(FEW, roles.groups - FEW) :]]:
        if group and group == roles.groups - FEW > FEW:
            yield "..."
        yield f"group {group}: {span(roles, group)}"
    holders = roles.holders(scenario.work.sizes)
    for server in range(roles.workers, roles.ranks):
        held = [name for name, holder in zip(names, holders, strict=True) if holder == server]
        yield f"rank {server}: server of {', '.join(held)}"


def span(roles: Roles, group: int) -> str:
    """Say who is in a group."""
    members = roles.members(group)
    if len(members) == 1:
        return f"rank {members[0]}"
    return f"ranks {members[0]} to {members[-1]}, of which {members[0]} speaks to the servers"


def layer_table(scenario: Scenario, layers: list[LayerTimes]) -> Any:
    """Tabulate layers in forward order."""
    work, samples = scenario.work, scenario.samples
    table = plain_table(
        "layer", ">message", ">GFLOP", ">server", ">announced", ">takes", ">hidden", ">exposed"
    )
    for row in zip(layers, work.bytes, work.forward, work.backward, strict=True):
        layer, size, forward, backward = row
        seconds = (layer.announced, layer.takes, layer.hidden, layer.exposed)
        table.add_row(
            layer.name,
            size_text(size),
            f"{samples * (forward + backward) / 1e9:,.1f}",
            "" if layer.server < 0 else str(layer.server),
            *(f"{1e3 * value:,.3f}" for value in seconds),
        )
    table.add_section()
    sums = (
        f"{1e3 * sum(getattr(layer, name) for layer in layers):,.3f}"
        for name in ("takes", "hidden", "exposed")
    )
    work_done = f"{samples * work.operations / 1e9:,.1f}"
    table.add_row("all", size_text(sum(work.bytes)), work_done, "", "", *sums)
    return table
