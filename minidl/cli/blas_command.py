"""``minidl bench blas``: the products that a network is made of, by one BLAS and by others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from math import prod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.console import Console

from ..bench.spread import Spread
from ..errors import UserError
from ..model import Model, load
from ..summary import build
from ..tables import plain_table
from . import products

Layout = tuple[tuple[int, ...], tuple[int, ...]]  # shape, and strides in bytes
Product = tuple[Layout, Layout]

SHAPE, BATCH, TURNS = (224, 224, 3), 8, 7
SHOWN = 0.005  # of all operations, at least
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def measure_blas(name: str, against: Sequence[Path], console: Console) -> None:
    """Time the products of a training step by the BLAS of this NumPy, in turns with others.

    Raises
    ------
    UserError
        If there is no model of this name, or one of ``against`` is not a Python with NumPy.
    """
    made = products_of(name)
    pythons = [Path(sys.executable), *against]
    names, seconds = take_turns(pythons, list(made))
    for number, (blas, python) in enumerate(zip(names, pythons, strict=True), 1):
        console.print(f"BLAS {number}: {blas}, of the NumPy of {python}")
    others = range(2, len(pythons) + 1)
    table = plain_table(
        "product", ">times", ">% of\nwork",
        *(f">BLAS {number}\nGFLOP/s" for number in range(1, len(pythons) + 1)),
        *(f">speed\n{number} / 1" for number in others),
    )  # fmt: skip
    work = np.array([times * operations(product) for product, times in made.items()])
    spent = seconds * list(made.values())  # (BLAS, turn, product)
    for place in np.argsort(-work):
        if work[place] >= SHOWN * work.sum():
            product = list(made)[place]
            share = f"{100 * work[place] / work.sum():.1f}"
            speeds = figures(work[place], spent[:, :, place])
            table.add_row(described(product), f"{made[product]:,}", share, *speeds)
    table.add_section()
    everything = figures(work.sum(), spent.sum(axis=2))
    table.add_row("a step's", f"{sum(made.values()):,}", "100", *everything)
    console.print(table)
    console.print(
        f"\nThe products of a training step of {name} with {BATCH} images of 224x224x3 on one "
        "thread; ' is transposed. Each is repeated, with its numbers in the cache, and the fastest "
        "time counts; of these times, the median of some turns. Products with "
        f"less than {100 * SHOWN} % of the work are in the sum alone."
    )


def figures(work: float, seconds: np.ndarray) -> list[str]:
    """Write GFLOP/s by each BLAS, then the speed of all but the first over the first's.

    Shapes: seconds (BLAS, turn).
    """
    rates = [f"{np.median(work / turns) / 1e9:.1f}" for turns in seconds]
    return rates + [str(Spread.of(seconds[0] / turns)) for turns in seconds[1:]]


def products_of(name: str) -> Counter[Product]:
    """Every product of matrices that a training step makes, and how many times.

    They are written down as they are made, so what is measured is what is computed. An ``@`` in a
    layer's code cannot be seen: that is weights being prepared, and small.
    """
    network = build(Model(load(name)), SHAPE, None, np.float32)
    made: Counter[Product] = Counter()
    matmul = np.matmul

    def write_down(first: np.ndarray, second: np.ndarray, **options: Any) -> np.ndarray:
        made[(first.shape, first.strides), (second.shape, second.strides)] += 1
        return matmul(first, second, **options)

    with patch.object(np, "matmul", write_down):
        output = network.forward(np.zeros((BATCH, *SHAPE), np.float32))
        network.backward(np.ones_like(output))
    return made


def operations(product: Product) -> int:
    """Floating-point operations, two a multiply-add."""
    (first, _), (second, _) = product
    return 2 * prod(np.broadcast_shapes(first[:-2], second[:-2])) * prod(first[-2:]) * second[-1]


def described(product: Product) -> str:
    """Write ``36 of 128x56' 56x128``: how many products of which shapes."""
    (first, strides), (second, _) = product
    many = prod(np.broadcast_shapes(first[:-2], second[:-2]))
    transposed = "'" if strides[-1] > strides[-2] else ""
    text = f"{first[-2]}x{first[-1]}{transposed} {second[-2]}x{second[-1]}"
    return f"{many} of {text}" if many > 1 else text


def take_turns(pythons: Sequence[Path], asked: Sequence[Product]) -> tuple[list[str], np.ndarray]:
    """Name the BLAS of each Python, and time products by them in turns: (BLAS, turn, product).

    Raises
    ------
    UserError
        If one of them is not a Python with NumPy.
    """
    with ExitStack() as stack:
        workers = [(python, stack.enter_context(start(python))) for python in pythons]
        names = [answer(*worker, asked) for worker in workers]
        turns = [[answer(*worker, None) for worker in workers] for _ in range(TURNS)]
    return names, np.array(turns).swapaxes(0, 1)


def start(python: Path) -> subprocess.Popen[str]:
    """Start ``products.py`` there."""
    # As text, not as a file: the modules beside it are not to be found by that Python.
    command = [str(python), "-c", Path(products.__file__).read_text()]
    environment, pipe = {**os.environ, **ONE_THREAD}, subprocess.PIPE
    try:
        return subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
    except OSError as error:
        raise UserError(f"--against {python}: cannot be started: {error.strerror}") from None


def answer(python: Path, worker: subprocess.Popen[str], question: object) -> Any:
    """Send a line of JSON and read one."""
    assert worker.stdin and worker.stdout and worker.stderr
    try:
        print(json.dumps(question), file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())
    except (OSError, ValueError):
        worker.kill()
        with suppress(OSError):  # there may be nobody who reads the rest of the question
            worker.stdin.close()
        said = worker.stderr.read().strip().splitlines() or ["it gave no answer"]
        raise UserError(
            f"--against {python}: not a Python with NumPy 1.26 or newer: {said[-1]}"
        ) from None
