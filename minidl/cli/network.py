"""``minidl summary`` and ``minidl check``: a network before it is trained."""

from __future__ import annotations

from .. import model
from .app import MODEL, ModelName, app, console


@app.command(group=MODEL, sort_key=1)
def summary(
    name: ModelName, /, *, size: int = 224, channels: int = 3, width: int | None = None
) -> None:
    """Print a network's layers: output shape, parameters, floating-point operations.

    ```
    minidl summary hep
    minidl summary hep --size 64 --width 32
    ```

    Parameters
    ----------
    size
        Height and width of the images.
    channels
        Channels of the images.
    width
        Width of the network; the model's own unless given.
    """
    from ..summary import print_summary

    print_summary(model.load(name), (size, size, channels), width, console)


@app.command(group=MODEL, sort_key=2)
def check(
    name: ModelName, /, *, size: int = 16, channels: int = 3, width: int = 4, seed: int = 1
) -> None:
    """Check every gradient of a network against finite differences, in double precision.

    Where one is wrong, names the tensor, the index, both values and the likely cause, and ends
    with status 1.

    ```
    minidl check hep
    minidl check my_model --size 32 --width 8
    ```

    Parameters
    ----------
    size
        Height and width of the random images it is checked on.
    channels
        Channels of these images.
    width
        Width of the network that is checked.
    seed
        Of the weights, the images and the directions.
    """
    from .check import print_check

    if not print_check(model.load(name), (size, size, channels), width, seed, console):
        raise SystemExit(1)
