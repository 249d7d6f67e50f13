"""``minidl info`` and ``minidl bench``: the machine, described and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from ..model import load, shape_for
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
    """Measure arithmetic, memory and messages, as a description that a virtual cluster takes.

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


@bench.command
def blas(*, model: ModelName = "hep", against: tuple[Path, ...] = ()) -> None:
    """Measure the products that a network is made of, by the BLAS of this NumPy and by others.

    ```
    minidl bench blas
    minidl bench blas --against build/mkl/bin/python
    ```

    Parameters
    ----------
    against
        The Python of another environment, whose NumPy has another BLAS; or several.
    """
    from .blas_command import measure_blas

    measure_blas(model, against, console)


@bench.command
def step(
    name: ModelName,
    /,
    *,
    size: int | None = None,
    channels: int | None = None,
    batch_size: int = 8,
    width: int | None = None,
    threads: int = 1,
    inference: bool = False,
    against: Literal["torch"] | None = None,
    repetitions: int = 7,
    json: bool = False,
    **options: str,
) -> None:
    """Measure a training step: forward, loss, backward and update; its memory, and PyTorch's.

    ```
    minidl bench step hep --against torch
    minidl bench step hep --against torch --threads 2
    minidl bench step my_model --size 64 --inference
    ```

    Each of those compared is a process of its own, and they take turns.

    Parameters
    ----------
    size
        Height and width of the images; as the model is meant for unless given.
    channels
        Channels of the images; likewise.
    batch_size
        Images of a step.
    width
        Width of the network; the model's own unless given.
    threads
        Of each of those compared.
    inference
        Forward and loss only.
    against
        PyTorch with the same network: eager in both layouts, and compiled.
    repetitions
        Turns that count; one more comes before.
    json
        Print the figures as JSON.
    options
        The model's own; climate has --preset.
    """
    from ..bench.problem import make_problem
    from ..bench.step import measure_step, print_step

    shape = shape_for(load(name), size, channels)
    problem = make_problem(name, shape, batch_size, width, threads, inference, options)
    print_step(measure_step(problem, against, repetitions), json, console)


@bench.command
def layers(
    name: ModelName,
    /,
    *,
    size: int | None = None,
    channels: int | None = None,
    batch_size: int = 8,
    width: int | None = None,
    threads: int = 1,
    data: Path | None = None,
    against: Literal["torch"] | None = None,
    repetitions: int = 7,
    json: bool = False,
    picture: Path | None = None,
    **options: str,
) -> None:
    """Measure where the time of a training step goes: every layer's forward and backward.

    ```
    minidl bench layers hep --data train.h5 --picture layers.png
    minidl bench layers hep --against torch
    ```

    Parameters
    ----------
    size
        Height and width of the images; as the model is meant for unless given.
    channels
        Channels of the images; likewise.
    batch_size
        Images of a step.
    width
        Width of the network; the model's own unless given.
    threads
        Of a step.
    data
        An HDF5 file to read every batch from; its images' size counts, not --size.
    against
        PyTorch's time of each layer, in its better layout.
    repetitions
        Turns that count; one more comes before.
    json
        Print the figures as JSON.
    picture
        Where a picture of them goes.
    options
        The model's own; climate has --preset.
    """
    from .. import picture as pictures
    from ..bench.layers import measure_layers, print_layers
    from ..bench.layers_picture import draw
    from ..bench.problem import image_shape, make_problem

    if picture:
        pictures.check_path(picture, "--picture")
    shape = image_shape(name, data) if data else shape_for(load(name), size, channels)
    problem = make_problem(name, shape, batch_size, width, threads, options=options)
    found = measure_layers(problem, data, against, repetitions)
    print_layers(found, json, console)
    if picture:
        pictures.save(draw(found), picture)
