"""What a model is: a module with a handful of functions.

``minidl train NAME`` takes the name of an installed model (``hep``) or the import path of a
user's own module, which is looked for in the working directory too. The library knows models
only through this page:

``FIELDS``
    Names of the arrays that a sample has in the HDF5 files; ``"{NAME}"`` is what the option NAME
    says.
``GAPS`` (optional)
    Those of them in which NaN says that a value is missing; in others it is an error.
``DEFAULTS`` (optional)
    Settings of a run that suit this model: any field of ``minidl.settings.Settings``.
``OPTIONS`` (optional)
    Settings of the model's own, as a dictionary of name and default: more flags of ``minidl
    train``. Functions that have a keyword of that name are given the option.
``SHAPE``, ``SMALL_SHAPE`` (optional)
    (H, W, C) of images as the model is meant for, and of the smallest that show all of it: for
    ``minidl summary``, ``bench`` and ``check``.
``network(shape, generator, *, width, dtype) -> Layer``
    Build the network for images of ``shape`` (H, W, C). ``width`` is left out where the user
    names none.
``loss(output, target) -> (value, dy)``
    The mean over the batch, and its gradient by the output. A value of the kind
    ``minidl.losses.Sum`` has its terms logged.
``prepare(samples, chances) -> (x, target)``
    Turn arrays as they are in the files (``FIELDS``, channel-first) into what the network and
    the loss take. ``chances``, (samples, 8) uniform in [0, 1), are for augmentation; ``None``
    where nothing may be random. ``samples["index"]`` says which samples of the data set they are.
``shape(dataset) -> (H, W, C)``
    Check the data set (``UserError`` where it does not fit) and return its images' shape.
``measure(dataset, tell) -> dict`` (optional)
    What has to be known about the data that are trained on, their mean for instance, as plain
    values: kept with the run, and given to functions as options are. ``tell(line)`` says how it
    goes.
``metrics(output, target) -> dict`` (optional)
    Figures beside the loss, each a mean over the batch.
``evaluate(batches, dataset, folder) -> dict`` (optional)
    Judge the network on a whole data set, whose (output, target) come batch by batch, in order;
    leave pictures in ``folder``; return figures as plain numbers, strings, lists and dictionaries.
``report(figures) -> iterable of str`` (optional)
    Say these figures in lines for a person.
``PUBLISHED`` (optional)
    Speed-ups to show beside those that ``minidl scaling`` predicts, each a
    ``minidl.simulate.published.Published``.
``random_target(output, generator) -> target`` (optional)
    A target for a batch of such outputs, for ``minidl check``. Where it is missing, the output
    must be (N, K), and the targets are labels 0 to K - 1.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .data import Dataset, Samples
from .errors import UserError
from .layers import Layer
from .layers.layer import Shape
from .model_check import FUNCTIONS, check_input, check_module, checked


def installed() -> list[str]:
    """Names of the models that are installed beside the library."""
    return sorted({entry.name for entry in entry_points(group="minidl.models")})


def load(name: str) -> ModuleType:
    """Import a model by its name or its path.

    Raises
    ------
    UserError
        If there is none, it cannot be imported, or it is not as this page says.
    """
    known = {entry.name: entry.value for entry in entry_points(group="minidl.models")}
    path = known.get(name, name)
    # Last, so that a file of the user's never hides an installed package.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        if not all(part.isidentifier() for part in path.split(".")):
            raise ModuleNotFoundError(name=path)
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if path == missing or path.startswith(f"{missing}."):
            raise UserError(
                f"no model {name!r}: expected one of {', '.join(known)} or the import path of a "
                "module, such as my_model for my_model.py in this folder"
            ) from None
        raise UserError(f"model {name!r} needs {missing!r}, which is not installed") from None
    check_module(name, module)
    return module


MOST = 2**16  # pixels along a side of an image, or channels


class Model:
    """A model whose options are chosen.

    It has what the module has; but its functions are given those options, and what was measured,
    that they name as keywords, and what they return is looked at: ``UserError`` says in which of
    them something is not as this page says.

    Parameters
    ----------
    module : module
        As this page describes one.
    options : dict
        Of ``OPTIONS``, in place of the defaults: numbers and words, also as text.

    Raises
    ------
    UserError
        If there is no such option, or it is not of the default's type.
    """

    def __init__(self, module: Any, options: dict[str, Any] | None = None) -> None:
        self.module = module
        self.options = dict(getattr(module, "OPTIONS", {}))
        self.measured: dict[str, Any] = {}
        self._network: Layer | None = None  # the last that was built, which x has to fit
        for name, value in (options or {}).items():
            if name not in self.options:
                known = ", ".join(f"--{other}" for other in self.options) or "none"
                raise UserError(f"{module.__name__} has no option --{name}; it has: {known}")
            kind = type(self.options[name])
            try:
                self.options[name] = kind(value)
            except ValueError:
                raise UserError(
                    f"--{name} {value}: expected a value like {self.options[name]!r}"
                ) from None

    def __getattr__(self, name: str) -> Any:
        """What the module has."""
        value = getattr(self.module, name)
        if name not in FUNCTIONS:
            return value
        keywords = inspect.signature(value).parameters
        chosen = self.options | self.measured
        given = {key: chosen[key] for key in chosen if key in keywords}
        return checked(self.module.__name__, name, partial(value, **given))

    def network(self, *arguments: Any, **keywords: Any) -> Layer:
        """Build the network; what ``prepare`` returns has to fit the last one that was built."""
        if keywords.get("width", 1) < 1:
            raise UserError(f"--width must be at least 1, got {keywords['width']}")
        self._network = self.__getattr__("network")(*arguments, **keywords)
        return self._network

    def prepare(self, samples: Samples, chances: np.ndarray | None) -> tuple[np.ndarray, Any]:
        """Turn arrays as they are in the files into what the network and the loss take."""
        x, target = self.__getattr__("prepare")(samples, chances)
        if self._network is not None:
            check_input(self.module.__name__, self._network, x)
        return x, target

    def open(self, paths: Sequence[Path]) -> Dataset:
        """Open files as a data set of this model."""
        fields = [field.format(**self.options) for field in self.FIELDS]
        return Dataset(paths, fields, getattr(self, "GAPS", ()))

    def figures(self, output: Any, target: Any) -> dict[str, float]:
        """The loss of a batch, its terms if it is a sum, and the metrics: all means."""
        loss = self.loss(output, target)[0]
        figures = {"loss": float(loss), **getattr(loss, "terms", {})}
        return figures | (self.metrics(output, target) if hasattr(self, "metrics") else {})

    def measure_on(self, dataset: Dataset, tell: Callable[[str], None]) -> None:
        """Measure what functions have to be given, if there is such a thing."""
        if hasattr(self, "measure"):
            self.measured = self.measure(dataset, tell)


def shape_for(module: Any, size: int | None, channels: int | None, small: bool = False) -> Shape:
    """(H, W, C) as asked for, or as the model is meant for.

    Raises
    ------
    UserError
        If images cannot have that size, or so many channels.
    """
    for flag, value in (("--size", size), ("--channels", channels)):
        if value is not None and not 1 <= value <= MOST:
            raise UserError(f"{flag} must be from 1 to {MOST}, got {str(value)[:20]}")
    name, usual = ("SMALL_SHAPE", (16, 16, 3)) if small else ("SHAPE", (224, 224, 3))
    height, width, own = getattr(module, name, usual)
    return size or height, size or width, channels or own


def random_target(module: Any, output: Any, generator: np.random.Generator) -> Any:
    """Draw a target for a batch of outputs: the model's own way, or else labels of classes."""
    if hasattr(module, "random_target"):
        return module.random_target(output, generator)
    if isinstance(output, np.ndarray) and output.ndim == 2:
        return generator.integers(output.shape[1], size=len(output))
    raise UserError(
        f"{module.__name__}: its network is no classifier, whose targets would be labels; "
        "add random_target(output, generator) -> target to the module (see minidl/model.py)"
    )
