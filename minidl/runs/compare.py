"""``minidl compare``: the three strategies on equal terms, in one table and one picture.

What the terms are: see ``terms.py``; what the figures mean: ``outcome.py`` and ``speedup.py``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ..cli.info import usable_cores
from ..errors import UserError
from ..run import read_log
from ..settings import Settings
from ..tables import counted
from .launcher import find_mpiexec, flags, launch
from .terms import Terms, Trial, trials_of

if TYPE_CHECKING:
    from .comparison import Comparison


def compare_command(
    name: str,
    settings: Settings,
    terms: Terms,
    out: Path,
    overwrite: bool,
    as_json: bool,
    console: Console,
) -> None:
    """Train with every strategy in turn, print what each achieved, and draw it.

    Parameters
    ----------
    settings : Settings
        Of the hybrid run; the others leave out what they do not have.
    terms : Terms
    out : Path
        Each run's folder goes in there, with compare.json and compare.png.

    Raises
    ------
    UserError
        For whatever the user can put right.
    SystemExit
        If a run breaks down.
    """
    if "PMI_RANK" in os.environ or "PMIX_RANK" in os.environ:
        raise UserError("compare starts mpiexec itself, once a strategy; start it without mpiexec")
    runs = trials_of(settings, terms, out)
    find_mpiexec()
    earlier = earlier_runs(out, overwrite) - {trial.folder for trial in runs}
    # Whatever ends this process ends the run with it, as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup's
            signal.signal(number, signal.default_int_handler)
    progress = Console(stderr=True, soft_wrap=True, highlight=False) if as_json else console
    for trial in runs:
        train(name, trial, overwrite, progress)
        check_accuracy(trial, terms)
        discard(earlier, out)  # not before a run: the settings may be such that none can be made
    comparison = judge(runs, terms, out)
    text = json.dumps({"model": name, **comparison.to_json()}, indent=2)
    write(out / "compare.json", text + "\n")
    if as_json:
        print(text)
        return
    console.print(comparison.table())
    for remark in (*comparison.definitions(), *comparison.remarks(len(usable_cores()))):
        console.print(remark)
    console.print(f"wrote {out}: compare.png, compare.json, and a folder for each run")


def earlier_runs(out: Path, overwrite: bool) -> set[Path]:
    """Find the runs of an earlier comparison, which may be replaced.

    Raises
    ------
    UserError
        If they shall not be, or something else is in the folder.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; expected a folder for the runs")
    if not out.exists() or not any(out.iterdir()):
        return set()
    if not overwrite:
        raise UserError(
            f"{out}: exists already; name another folder with --out, or replace it with --overwrite"
        )
    runs = {
        settings.parent
        for folder in ("", "seed-*/")
        for strategy in ("serial", "sync", "async", "hybrid")
        for settings in out.glob(f"{folder}{strategy}/settings.json")
    }
    if not runs:
        raise UserError(f"{out}: is not the folder of a comparison, and will not be replaced")
    return runs


def discard(earlier: set[Path], out: Path) -> None:
    """Remove what is left of an earlier comparison, and will not be written anew."""
    for run in earlier:
        shutil.rmtree(run, ignore_errors=True)
        if run.parent != out and run.parent.is_dir() and not any(run.parent.iterdir()):
            run.parent.rmdir()
    for name in ("compare.json", "compare.png"):
        (out / name).unlink(missing_ok=True)


def train(name: str, trial: Trial, overwrite: bool, console: Console) -> None:
    """Make one run; keep what it prints in its folder, and show it in one line."""
    label, ranks = trial.label, counted(trial.ranks, "rank")
    lines, start = list[str](), time.perf_counter()
    arguments = ["train", name, *flags(trial.settings), "--out", str(trial.folder)]
    with console.status(f"{label}, {ranks}") as status:

        def tell(line: str) -> None:
            lines.append(line)
            if line.startswith("iteration"):
                status.update(f"{label}: {line.split('  ')[0]}  {line.split('  ')[-1]}")

        code = launch(trial.ranks, arguments + ["--overwrite"] * overwrite, tell)
    printed = trial.folder / "output.txt"
    if printed.parent.is_dir():
        write(printed, "\n".join(lines) + "\n")
    if code:
        said = [line.removeprefix("minidl: ") for line in lines if line.startswith("minidl: ")]
        if said:
            raise UserError(f"{label}: {said[-1]}")
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
        what = errors[-1] if errors else f"status {code}"
        where = f"; see {printed}" if printed.exists() else ""
        raise SystemExit(f"minidl: {label}: the run broke down: {what}{where}")
    seconds = time.perf_counter() - start
    console.print(f"{label}: finished on {ranks}, in {seconds:.0f} s with start and end")


def check_accuracy(trial: Trial, terms: Terms) -> None:
    """Raise ``UserError`` if an accuracy is wanted of a model that tells none."""
    checks = [event for event in read_log(trial.folder) if event["event"] == "validation"]
    if terms.target_accuracy is not None and "accuracy" not in checks[-1]:
        raise UserError(
            "--target-accuracy: this model's validation tells no accuracy; leave it, or add "
            "accuracy to the module's metrics (see minidl/model.py)"
        )


def write(path: Path, text: str) -> None:
    """Write a file; raise ``UserError`` where that fails."""
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error}") from None


def judge(runs: Sequence[Trial], terms: Terms, out: Path) -> Comparison:
    """Measure the runs against one target, and draw them."""
    # Not before the last run: this starts MPI in this process, and Matplotlib takes a second.
    from .. import picture, record
    from . import plot
    from .comparison import Comparison
    from .outcome import lowest, measure
    from .seeds_picture import draw_seeds

    curves: dict[str, list[plot.Curve]] = {}
    for trial in runs:
        own = plot.read_curve(trial.folder, trial.settings.strategy)
        curves.setdefault(own.label, []).append(own)
    target = terms.target_loss
    if target is None:
        target = max(lowest(curve) for same in curves.values() for curve in same)
    comparison = Comparison(
        target, terms.target_accuracy, chosen_afterwards=terms.target_loss is None
    )
    for trial in runs:
        strategy, seed = trial.settings.strategy, trial.settings.seed
        same = comparison.outcomes.setdefault(strategy, [])
        curve, made = curves[strategy][len(same)], record.load(trial.folder)
        log, accuracy = read_log(trial.folder), terms.target_accuracy
        same.append(measure(seed, curve, log, made, target, accuracy))
    comparison.relate()
    if comparison.seeds > 1:
        figure = draw_seeds(curves, target)
    else:
        figure = plot.draw([curve for (curve,) in curves.values()], target)
    picture.save(figure, out / "compare.png")
    return comparison
