"""One training step of the HEP network on the CPU: minidl against PyTorch.

    python benchmarks/step.py                  compares where PyTorch is: pip install torch
    python benchmarks/step.py --size 64 --width 32 --repetitions 15

Measured: the seconds of forward, loss and backward, and of the optimiser's update (Adam), from
the same images and weights in float32. PyTorch runs eager, in both memory layouts; the faster one
counts. Each engine lives in a process of its own and waits there for its turn: minidl, PyTorch,
PyTorch channels-last, minidl, ... So what disturbs the machine disturbs all of them, and each
turn gives one ratio. The first turn, which allocates, does not count.

Peak memory is the largest resident set of the engine's process, import included. GFLOP/s count
the operations of direct convolution.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from engines import ENGINES, make_problem
from harness import Floor, Spread, command_line, environment, report

from minidl.tables import plain_table

TIME_FLOOR, MEMORY_FLOOR = 1.2, 1.0


def main() -> None:
    """Measure, or be one of the engines' processes."""
    parser = command_line(__doc__)
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch-size", type=int, default=8, help="images of a step")
    parser.add_argument("--width", type=int, default=128, help="filters of each convolution")
    parser.add_argument("--threads", type=int, default=1, help="threads of an engine's products")
    parser.add_argument("--repetitions", type=int, default=7, help="turns of each engine")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
        return
    names = list(ENGINES) if find_spec("torch") else ["minidl"]
    if len(names) == 1:
        print("no PyTorch to compare with: pip install torch (extra: torch)", file=sys.stderr)
    problem = make_problem(arguments.size, arguments.batch_size, arguments.width)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        np.savez(path, **problem)
        answers = take_turns(names, path, arguments.threads, arguments.repetitions)
    losses = [answers[name][0]["loss"] for name in names]
    if not np.allclose(losses, losses[0], rtol=1e-4):
        sys.exit(f"the engines do not compute the same: losses {losses}")
    summarise(arguments, answers, int(problem["flops"]))


def take_turns(
    names: Sequence[str], problem: Path, threads: int, repetitions: int
) -> dict[str, list[dict[str, float]]]:
    """Let each engine answer in turn, ``repetitions`` times after a first turn."""
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--worker", name],
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    for worker in workers.values():
        print(problem, file=worker.stdin, flush=True)
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(1 + repetitions):
        for name, worker in workers.items():
            print(file=worker.stdin, flush=True)
            answer = worker.stdout.readline() or sys.exit(f"the process of {name} ended")
            answers[name].append(json.loads(answer))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return answers


def work(name: str) -> None:
    """Read the problem's path, then take one step and update for every line of standard input."""
    with np.load(sys.stdin.readline().rstrip("\n")) as arrays:
        step, update = ENGINES[name](dict(arrays))
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = step()
        middle = time.perf_counter()
        update()
        end = time.perf_counter()
        answer = {"loss": loss, "step": middle - start, "with update": end - start}
        print(json.dumps({**answer, "peak": peak_bytes()}), flush=True)


def peak_bytes() -> int:
    """Return the largest resident set that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def summarise(
    arguments: argparse.Namespace, answers: dict[str, list[dict[str, float]]], flops: int
) -> None:
    """Print every engine's figures, and the ratios against the best of PyTorch."""
    counted = {name: turns[1:] for name, turns in answers.items()}
    engines: dict[str, dict[str, Any]] = {}
    table = plain_table("engine", ">step, s", ">with update, s", ">GFLOP/s", ">peak MiB")
    for name, turns in counted.items():
        step = Spread.of(turn["step"] for turn in turns)
        whole = Spread.of(turn["with update"] for turn in turns)
        rate, peak = flops / step.median / 1e9, turns[-1]["peak"] / 2**20
        engines[name] = {"step": step, "with update": whole, "gflops": rate, "peak_mib": peak}
        table.add_row(name, str(step), str(whole), f"{rate:.0f}", f"{peak:.0f}")
    floors = []
    rivals = [name for name in engines if name != "minidl"]
    if rivals:
        for part in ("step", "with update"):
            best = min(rivals, key=lambda name: engines[name][part].median)
            pairs = zip(counted["minidl"], counted[best], strict=True)
            ratio = Spread.of(mine[part] / theirs[part] for mine, theirs in pairs)
            held = ratio.median <= TIME_FLOOR
            what = f"{part}: minidl / {best}"
            floors.append(Floor(what, f"<= {TIME_FLOOR}", str(ratio), held))
        least = min(engines[name]["peak_mib"] for name in rivals)
        memory = engines["minidl"]["peak_mib"] / least
        what = "peak memory: minidl / torch, lesser"
        floors.append(Floor(what, f"<= {MEMORY_FLOOR}", f"{memory:.2f}", memory <= MEMORY_FLOOR))
    report(arguments, {"engines": engines}, [table], floors)


if __name__ == "__main__":
    main()
