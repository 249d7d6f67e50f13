"""The ledger of the paper's claims: each published number, and what minidl has beside it.

    python benchmarks/ledger.py
    python benchmarks/ledger.py --out benchmarks/LEDGER.md
    python benchmarks/ledger.py --skip-runs       # without what is simulated, in seconds
    python benchmarks/ledger.py --fit             # the jitter of Cori's nodes

A script and no command of ``minidl``: it is about one paper, and of it alone. Prints Markdown.
``claims.py`` says what the words mean. Agreement is a difference of at most 15 %.

The jitter is found by bisection, so that the simulated largest run of hep sustains what the paper
says. No other number on many nodes goes into the machine's description.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from claims import CERTAINTIES, CLAIMS, GROUPS, KINDS, NODES, Claim, work
from harness import command_line

from minidl.files import write_whole
from minidl.machines import read_machine
from minidl.roles import Roles
from minidl.simulate.outcome import run
from minidl.simulate.simulation import Scenario

AIM = 0.15
SUSTAINED = 11.41e15
FIT_ITERATIONS, FIT_STEPS = 10, 8

TITLE = f"""\
# The paper's claims, and what minidl has beside them

Written by `python benchmarks/ledger.py --out benchmarks/LEDGER.md`. The paper is Deep Learning at
15PF (SC17). Everything predicted is simulated, on a description of Cori that was made from one
node's rates, from the network's published latency and bandwidth, and from one fitted number, the
jitter of nodes. Agreement is a difference of at most {AIM:.0%}; of what is vague, the difference is
shown in brackets, and nothing is held to it. `tutorials/12_the_papers_figures.py` looks into what
does not agree.
"""


class Entry(NamedTuple):
    """A claim, and what was found; None where nothing was looked for."""

    claim: Claim
    found: float | None

    @property
    def difference(self) -> float:
        """Of what was found, as a share of what is published."""
        return 0.0 if self.found is None else self.found / self.claim.published - 1

    @property
    def agrees(self) -> bool:
        """Whether the two are close enough."""
        return abs(self.difference) <= AIM


def main() -> None:
    """Print the ledger and perhaps write it, or fit the jitter."""
    parser = command_line(__doc__)
    parser.add_argument("--out", type=Path, help="also write it to this file")
    parser.add_argument("--skip-runs", action="store_true", help="leave out what is simulated")
    parser.add_argument("--fit", action="store_true", help="fit the jitter")
    arguments = parser.parse_args()
    if arguments.fit:
        print(f"jitter {fit():.3f}")
        return
    lines = []
    for line in ledger(arguments.skip_runs):
        print(line, flush=True)
        lines.append(line)
    if arguments.out:
        write_whole(arguments.out, "\n".join([*lines, ""]).encode())


def ledger(skip_runs: bool = False) -> Iterator[str]:
    """Write the ledger line by line, each as soon as its number is found."""
    yield TITLE
    yield "| claim | published | certainty | minidl | kind | agrees | shown by |"
    yield "|---|---|---|---|---|---|---|"
    entries: list[Entry] = []
    notes = list(dict.fromkeys(claim.why for claim in CLAIMS if claim.why))
    for claim in CLAIMS:
        skipped = skip_runs and ("largest run" in claim.what or "scaling" in claim.what)
        found = None if claim.find is None or skipped else claim.find()
        entries.append(Entry(claim, found))
        yield row(entries[-1], notes)
    yield ""
    yield from summary(entries)
    yield ""
    for number, note in enumerate(notes, 1):
        yield f"{number}. {note[0].upper()}{note[1:]}."
    for title, words in (("Certainty", CERTAINTIES), ("Kind", KINDS)):
        yield ""
        yield f"{title}:"
        yield ""
        for word, meaning in words.items():
            yield f"- *{word}*: {meaning}"


def row(entry: Entry, notes: list[str]) -> str:
    """Write a line of the table; what explains a difference is one of the notes."""
    claim, found = entry.claim, entry.found
    seen = "-" if found is None else f"{found:.4g} {claim.unit}".rstrip()
    if found is None:
        verdict = "-"
    elif claim.certainty == "vague":
        verdict = f"({entry.difference:+.0%})"
    else:
        verdict = f"{'yes' if entry.agrees else 'NO'}, {entry.difference:+.1%}"
    if claim.why:
        verdict += f" [{notes.index(claim.why) + 1}]"
    command = f"`{claim.command}`" if claim.command.startswith("minidl ") else claim.command
    published = f"{claim.published:g} {claim.unit}".rstrip()
    return (
        f"| {claim.what} | {published} | {claim.certainty} | {seen} | {claim.kind} | {verdict} | "
        f"{command} |"
    )


def summary(entries: list[Entry]) -> Iterator[str]:
    """Count what was predicted, and how much of it agrees."""
    predicted = [e for e in entries if e.claim.kind == "predicted" and e.found is not None]
    held = [entry for entry in predicted if entry.claim.certainty != "vague"]
    vague = [entry for entry in predicted if entry.claim.certainty == "vague"]
    yield (
        f"Of {len(held)} predictions that are held to a number, {sum(e.agrees for e in held)} are "
        f"within {AIM:.0%}; of {len(vague)} beside a vague one, {sum(e.agrees for e in vague)}."
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
