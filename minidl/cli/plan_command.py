"""``minidl plan``: runs in virtual time, their table and picture, and a recommendation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .. import picture
from ..data import Batches
from ..errors import UserError
from ..files import write_whole
from ..model import shape_for
from ..simulate import plan_folder
from ..simulate.plan import Case, Plan
from ..simulate.plan_picture import draw
from ..simulate.plan_runs import Told, make_runs
from ..simulate.verdict import NEVER, Choice, at_the_edge, json_values, judge, recommendation
from ..simulate.work import Work, work_of
from ..tables import counted, plain_table, size_text, times
from ..validation import Validation
from .info import usable_cores

DEFINITIONS = (
    "parallel speed-up: an epoch's time on one node, which has the whole batch, over this one's. "
    "learning speed-up: the time to the target of the best synchronous run over this one's (time "
    "to a target: DAWNBench, Coleman et al., 2017; both figures: DeepEx, Yoginath et al., 2019). "
    "A run that ends above the target has not reached it. Medians and ranges are over seeds."
)


def plan_command(
    plan: Plan, target: float | None, out: Path, as_json: bool, console: Console
) -> None:
    """Learn what is not learnt yet, and say what that comes to.

    Raises
    ------
    UserError
        For whatever the user can put right.
    """
    if "PMI_RANK" in os.environ or "PMIX_RANK" in os.environ:
        raise UserError("plan starts its own processes, one a core; start it without mpiexec")
    if target is not None and not target > 0:
        raise UserError(f"--target must be a positive number, got {target}")
    work = work_of(plan.model, plan.options)
    shape = check(plan, work)
    plan_folder.claim(out, plan)
    told = Console(stderr=True, soft_wrap=True, highlight=False) if as_json else console
    for line in described(plan, work, shape):
        told.print(line)
    learn(plan, out, told)
    conclude(plan, work, target, out, as_json, console)


def conclude(
    plan: Plan, work: Work, target: float | None, out: Path, as_json: bool, console: Console
) -> None:
    """Judge what was learnt; print the table and the recommendation, and draw the curves."""
    curves = {case: plan_folder.load(plan_folder.path_of(out, case)) for case in plan.cases()}
    target, choices = judge(plan, work, curves, target)
    said = f"{recommendation(choices, target)} {at_the_edge(plan, choices)}".rstrip()
    figures = {
        "asked": plan.to_json(),
        "target": target,
        "choices": [choice.to_json() for choice in choices],
        "recommendation": said,
    }
    text = json.dumps(json_values(figures), indent=2)
    write(out / "plan.json", text)
    picture.save(draw(choices, target, title(plan)), out / "plan.png")
    if as_json:
        print(text)
        return
    for table in tables(choices, target):
        console.print(table)
        console.print()
    console.print(f"{DEFINITIONS}\n\n{said}")
    console.print(f"wrote {out}: plan.png, plan.json, and a curve for each run")


def check(plan: Plan, work: Work) -> tuple[int, ...]:
    """Raise ``UserError`` for what no run could be made with; return the images' shape."""
    model, dataset = plan.open()
    samples = len(dataset.dataset)
    Batches(samples, 1, 0, plan.nodes, 1)
    if plan.validation:
        Validation(model, plan.validation, 1, 1)
    for batch in plan.batch_sizes:
        if batch > samples:
            raise UserError(
                f"--batch-sizes {batch} is more than the {samples:,} samples of an epoch; it is "
                "that of all nodes together"
            )
    for case in plan.cases():
        shape = plan.learning(case, model, dataset, work).shape
    return shape


def learn(plan: Plan, out: Path, console: Console) -> None:
    """Make the runs that the folder does not have, and show how it goes."""
    cases = plan.cases()
    missing = [case for case in cases if not plan_folder.path_of(out, case).exists()]
    if len(missing) < len(cases):
        console.print(f"{out}: has {len(cases) - len(missing)} of {len(cases)} runs; goes on")
    done, shares = len(cases) - len(missing), dict[Case, float]()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=len(missing))

        def tell(told: Told) -> None:
            nonlocal done
            shares[told.case] = told.share
            bar.update(
                task,
                completed=sum(shares.values()),
                description=f"run {done + 1} of {len(cases)}: loss {told.loss:.3f}",
            )
            if told.done:
                done += 1
                console.print(f"{done}/{len(cases)}  {told.case.name}: last loss {told.loss:.4f}")

        if missing:
            make_runs(plan, out, missing, len(usable_cores()), tell)


def described(plan: Plan, work: Work, shape: tuple[int, ...]) -> Iterator[str]:
    """Say what is computed, and what is charged for."""
    machine = plan.machine
    yield (
        f"Computed: {plan.model}, {plan.width} filters, {times(shape)} images, "
        f"{counted(plan.epochs, 'epoch')}; {counted(len(plan.cases()), 'run')}."
    )
    yield (
        f"Charged: {plan.model} as it is meant for, {times(shape_for_work(plan))} images, "
        f"{work.operations / 1e9:.4g} GFLOP a sample, {size_text(sum(work.bytes))} of parameters, "
        f"on {plan.nodes:,} nodes of {machine.name} and a server for each layer; jitter "
        f"{machine.jitter:g}. Seconds are virtual."
    )


def shape_for_work(plan: Plan) -> tuple[int, ...]:
    """The images that are charged for."""
    return shape_for(plan.open()[0], None, None)


def title(plan: Plan) -> str:
    """Of the picture."""
    return (
        f"{plan.model} on {plan.nodes:,} nodes of {plan.machine.name}, simulated: each at its best "
        f"momentum\ncomputed with {plan.width} filters; charged for the full network and images"
    )


def tables(choices: list[Choice], target: float) -> list[Any]:
    """Tabulate what learns fastest of each number of groups and batch, and what it has cost."""
    learning = plain_table(
        ">groups", ">batch", ">momentum", ">learning\nrate", f">seconds to\nloss {target:.4g}",
        ">range", ">learning\nspeed-up",
    )  # fmt: skip
    clock = plain_table(
        ">groups", ">batch", ">seconds\nan epoch", ">parallel\nspeed-up", ">mean\nstaleness",
        *(f">validation\n{name}" for name in choices[0].validation),
    )  # fmt: skip
    for choice in choices:
        seconds, speedup = choice.seconds, choice.learning_speedup
        learning.add_row(
            str(choice.groups), f"{choice.batch_size:,}", f"{choice.momentum:g}",
            f"{choice.learning_rate:g}", time_told(seconds.median),
            f"{time_told(seconds.smallest)}-{time_told(seconds.largest)}",
            "-" if math.isnan(speedup) else f"{speedup:.2f}",
        )  # fmt: skip
        clock.add_row(
            str(choice.groups), f"{choice.batch_size:,}", f"{choice.epoch:.4g}",
            f"{choice.parallel_speedup:.1f}", f"{choice.staleness:.2f}",
            *(f"{value:.4f}" for value in choice.validation.values()),
        )  # fmt: skip
    return [learning, clock]


def time_told(seconds: float) -> str:
    """Write a time to the target."""
    return "never" if seconds == NEVER else f"{seconds:.4g}"


def write(path: Path, text: str) -> None:
    """Write a file, or raise ``UserError``."""
    try:
        write_whole(path, f"{text}\n".encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
