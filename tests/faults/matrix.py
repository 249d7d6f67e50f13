"""The matrix of faults: ``make faults``.

Every fault comes upon every kind of rank, in every phase of every strategy, at random moments. Of
each trial is judged whether the run ended or went on as promised, and what is left of it. The
report is ``report.md``, a row a cell; ``trials.jsonl`` has every trial. The status is 1 if a
promise was broken; the folders of such trials are kept beside the report.

All of it takes hours. Where it is stopped, the same command goes on: trials that the folder has
are not made again, but judged again. Remove it when what is tried has changed.

::

    python tests/faults/matrix.py --trials 20
    python tests/faults/matrix.py --only "hybrid kill"
    build/openmpi/bin/python tests/faults/matrix.py --ulfm
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain, groupby
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).parent.parent))
import conftest  # noqa: F401  (what Open MPI wants to be told)
from events import write_events
from promises import broken
from report import Trial, report
from trials import LAYOUTS, Cell, Outcome, Rehearsal, compare, go_on_together, rehearse, suffer

TRIALS = "trials.jsonl"
AT_A_TIME = 3  # batches of trials: the waiting of one is another's time to compute
TOGETHER = 10  # trials whose runs go on by one start of the ranks
Job = tuple[Cell, list[int]]  # a trial to be made, and its seed
PHASES = ("start", "forward", "backward", "exchange", "update", "checkpoint", "end")
# Of every fault the phases in which it makes a difference.
KINDS = {
    "kill": (*PHASES, "any"),
    "raise": PHASES,
    "hang": PHASES,
    "sigterm": PHASES,
    "loader": ("load",),
    "nan": ("backward", "update"),
    "flip": ("forward", "update"),
    "disk": ("start", "checkpoint", "end"),
}
SURVIVED = ("kill",)  # the faults for which ULFM is meant


def cells() -> Iterator[Cell]:
    """All that can happen."""
    for strategy, layout in LAYOUTS.items():
        for kind, phases in KINDS.items():
            for role in layout.roles:
                for phase in phases:
                    if happens(strategy, kind, role, phase):
                        yield Cell(strategy, kind, role, phase)


def happens(strategy: str, kind: str, role: str, phase: str) -> bool:
    """Whether such a rank has such a phase, and such a fault means something there."""
    if role == "server" and phase in ("load", "forward", "backward"):
        return False
    if strategy != "sync" and role != "server" and phase == "update":
        return False
    if kind == "flip":  # only copies that are made by the same updates can be compared
        return strategy == "sync"
    if kind == "disk":
        return role == "first"  # which writes
    if kind == "sigterm" and role != "first":  # ignored; once is enough
        return phase == "exchange"
    return True


def main() -> int:
    """Run the matrix; return the command's status."""
    arguments = parse()
    wanted = arguments.only.split()
    chosen = [cell for cell in cells() if set(wanted) <= set(str(cell).split())]
    if not chosen:
        words = ", ".join(sorted({word for cell in cells() for word in str(cell).split()}))
        print(f"no such cells: --only {arguments.only!r}; expected of {words}", file=sys.stderr)
        return 2
    if arguments.ulfm:
        chosen = [cell for cell in chosen if cell.kind in SURVIVED]
    usual = Path("build/faults/ulfm" if arguments.ulfm else "build/faults")
    out = (arguments.out or usual).resolve()
    out.mkdir(parents=True, exist_ok=True)
    trials = made_before(out, arguments.ulfm)
    have = {(trial.cell, *trial.seed) for trial in trials}
    # Every cell's first trial, then every cell's second: wherever it is stopped, all are alike.
    jobs = [
        (cell, [arguments.seed, number])
        for number in range(arguments.trials)
        for cell in chosen
        if (cell, arguments.seed, number) not in have
    ]
    batches = list(in_batches(jobs))
    events = write_events(out / "events.h5", 60)
    rehearsals = {}
    for strategy in dict.fromkeys(cell.strategy for cell, _ in jobs):
        folder = out / "trials" / strategy
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        rehearsals[strategy] = rehearse(strategy, events, folder)
        shutil.rmtree(folder)

    def run(batch: list[Job]) -> list[Trial]:
        return make(batch, rehearsals[batch[0][0].strategy], events, out, arguments.ulfm)

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ThreadPoolExecutor(AT_A_TIME) as pool,
        Progress(*columns) as progress,
        (out / TRIALS).open("a") as lines,
    ):
        task = progress.add_task("trials", total=len(jobs))
        for trial in chain.from_iterable(pool.map(run, batches)):
            trials.append(trial)
            print(json.dumps(asdict(trial)), file=lines, flush=True)
            progress.advance(task)
            for line in trial.broken:
                progress.console.print(f"{trial.cell}: {line}", markup=False, soft_wrap=True)
    (out / "report.md").write_text(report(trials, arguments.ulfm))
    bad = sum(bool(trial.broken) for trial in trials)
    print(f"{len(trials)} trials, {bad} not as promised: {out / 'report.md'}")
    return int(bad > 0)


def in_batches(jobs: list[Job]) -> Iterator[list[Job]]:
    """Divide jobs into such as go on together: of one strategy, and not too many."""
    for _, group in groupby(jobs, lambda job: job[0].strategy):
        alike = list(group)
        for place in range(0, len(alike), TOGETHER):
            yield alike[place : place + TOGETHER]


def made_before(out: Path, ulfm: bool) -> list[Trial]:
    """The trials that a folder has."""
    if not (out / TRIALS).exists():
        return []
    known = [json.loads(line) for line in (out / TRIALS).read_text().splitlines()]
    return [
        Trial(cell, each["seed"], outcome, broken(cell, outcome, ulfm))
        for each in known
        for cell, outcome in [(Cell(**each["cell"]), Outcome(**each["outcome"]))]
    ]


def make(jobs: list[Job], rehearsal: Rehearsal, events: Path, out: Path, ulfm: bool) -> list[Trial]:
    """Make trials of one strategy, and judge them."""
    strategy = jobs[0][0].strategy
    outcomes = {}
    for cell, seed in jobs:
        folder = out / "trials" / "-".join([*str(cell).split(), *map(str, seed)])
        shutil.rmtree(folder, ignore_errors=True)  # of a trial that was stopped
        folder.mkdir(parents=True)
        seeds = [*seed, *str(cell).encode()]
        outcomes[folder] = suffer(cell, rehearsal, seeds, events, folder, ulfm)
    # Those who lived on have made another result, and have nothing left to do.
    ended = {at: outcome for at, outcome in outcomes.items() if not (ulfm and outcome.finished)}
    if ended:
        go_on_together(ended, LAYOUTS[strategy])
    trials = []
    for (cell, seed), (folder, outcome) in zip(jobs, outcomes.items(), strict=True):
        if folder in ended:
            compare(outcome, rehearsal, LAYOUTS[strategy], folder)
        trials.append(Trial(cell, seed, outcome, broken(cell, outcome, ulfm)))
        if not trials[-1].broken:
            shutil.rmtree(folder)
    return trials


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of every cell")
    parser.add_argument("--only", default="", help="cells that have all of these words")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--ulfm", action="store_true", help="killed ranks shall be outlived")
    parser.add_argument("--out", type=Path, help="build/faults, or with --ulfm build/faults/ulfm")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
