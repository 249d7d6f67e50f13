"""How many threads a rank uses, and what they do.

The BLAS gets one: splitting products of this size over threads gains little. A layer cuts its batch
into lanes instead, and threads take one each. A rank a core, without threads, is still the fastest
way to use a machine; threads are for where ranks would not fit into memory, or batches not divide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
_pool: ThreadPoolExecutor | None = None


def use_threads(count: int) -> None:
    """Let layers use so many threads, and the BLAS one, for the rest of the process."""
    global _pool
    threadpool_limits(1)
    _pool = ThreadPoolExecutor(count) if count > 1 else None


def in_parallel(function: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call ``function`` with every item, on as many threads as there are to use."""
    if _pool is None:
        for item in items:
            function(item)
    else:
        list(_pool.map(function, items))  # raises what a thread raised
