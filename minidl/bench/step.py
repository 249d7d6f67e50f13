"""``minidl bench step``: the time and the memory of a step, beside PyTorch's and the BLAS's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import get_args

from rich.console import Console

from ..errors import UserError
from ..tables import plain_table
from . import engines, torch_engines
from .problem import Problem
from .spread import Spread
from .turns import Engine, Turns, take_turns

MINIDL, SGEMM = "minidl", "sgemm"


@dataclass(frozen=True)
class EngineFigures:
    """How one engine did."""

    seconds: Spread  # of a step
    gflops: Spread  # billions of operations a second, by direct convolution
    of_sgemm: Spread  # that rate over the one of a product of matrices
    peak: float  # bytes


@dataclass(frozen=True)
class StepFigures:
    """How all of them did in one run."""

    sgemm: Spread  # billions of operations a second
    engines: dict[str, EngineFigures]
    left_out: dict[str, str]  # why, by engine
    best: str | None  # of PyTorch's
    speed: Spread | None  # how many times as fast as that minidl is
    memory: float | None  # minidl's peak over the least of PyTorch's


def measure_step(problem: Problem, against: str | None, repetitions: int) -> StepFigures:
    """Let minidl, PyTorch if it is asked for, and a product of matrices take turns.

    Raises
    ------
    UserError
        If PyTorch cannot take part, or does not compute the same.
    """
    competing: dict[str, Engine] = {MINIDL: partial(engines.step, problem)}
    if against:
        theirs = problem.for_torch()
        for way in get_args(torch_engines.Way):
            competing[f"torch {way}"] = partial(torch_engines.step, theirs, way)
    return compare(competing, problem.flops(), problem.threads, repetitions)


def compare(
    competing: Mapping[str, Engine], flops: int, threads: int, repetitions: int
) -> StepFigures:
    """Let minidl and others make steps of so many operations, in turns with a product."""
    if repetitions < 1:
        raise UserError(f"--repetitions must be at least 1, got {repetitions}")
    product = {SGEMM: partial(engines.sgemm, threads)}
    turns = take_turns({**competing, **product}, repetitions)
    names = [name for name in competing if name in turns.answers]
    rivals = [name for name in names if name != MINIDL]
    best = turns.fastest(rivals) if rivals else None
    peaks = {name: turns.spread(name, "peak").largest for name in names}
    return StepFigures(
        Spread.of(answer["flops"] / 1e9 for answer in turns.answers[SGEMM]),
        {name: figures(turns, name, flops) for name in names},
        turns.left_out,
        best,
        turns.ratio(best, MINIDL) if best else None,
        peaks[MINIDL] / min(peaks[name] for name in rivals) if rivals else None,
    )


def figures(turns: Turns, name: str, flops: int) -> EngineFigures:
    """Summarise an engine."""
    rates = [flops / answer["seconds"] for answer in turns.answers[name]]
    peaks = [answer["flops"] for answer in turns.answers[SGEMM]]
    return EngineFigures(
        turns.spread(name),
        Spread.of(rate / 1e9 for rate in rates),
        Spread.of(rate / peak for rate, peak in zip(rates, peaks, strict=True)),
        turns.spread(name, "peak").largest,
    )


def print_step(found: StepFigures, as_json: bool, console: Console) -> None:
    """Print what was measured."""
    if as_json:
        console.print(json.dumps(asdict(found), indent=2), markup=False)
        return
    table = plain_table("engine", ">step, s", ">GFLOP/s", ">over\nsgemm's", ">peak\nMiB")
    for name, row in found.engines.items():
        rates = f"{row.gflops.median:.1f}", f"{row.of_sgemm.median:.2f}"
        table.add_row(name, str(row.seconds), *rates, f"{row.peak / 2**20:.0f}")
    console.print(table)
    console.print(
        f"\nMedian and range. sgemm, a product of large matrices, in turns with the others: "
        f"{found.sgemm} GFLOP/s. Operations are counted by direct convolution; who needs fewer "
        "can be faster than sgemm."
    )
    for name, reason in found.left_out.items():
        console.print(f"Left out: {name}: {reason}", markup=False)
    if found.best:
        console.print(
            f"minidl is {found.speed} times as fast as {found.best}, PyTorch's fastest, and its "
            f"peak memory is {found.memory:.2f} of PyTorch's least. PyTorch's steps are without "
            "the loss: they start backward from a gradient computed before."
        )
