"""``minidl compare``: the three strategies on equal terms, in one table and one picture.

Equal are the data, the seed, the workers, the samples of each pass and the number of passes, so
that every strategy sees as many samples in all. Parameter servers come on top of the workers.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ..cli.info import usable_cores
from ..errors import UserError
from ..run import read_log
from ..settings import Settings
from ..tables import plain_table
from .launcher import find_mpiexec, flags, launch

if TYPE_CHECKING:
    from .outcome import Outcome


def compare_command(
    name: str,
    settings: Settings,
    ranks: int,
    target: float | None,
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
    ranks : int
        Workers of each run.
    target : float or None
        A training loss, to say when each run reached it; the largest final one unless given.
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
    runs = settings_of_each(settings, ranks)
    find_mpiexec()
    check_folder(out, overwrite)
    # Whatever ends this process ends the run with it, as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup's
            signal.signal(number, signal.default_int_handler)
    progress = Console(stderr=True, soft_wrap=True, highlight=False) if as_json else console
    for own in runs.values():
        train(name, own, ranks + (own.servers or 0), out, overwrite, progress)
    target, outcomes = judge(out, target)
    figures = {strategy: asdict(outcome) for strategy, outcome in outcomes.items()}
    text = json.dumps({"model": name, "target_loss": target, **figures}, indent=2)
    write(out / "compare.json", text + "\n")
    if as_json:
        print(text)
        return
    console.print(table(outcomes, target))
    for remark in remarks(outcomes, len(usable_cores())):
        console.print(remark)
    console.print(f"wrote {out}: compare.png, compare.json, and a folder for each run")


def settings_of_each(settings: Settings, ranks: int) -> dict[str, Settings]:
    """Derive the settings of the three runs, by strategy, from those of the hybrid one.

    Raises
    ------
    UserError
        If so many workers cannot be dealt so.
    """
    groups, servers = settings.groups or 2, settings.servers or 1
    if ranks < 1 or ranks % groups:
        raise UserError(
            f"--ranks {ranks} workers cannot be dealt to {groups} equal groups; "
            "change --ranks or --groups"
        )
    hybrid = replace(settings, strategy="hybrid", groups=groups, servers=servers)
    asynchronous = replace(hybrid, strategy="async", groups=None)
    synchronous = replace(
        asynchronous,
        strategy="sync",
        servers=None,
        staleness_bound=None,
        scale_by_staleness=False,
    )
    for each in (hybrid, asynchronous):
        each.roles(ranks + servers)
    return {"sync": synchronous, "async": asynchronous, "hybrid": hybrid}


def check_folder(out: Path, overwrite: bool) -> None:
    """Raise ``UserError`` rather than write among files that are not a comparison's."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; expected a folder for the runs")
    if not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise UserError(
            f"{out}: exists already; name another folder with --out, or replace it with --overwrite"
        )
    if not (out / "sync" / "settings.json").exists():
        raise UserError(f"{out}: is not the folder of a comparison, and will not be replaced")
    for name in ("compare.json", "compare.png"):  # of other runs than those to come
        (out / name).unlink(missing_ok=True)


def train(
    name: str, settings: Settings, ranks: int, out: Path, overwrite: bool, console: Console
) -> None:
    """Run one strategy; keep what it prints in its folder, and show it in one line."""
    strategy, lines, start = settings.strategy, list[str](), time.perf_counter()
    arguments = ["train", name, *flags(settings), "--out", str(out / strategy)]
    with console.status(f"{strategy}, {ranks} ranks") as status:

        def tell(line: str) -> None:
            lines.append(line)
            if line.startswith("iteration"):
                status.update(f"{strategy}: {line.split('  ')[0]}  {line.split('  ')[-1]}")

        code = launch(ranks, arguments + ["--overwrite"] * overwrite, tell)
    printed = out / strategy / "output.txt"
    if printed.parent.is_dir():
        write(printed, "\n".join(lines) + "\n")
    if code:
        said = [line.removeprefix("minidl: ") for line in lines if line.startswith("minidl: ")]
        if said:
            raise UserError(f"{strategy}: {said[-1]}")
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
        what = errors[-1] if errors else f"status {code}"
        where = f"; see {printed}" if printed.exists() else ""
        raise SystemExit(f"minidl: {strategy}: the run broke down: {what}{where}")
    seconds = time.perf_counter() - start
    console.print(f"{strategy}: finished on {ranks} ranks, in {seconds:.0f} s with start and end")


def write(path: Path, text: str) -> None:
    """Write a file; raise ``UserError`` where that fails."""
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error}") from None


def judge(out: Path, target: float | None) -> tuple[float, dict[str, Outcome]]:
    """Measure the runs against one target, draw them, and return both."""
    # Not before the last run: this starts MPI in this process, and Matplotlib takes a second.
    from .. import picture, record
    from . import plot
    from .outcome import measure

    curves = {
        strategy: plot.read_curve(out / strategy, strategy)
        for strategy in ("sync", "async", "hybrid")
    }
    if target is None:
        target = max(float(curve.mean[-1]) for curve in curves.values())
    outcomes = {
        strategy: measure(curve, read_log(out / strategy), record.load(out / strategy), target)
        for strategy, curve in curves.items()
    }
    picture.save(plot.draw(list(curves.values()), target), out / "compare.png")
    return target, outcomes


def table(outcomes: Mapping[str, Outcome], target: float) -> Table:
    """Lay the figures out, a column for each strategy."""
    lines = plain_table("", *(f">{strategy}" for strategy in outcomes))
    columns = [column(outcome, target) for outcome in outcomes.values()]
    for title in columns[0]:
        lines.add_row(title, *(texts[title] for texts in columns))
    return lines


def column(o: Outcome, target: float) -> dict[str, str]:
    """Write the figures of one strategy out, by their titles."""
    return {
        "workers + servers": f"{o.workers} + {o.servers}" if o.servers else f"{o.workers}",
        "groups": f"{o.groups}",
        "time": f"{o.seconds:.1f} s",
        "samples/s": f"{o.samples_per_second:.1f}",
        "updates of a layer": f"{o.updates:,}",
        "staleness: mean (largest)": text(o.staleness_mean, "{:.2f}", "-")
        + text(o.staleness_max, " ({})", ""),
        "training loss at the end": f"{o.loss:.4f}",
        **{
            f"validation {name}": text(value, "{:.4f}", "not finite")
            for name, value in o.validation.items()
        },
        f"time to loss {target:.4g}": text(o.seconds_to_target, "{:.1f} s", "not reached"),
        f"samples to loss {target:.4g}": text(o.samples_to_target, "{:,}", "not reached"),
        "workers' time spent waiting": f"{o.waiting:.1%}",
        "busiest server's time spent busy": text(o.busiest_server, "{:.1%}", "-"),
    }


def text(value: float | None, form: str, otherwise: str) -> str:
    """Write a number in a form, or what is said where there is none."""
    return otherwise if value is None else form.format(value)


def remarks(outcomes: Mapping[str, Outcome], cores: int) -> list[str]:
    """Say what keeps the comparison from being a fair one."""
    said = []
    seen = {strategy: outcome.samples for strategy, outcome in outcomes.items()}
    if len(set(seen.values())) > 1:
        numbers = ", ".join(f"{strategy} {samples:,}" for strategy, samples in seen.items())
        said.append(f"The runs did not see equally many samples: {numbers}.")
    most = max(outcome.workers + outcome.servers for outcome in outcomes.values())
    if most > cores:
        said.append(
            f"Up to {most} ranks shared {cores} cores: samples/s and waiting are those of such a "
            "machine."
        )
    return said
