"""``minidl generate`` and ``minidl inspect``: data sets, made and looked at."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from cyclopts import App

from .app import DATA, app, console

generate = App(
    name="generate",
    group=DATA,
    help="Make a data set.",
)
app.command(generate)
for entry in entry_points(group="minidl.generators"):
    generate.command(entry.value, name=entry.name)


@app.command(group=DATA)
def inspect(file: Path, /, *, picture: Path | None = None) -> None:
    """Say what is in a data set: shapes, classes, statistics, and a picture of some samples.

    ```
    minidl inspect events.h5
    minidl inspect events.h5 --picture samples.png
    ```

    Parameters
    ----------
    file
        An HDF5 file.
    picture
        Where the picture goes; beside the file unless named.
    """
    from .inspect import inspect_file

    inspect_file(file, picture, console)
