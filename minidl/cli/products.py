"""Time products of matrices by the BLAS of whichever Python runs this file: it needs NumPy alone.

``blas_command.py`` starts it. Reads a list of products, each the shape and strides of both of its
factors, and says what the BLAS is called; then says for every line how many seconds each takes.
"""

import json
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

# So many repetitions, and for so many seconds, that one of them is not disturbed.
TIMES, LONG_ENOUGH = 5, 3e-3


def main() -> None:
    """Answer until standard input ends."""
    products = [
        (factor(*first), factor(*second)) for first, second in json.loads(sys.stdin.readline())
    ]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    print(json.dumps(f"{blas['name']} {blas['version']}"), flush=True)
    for _ in sys.stdin:
        print(json.dumps([seconds(*product) for product in products]), flush=True)


def factor(shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Lay out a matrix, or several, as it lies in the network; strides are in bytes."""
    last = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return as_strided(np.ones(last // 4 + 1, np.float32), shape, strides)


def seconds(first: np.ndarray, second: np.ndarray) -> float:
    """Seconds of one product: the fastest of many."""
    out = np.matmul(first, second)
    passed: list[float] = []
    while len(passed) < TIMES or sum(passed) < LONG_ENOUGH:
        start = time.perf_counter()
        np.matmul(first, second, out=out)
        passed.append(time.perf_counter() - start)
    return min(passed)


if __name__ == "__main__":
    main()
