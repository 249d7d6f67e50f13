"""How many threads a rank's matrix products use."""

from __future__ import annotations

from threadpoolctl import threadpool_limits


def one_thread_a_rank() -> None:
    """Keep the BLAS at one thread for the rest of the process.

    A rank a core is the fastest way to use a machine: splitting products of this size over
    threads gains little, and threads of several ranks on the same cores lose a lot.
    """
    threadpool_limits(1)
