"""What a model is: a module with a handful of functions.

``minidl train NAME`` takes the name of an installed model (``hep``) or the import path of a
user's own module, which is looked for in the working directory too. The library knows models
only through this page:

``FIELDS``
    Names of the arrays that a sample has in the HDF5 files.
``DEFAULTS`` (optional)
    Settings of a run that suit this model: any field of ``minidl.settings.Settings``.
``network(shape, generator, *, width, dtype) -> Layer``
    Build the network for images of ``shape`` (H, W, C). ``width`` is left out where the user
    names none.
``loss(output, target) -> (value, dy)``
    The mean over the batch, and its gradient by the output.
``prepare(samples, chances) -> (x, target)``
    Turn arrays as they are in the files (``FIELDS``, channel-first) into what the network and
    the loss take. ``chances``, (samples, 8) uniform in [0, 1), are for augmentation; ``None``
    where nothing may be random.
``shape(dataset) -> (H, W, C)``
    Check the data set (``UserError`` where it does not fit) and return its images' shape.
``metrics(output, target) -> dict`` (optional)
    Figures beside the loss, each a mean over the batch.
``evaluate(outputs, dataset, folder) -> dict`` (optional)
    Judge the outputs for a whole data set; leave pictures in ``folder``; return figures as plain
    numbers, strings, lists and dictionaries.
``report(figures) -> iterable of str`` (optional)
    Say these figures in lines for a person.
``random_target(output, generator) -> target`` (optional)
    A target for a batch of such outputs, for ``minidl check``. Where it is missing, the output
    must be (N, K), and the targets are labels 0 to K - 1.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import numpy as np

from .errors import UserError

REQUIRED = ("FIELDS", "network", "loss", "prepare", "shape")


def installed() -> list[str]:
    """Names of the models that are installed beside the library."""
    return sorted({entry.name for entry in entry_points(group="minidl.models")})


def load(name: str) -> ModuleType:
    """Import a model by its name or its path.

    Raises
    ------
    UserError
        If there is none, it cannot be imported, or it lacks a required part.
    """
    known = {entry.name: entry.value for entry in entry_points(group="minidl.models")}
    path = known.get(name, name)
    # Last, so that a file of the user's never hides an installed package.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(path)
    except (ModuleNotFoundError, ValueError, TypeError) as error:
        missing = getattr(error, "name", None) or name
        if path == missing or path.startswith(f"{missing}."):
            raise UserError(
                f"no model {name!r}: expected one of {', '.join(known)} or the import path of a "
                "module, such as my_model for my_model.py in this folder"
            ) from None
        raise UserError(f"model {name!r} needs {missing!r}, which is not installed") from None
    lacking = [part for part in REQUIRED if not hasattr(module, part)]
    if lacking:
        raise UserError(
            f"model {name!r} ({module.__file__}) lacks {', '.join(lacking)}; "
            "a model is a module with " + ", ".join(REQUIRED) + " (see minidl/model.py)"
        )
    return module


def random_target(module: ModuleType, output: Any, generator: np.random.Generator) -> Any:
    """Draw a target for a batch of outputs: the model's own way, or else labels of classes."""
    if hasattr(module, "random_target"):
        return module.random_target(output, generator)
    if isinstance(output, np.ndarray) and output.ndim == 2:
        return generator.integers(output.shape[1], size=len(output))
    raise UserError(
        f"{module.__name__}: its network is no classifier, whose targets would be labels; "
        "add random_target(output, generator) -> target to the module (see minidl/model.py)"
    )
