"""What allreduce.py measured: as tables, and as a picture with the crossovers."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from allreduce import LIBRARY
from harness import Spread, report
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from minidl.parallel import costs
from minidl.parallel.costs import COSTS
from minidl.parallel.virtual import CORI
from minidl.picture import save
from minidl.tables import plain_table, size_text

FEW_MESSAGES, FEW_BYTES = "recursive_doubling", "rabenseifner"
CORI_NODES = 1024
COLOURS = {LIBRARY: "black"} | {name: f"C{number}" for number, name in enumerate(COSTS)}
Times = dict[str, dict[str, list[float]]]  # of each size, of each algorithm, seconds of each turn


class Rates(NamedTuple):
    """What the formulas need: seconds, and bytes a second."""

    latency: float
    bandwidth: float
    adding: float = math.inf

    def seconds(self, ranks: int, name: str, size: float) -> float:
        """Return what an algorithm takes."""
        return COSTS[name](ranks).seconds(size, *self)

    def crossover(self, ranks: int) -> float:
        """Return from how many bytes on fewer bytes are worth more messages."""
        return costs.crossover(COSTS[FEW_MESSAGES](ranks), COSTS[FEW_BYTES](ranks), *self)


OF_CORI = Rates(CORI.latency, CORI.bandwidth)


def summarise(
    arguments: argparse.Namespace, machine: dict[str, float], jobs: dict[int, Times]
) -> None:
    """Print what was measured beside what is predicted, and draw it."""
    rates = Rates(machine["step"], machine["bandwidth"], machine["adding"])
    measured = plain_table("between two ranks, and on one", ">measured")
    for name, value in machine.items():
        scaled = value / 1e9 if value > 1 else 1e6 * value
        measured.add_row(f"{name}, {'GB/s' if value > 1 else 'us'}", f"{scaled:.3g}")
    crossovers = plain_table("crossover", ">measured", ">predicted")
    for ranks, job in jobs.items():
        sizes = crossing(job), rates.crossover(ranks)
        crossovers.add_row(f"{ranks} ranks here", *map(where, sizes))
    crossovers.add_row(f"{CORI_NODES} nodes of Cori", "-", where(OF_CORI.crossover(CORI_NODES)))
    tables = [beside_prediction(ranks, job, rates) for ranks, job in jobs.items()]
    report(arguments, {"machine": machine, "jobs": jobs}, [measured, *tables, crossovers], [])
    if arguments.picture:
        draw(arguments.picture, jobs, rates)


def where(size: float) -> str:
    """Write a crossover."""
    return "none" if math.isinf(size) else size_text(size)


def beside_prediction(ranks: int, job: Times, rates: Rates) -> Table:
    """Tabulate what was measured, what the formulas predict, and the ratio to MPI's own."""
    table = plain_table(f"{ranks} ranks", ">ms: median (min-max)", ">predicted", ">over MPI's own")
    for size, times in job.items():
        table.add_section()
        table.add_row(size_text(int(size)))
        for name, seconds in times.items():
            spread, predicted, ratio = Spread.of(1e3 * np.array(seconds)), "-", "-"
            if name != LIBRARY:
                predicted = f"{1e3 * rates.seconds(ranks, name, int(size)):.3g}"
                ratio = str(Spread.of(np.divide(seconds, times[LIBRARY])))
            table.add_row(readable(name), str(spread), predicted, ratio)
    return table


def readable(name: str) -> str:
    """Write an algorithm's name in words."""
    return name.replace("_", " ")


def fastest(job: Times, name: str) -> np.ndarray:
    """Return an algorithm's fastest turn of each size."""
    return np.array([min(times[name]) for times in job.values()])


def crossing(job: Times) -> float:
    """Find from which size on fewer bytes are faster, drawn straight between sizes measured."""
    sizes = np.log([int(size) for size in job])
    slower = np.log(fastest(job, FEW_BYTES) / fastest(job, FEW_MESSAGES))
    last = max((place for place, value in enumerate(slower) if value >= 0), default=-1)
    if last == len(sizes) - 1:
        return math.inf
    if last < 0:
        return float(np.exp(sizes[0]))
    share = slower[last] / (slower[last] - slower[last + 1])
    return float(np.exp(sizes[last] + share * (sizes[last + 1] - sizes[last])))


def draw(path: Path, jobs: dict[int, Times], rates: Rates) -> None:
    """Draw time against size: measured and predicted for each job here, and predicted for Cori."""
    figure = Figure(figsize=(5 * (len(jobs) + 1), 5), layout="constrained")
    *here, there = figure.subplots(1, len(jobs) + 1)
    for axes, (ranks, job) in zip(here, jobs.items(), strict=True):
        measured, predicted = crossing(job), rates.crossover(ranks)
        draw_predicted(axes, [int(size) for size in job], partial(rates.seconds, ranks), predicted)
        draw_measured(axes, job, measured)
        axes.set_title(
            f"{ranks} ranks on {os.cpu_count()} cores: fastest, bars to median\n"
            f"crossover: {where(measured)}; predicted: {where(predicted)}"
        )
    sizes, predicted = np.geomspace(1 << 10, 1 << 26, 65), OF_CORI.crossover(CORI_NODES)
    draw_predicted(there, sizes.tolist(), partial(OF_CORI.seconds, CORI_NODES), predicted)
    there.set_title(f"{CORI_NODES} nodes of Cori\ncrossover, predicted: {where(predicted)}")
    for axes in (*here, there):
        axes.set(xscale="log", yscale="log", xlabel="bytes of the vector")
    figure.axes[0].set_ylabel("seconds of an all-reduce")
    there.plot([], [], color=COLOURS[LIBRARY], marker="o", markersize=4, label=LIBRARY)
    there.legend(fontsize="small", title="measured: solid; predicted: dashed")
    save(figure, path)


def draw_predicted(
    axes: Axes, sizes: list[float], seconds: Callable[[str, float], float], crossover: float
) -> None:
    """Draw the formulas, dashed."""
    for name in COSTS:
        times = [seconds(name, size) for size in sizes]
        axes.plot(sizes, times, "--", color=COLOURS[name], label=readable(name))
    if math.isfinite(crossover):
        axes.axvline(crossover, color="grey", linestyle="--", linewidth=1)


def draw_measured(axes: Axes, job: Times, crossover: float) -> None:
    """Draw the fastest turns, with bars up to the median."""
    sizes = [int(size) for size in job]
    for name, colour in COLOURS.items():
        lowest = fastest(job, name)
        middle = np.array([np.median(times[name]) for times in job.values()])
        style = {"color": colour, "marker": "o", "markersize": 4, "elinewidth": 0.7}
        axes.errorbar(sizes, lowest, [0 * lowest, middle - lowest], **style)
    if math.isfinite(crossover):
        axes.axvline(crossover, color="grey", linewidth=1)
