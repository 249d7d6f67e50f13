"""The ledger of the paper's claims: each published number, and what minidl has beside it.

    python benchmarks/ledger.py
    python benchmarks/ledger.py --skip-runs       # without the largest runs, in seconds
    python benchmarks/ledger.py --fit             # the jitter of Cori's nodes

A script and no command of ``minidl``: it is about one paper, and of it alone. Prints Markdown.
``claims.py`` says what the words mean. Agreement is a difference of at most 15 %.

The jitter is found by bisection, so that the simulated largest run of hep sustains what the paper
says. No other number on many nodes goes into the machine's description.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from claims import CLAIMS, GROUPS, NODES, Claim, work
from harness import command_line

from minidl.machines import read_machine
from minidl.roles import Roles
from minidl.simulate.outcome import run
from minidl.simulate.simulation import Scenario

AIM = 0.15
SUSTAINED = 11.41e15
FIT_ITERATIONS, FIT_STEPS = 10, 8


def main() -> None:
    """Print the ledger, or fit the jitter."""
    parser = command_line(__doc__)
    parser.add_argument("--skip-runs", action="store_true", help="leave out what is simulated")
    parser.add_argument("--fit", action="store_true", help="fit the jitter")
    arguments = parser.parse_args()
    if arguments.fit:
        print(f"jitter {fit():.3f}")
        return
    print("| claim | published | certainty | minidl | kind | agrees | shown by |")
    print("|---|---|---|---|---|---|---|")
    notes: list[str] = []
    for claim in CLAIMS:
        skipped = arguments.skip_runs and ("largest run" in claim.what or "scaling" in claim.what)
        found = None if claim.find is None or skipped else claim.find()
        print(row(claim, found, notes))
        sys.stdout.flush()
    print()
    for number, note in enumerate(notes, 1):
        print(f"{number}. {note[0].upper()}{note[1:]}.")


def row(claim: Claim, found: float | None, notes: list[str]) -> str:
    """Write a line of the table; add what explains it to the notes."""
    seen = "-" if found is None else f"{found:.4g} {claim.unit}"
    difference = 0.0 if found is None else found / claim.published - 1
    if found is None:
        verdict = "-"
    elif claim.certainty == "vague":
        verdict = f"({difference:+.0%})"
    else:
        verdict = f"{'yes' if abs(difference) <= AIM else 'NO'}, {difference:+.1%}"
    if claim.why:
        if claim.why not in notes:
            notes.append(claim.why)
        verdict += f" [{notes.index(claim.why) + 1}]"
    command = f"`{claim.command}`" if claim.command.startswith("minidl ") else claim.command
    return (
        f"| {claim.what} | {claim.published:g} {claim.unit} | {claim.certainty} | {seen} | "
        f"{claim.kind} | {verdict} | {command} |"
    )


def fit() -> float:
    """Find the jitter with which the largest run of hep sustains what the paper says."""
    machine = read_machine("cori-knl", "hep")
    roles = Roles(NODES["hep"], GROUPS["hep"], len(work("hep").sizes))
    low, high = 0.0, 0.4
    for _ in range(FIT_STEPS):
        middle = (low + high) / 2
        scenario = Scenario(
            work("hep"), replace(machine, jitter=middle), "hybrid", roles, 8, FIT_ITERATIONS
        )
        if run(scenario).sustained > SUSTAINED:
            low = middle
        else:
            high = middle
    return (low + high) / 2


if __name__ == "__main__":
    main()
