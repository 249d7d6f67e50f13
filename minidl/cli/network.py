"""``minidl summary`` and ``minidl check``: a network before it is trained."""

from __future__ import annotations

from .. import model
from .app import MODEL, ModelName, app, console


@app.command(group=MODEL, sort_key=1)
def summary(
    name: ModelName,
    /,
    *,
    size: int | None = None,
    channels: int | None = None,
    width: int | None = None,
    **options: str,
) -> None:
    """Print a network's layers: output shape, parameters, floating-point operations.

    ```
    minidl summary hep
    minidl summary hep --size 64 --width 32
    minidl summary climate --preset paper
    ```

    Parameters
    ----------
    size
        Height and width of the images; as the model is meant for unless given.
    channels
        Channels of the images; likewise.
    width
        Width of the network; the model's own unless given.
    options
        The model's own; climate has --preset.
    """
    from ..summary import print_summary

    chosen = model.Model(model.load(name), options)
    print_summary(chosen, model.shape_for(chosen, size, channels), width, console)


@app.command(group=MODEL, sort_key=2)
def check(
    name: ModelName,
    /,
    *,
    size: int | None = None,
    channels: int | None = None,
    width: int = 4,
    seed: int = 1,
    **options: str,
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
        Height and width of the random images it is checked on; small ones unless given.
    channels
        Channels of these images; as the model is meant for unless given.
    width
        Width of the network that is checked.
    seed
        Of the weights, the images and the directions.
    options
        The model's own.
    """
    from .check import print_check

    chosen = model.Model(model.load(name), options)
    shape = model.shape_for(chosen, size, channels, small=True)
    if not print_check(chosen, shape, width, seed, console):
        raise SystemExit(1)
