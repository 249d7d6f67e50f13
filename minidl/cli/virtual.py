"""``minidl explore``: ranks that are not there."""

from __future__ import annotations

from typing import Literal

from ..errors import UserError
from .app import RUN, app, console


@app.command(group=RUN, sort_key=8)
def explore(
    *,
    strategy: Literal["async", "hybrid"] = "async",
    groups: int = 2,
    group_size: int = 1,
    servers: int = 2,
    layers: int = 2,
    iterations: int = 2,
    staleness_bound: int | None = None,
) -> None:
    """Run a small training in every order in which its messages can arrive, and check each.

    In one process, on a virtual cluster. Ends with status 1 if a promise of the strategy is broken.

    ```
    minidl explore
    minidl explore --groups 3 --servers 1 --layers 1
    minidl explore --strategy hybrid --group-size 2
    ```

    Parameters
    ----------
    groups
        Workers of async, groups of hybrid.
    group_size
        Ranks in each group of hybrid.
    servers
        They hold the layers.
    layers
        Of the network.
    iterations
        Of every group. The number of schedules grows very fast with it.
    staleness_bound
        As for train.
    """
    from .. import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from ..parallel.virtual.promises import Case
    from .exploration import print_exploration

    if strategy == "async" and group_size > 1:
        raise UserError("--group-size goes with --strategy hybrid")
    case = Case(
        strategy, groups, group_size, servers, layers, iterations, staleness_bound=staleness_bound
    )
    if not print_exploration(case, console):
        raise SystemExit(1)
