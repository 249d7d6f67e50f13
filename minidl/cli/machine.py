"""``minidl info`` and ``minidl bench``: the machine, described and measured."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from .app import MACHINE, ModelName, app, console


@app.command(group=MACHINE)
def info() -> None:
    """Print versions, the BLAS and its threads, the MPI, the cores, and what to change.

    ```
    minidl info
    mpiexec -n 2 minidl info
    ```
    """
    from .info import print_info

    print_info(console)


bench = App(name="bench", group=MACHINE, help="Measure this machine.")
app.command(bench)


@bench.command
def machine(*, model: ModelName = "hep", out: Path | None = None) -> None:
    """Measure arithmetic and messages, as a description that a virtual cluster takes.

    ```
    minidl bench machine
    minidl bench machine --out machine.json
    ```

    Parameters
    ----------
    out
        Where the description goes, as JSON.
    """
    from .. import parallel  # noqa: F401  (first: it says in a line if there is no MPI)
    from .machine_command import measure_machine

    measure_machine(model, out, console)
