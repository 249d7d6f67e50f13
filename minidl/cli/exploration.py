"""``minidl explore``: every order in which the messages of a small training can arrive."""

from __future__ import annotations

import time

from rich.console import Console

from ..errors import UserError
from ..parallel.virtual import VirtualError, explore
from ..parallel.virtual.promises import BrokenPromiseError, Case, run
from ..tables import counted

SHOW_EVERY = 200  # schedules
MOST_DIGITS = 340  # base 8, the most that a float64 reaches; see Case.targets


def print_exploration(case: Case, console: Console) -> bool:
    """Run every schedule of the case; print how many there are, and whether all is as promised.

    Schedules that apply gradients in the same order still differ in when a server hears that a
    group has left. Those are run, too: only a server that is right is sure not to care.

    Raises
    ------
    UserError
        If so many ranks cannot be dealt so, or the bound on staleness is too small.
    """
    bound = case.staleness_bound
    if case.groups < 1 or case.group_size < 1 or case.servers < 1:
        raise UserError("--groups, --group-size and --servers must be at least 1")
    if case.layers < case.servers or case.iterations < 1:
        raise UserError("--layers must be at least as many as --servers, --iterations at least 1")
    if bound is not None and bound < case.groups - 1:
        raise UserError(f"--staleness-bound {bound} is too small; expected {case.groups - 1}")
    if case.digits > MOST_DIGITS:
        raise UserError(
            f"layers x workers x iterations is {case.digits}, which is too large; expected at most "
            f"{MOST_DIGITS}"
        )
    start = time.perf_counter()
    schedules, orders, finals, stalest = 0, set(), set(), 0
    try:
        with console.status("exploring") as status:
            for told in explore(lambda choose: run(case, choose)):
                schedules += 1
                finals.add(b"".join(layer.tobytes() for layer in told[0].final))
                updates = sorted(row for rank in told for row in rank.updates)
                orders.add(tuple(updates))
                stalest = max(stalest, *(made - 1 - read for _, _, read, made in updates))
                if schedules % SHOW_EVERY == 0:
                    status.update(f"exploring: {schedules:,} schedules so far")
    except (BrokenPromiseError, VirtualError, RuntimeError) as error:
        console.print(f"Schedule {schedules + 1}: {error}")
        return False
    seconds = time.perf_counter() - start
    roles = case.roles
    console.print(
        f"{case.strategy}: {counted(roles.groups, 'group')} of {roles.group_size}, "
        f"{counted(roles.servers, 'server')}, {counted(case.layers, 'layer')}, "
        f"{counted(case.iterations, 'iteration')}: {counted(schedules, 'schedule')} "
        f"in {seconds:.1f} s"
    )
    console.print(
        f"Gradients are applied in {counted(len(orders), 'distinct order')}, ending in "
        f"{counted(len(finals), 'distinct network')}."
    )
    console.print(f"The stalest update was {counted(stalest, 'update')} stale.")
    console.print("Every promise holds in all of them, no schedule deadlocks, all ranks end.")
    return True
