"""``minidl simulate``: from flags to a scenario, and from its outcome to a table."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console

from ..errors import UserError
from ..machines import read_machine
from ..parallel.virtual import Machine
from ..roles import Roles
from ..simulate.outcome import Outcome, run
from ..simulate.simulation import Scenario
from ..simulate.work import Work, work_of
from ..tables import counted, plain_table

MOST_NODES, MOST_ITERATIONS, MOST_SAMPLES = 1_000_000, 100_000, 1_000_000


@dataclass(frozen=True)
class Asked:
    """The flags of ``minidl simulate``.

    Raises
    ------
    UserError
        If one is out of range, or does not go with the strategy.
    """

    name: str
    machine: str
    nodes: int
    strategy: str
    groups: int | None
    servers: int | None
    batch_size: int
    iterations: int
    jitter: float | None
    seed: int
    servers_on_top: bool = False  # of explain, whose --ranks are workers

    def __post_init__(self) -> None:
        between(self.flag, self.nodes, 1, MOST_NODES)
        between("--batch-size", self.batch_size, 1, MOST_SAMPLES)
        between("--iterations", self.iterations, 1, MOST_ITERATIONS)
        for flag, value, users in (
            ("--groups", self.groups, ("hybrid",)),
            ("--servers", self.servers, ("async", "hybrid")),
        ):
            if value is not None and value < 1:
                raise UserError(f"{flag} must be at least 1, got {value}")
            if value is not None and self.strategy not in users:
                raise UserError(
                    f"{flag} goes with --strategy {' or '.join(users)}, not {self.strategy}"
                )

    @property
    def flag(self) -> str:
        """What the number of nodes is called."""
        return "--ranks" if self.servers_on_top else "--nodes"

    def scenario(self, options: dict[str, Any]) -> Scenario:
        """Look up the machine, count the network's work, and deal the roles."""
        machine = machine_for(self.machine, self.name, self.jitter, self.seed)
        work = work_of(self.name, options)
        roles = self.roles(work)
        return Scenario(
            work, machine, self.strategy, roles, self.batch_size, self.iterations, self.seed
        )

    def roles(self, work: Work) -> Roles:
        """Deal the nodes to the roles that the strategy has."""
        if self.strategy == "sync":
            return Roles(self.nodes, 1, 0)
        servers = self.servers or len(work.sizes)
        among_nodes = 0 if self.servers_on_top else servers
        workers = self.nodes - among_nodes
        if workers < 1:
            raise UserError(
                f"--nodes {self.nodes} with {servers} parameter servers leave no worker; expected "
                f"at least {servers + 1}"
            )
        groups = (self.groups or 2) if self.strategy == "hybrid" else workers
        if workers % groups:
            nearest = max(1, round(workers / groups)) * groups + among_nodes
            raise UserError(
                f"{self.flag} {self.nodes} with {servers} parameter servers are {workers} workers, "
                f"which {groups} equal groups cannot have; {self.flag} {nearest} can be dealt"
            )
        roles = Roles(workers + servers, groups, servers)
        roles.check(work.sizes)
        return roles


def machine_for(name: str, network: str, jitter: float | None, seed: int) -> Machine:
    """Find a machine, with this jitter in place of its own if one is given."""
    machine = read_machine(name, network)
    if jitter is not None and not 0 <= jitter < math.inf:
        raise UserError(f"--jitter must not be negative, got {jitter}")
    if seed < 0:
        raise UserError(f"--seed must not be negative, got {seed}")
    return machine if jitter is None else replace(machine, jitter=jitter)


def between(flag: str, value: int, least: int, most: int) -> None:
    """Raise ``UserError`` unless the flag's value is in range."""
    if not least <= value <= most:
        raise UserError(f"{flag} must be from {least} to {most:,}, got {str(value)[:20]}")


def print_simulation(
    asked: Asked, options: dict[str, Any], as_json: bool, console: Console
) -> None:
    """Simulate, and print the outcome."""
    scenario = asked.scenario(options)
    outcome = run(scenario)
    if as_json:
        print(json.dumps({**asdict(asked), **outcome.to_json()}, indent=2))
        return
    console.print(described(scenario))
    console.print()
    for table in tables(scenario, outcome):
        console.print(table)
        console.print()


def described(scenario: Scenario) -> str:
    """Say what is simulated."""
    roles, machine = scenario.roles, scenario.machine
    how = {"sync": "all synchronous", "async": "each by itself"}.get(
        scenario.strategy, f"in {counted(roles.groups, 'group')} of {roles.group_size:,}"
    )
    return (
        f"{scenario.work.network} on {machine.name}: {counted(roles.workers, 'worker')}, {how}, "
        f"and {counted(roles.servers, 'server')}; {scenario.samples:g} samples a worker and "
        f"iteration. Jitter {machine.jitter:g}; {counted(scenario.iterations, 'iteration')}."
    )


def tables(scenario: Scenario, outcome: Outcome) -> list[Any]:
    """Tabulate where an iteration's time goes, and what the machine achieves."""
    parts = plain_table("an iteration", ">ms", ">share")
    for name, value in (
        ("computing", outcome.compute),
        ("waiting for sums", outcome.reduce),
        ("waiting for servers", outcome.server),
        ("waiting for broadcasts", outcome.broadcast),
        ("waiting for slower nodes", outcome.wait),
    ):
        parts.add_row(name, f"{1e3 * value:,.3f}", f"{100 * value / outcome.iteration:.1f} %")
    parts.add_section()
    parts.add_row("all", f"{1e3 * outcome.iteration:,.3f}", "")
    parts.add_row("one node alone", f"{1e3 * outcome.alone:,.3f}", "")
    figures = plain_table("the machine", ">sustained", ">peak")
    figures.add_row("PFLOP/s", f"{outcome.sustained / 1e15:.4g}", f"{outcome.peak / 1e15:.4g}")
    figures.add_row("times one node", f"{outcome.speedup:,.1f}", f"{outcome.peak_speedup:,.1f}")
    workers = scenario.roles.workers
    figures.add_row(
        "of as many nodes alone",
        f"{100 * outcome.efficiency:.1f} %",
        f"{100 * outcome.peak_speedup / workers:.1f} %",
    )
    figures.add_row("lost to slower nodes", f"{100 * outcome.straggler_loss:.1f} %", "")
    return [parts, figures]
