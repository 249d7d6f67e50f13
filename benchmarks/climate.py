"""A training step of the climate network on the CPU, minidl against PyTorch, as in the paper.

    python benchmarks/climate.py        needs PyTorch: pip install torch
    python benchmarks/climate.py --preset paper
    python benchmarks/climate.py --size 192 --width 16 --repetitions 3

Measured as ``minidl bench step climate`` does, which says more about it: a frame of 768 x 768
pixels and 16 channels unless told otherwise; forward, loss, backward, and SGD with momentum. The
engines take turns, in processes of their own, and first have to compute the same. PyTorch's time
is without the loss. The memory is the largest resident set of a process.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from harness import Floor, command_line, report

from minidl.bench.problem import make_problem
from minidl.bench.step import MINIDL, StepFigures, measure_step
from minidl.tables import plain_table
from minidl_models.climate import SHAPE
from minidl_models.climate.network import PRESETS

MEMORY_FLOOR = 24e9  # bytes; of minidl's process
SPEED_AIM, MEMORY_AIM = 1.5, 1.0  # times as fast as PyTorch's fastest; over PyTorch's least memory


def main() -> None:
    """Measure, and hold against the floors."""
    parser = command_line(__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="public", help="whose filters")
    parser.add_argument("--size", type=int, default=SHAPE[0], help="height and width of the frame")
    parser.add_argument("--width", type=int, help="filters of the first layer; the preset's")
    parser.add_argument("--threads", type=int, default=1, help="of each engine")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each engine")
    arguments = parser.parse_args()
    found = measure(arguments)
    report(arguments, {"step": asdict(found)}, [table_of(found)], floors_of(found))


def measure(arguments: argparse.Namespace) -> StepFigures:
    """Let the engines take turns."""
    problem = make_problem(
        "climate",
        (arguments.size, arguments.size, SHAPE[2]),
        batch_size=1,
        width=arguments.width,
        threads=arguments.threads,
        options={"preset": arguments.preset},
    )
    return measure_step(problem, "torch", arguments.repetitions)


def table_of(found: StepFigures) -> object:
    """Show every engine."""
    table = plain_table("engine", ">step, s", ">GFLOP/s", ">over sgemm's", ">peak, MiB")
    for name, row in found.engines.items():
        rates = f"{row.gflops.median:.1f}", f"{row.of_sgemm.median:.2f}"
        table.add_row(name, str(row.seconds), *rates, f"{row.peak / 2**20:,.0f}")
    return table


def floors_of(found: StepFigures) -> list[Floor]:
    """Hold what was found against the floor and the aims."""
    peak = found.engines[MINIDL].peak
    speed, memory = found.speed, found.memory
    return [
        Floor(
            "memory, GB", f"<= {MEMORY_FLOOR / 1e9:g}", f"{peak / 1e9:.2f}", peak <= MEMORY_FLOOR
        ),
        Floor(
            f"aim: times as fast as {found.best}",
            f">= {SPEED_AIM}",
            str(speed),
            speed.median >= SPEED_AIM,
        ),
        Floor(
            "aim: memory over PyTorch's least",
            f"<= {MEMORY_AIM:g}",
            f"{memory:.2f}",
            memory <= MEMORY_AIM,
        ),
    ]


if __name__ == "__main__":
    main()
