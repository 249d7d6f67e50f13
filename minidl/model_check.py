"""Whether a module is a model: its constants at once, what its functions return whenever they do.

Whoever writes a model finds out in one line which of its parts is not as ``model.py`` says. What
goes wrong inside of its functions is theirs: it ends the run with their traceback.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from types import ModuleType
from typing import Any

import numpy as np

from .errors import UserError
from .layers import Layer
from .settings import Settings

REQUIRED = ("FIELDS", "network", "loss", "prepare", "shape")
MOST_SHOWN = 60  # characters of something wrong


def check_module(name: str, module: ModuleType) -> None:
    """Look at all of a module that can be judged before anything is called.

    Raises
    ------
    UserError
        If it lacks a part that a model must have, or has one of another kind.
    """
    lacking = [part for part in REQUIRED if not hasattr(module, part)]
    if lacking:
        raise UserError(
            f"model {name!r} ({getattr(module, '__file__', None) or 'no file'}) lacks "
            f"{', '.join(lacking)}; a model is a module with {', '.join(REQUIRED)} "
            "(see minidl/model.py)"
        )
    for part, (is_right, expected) in CONSTANTS.items():
        if hasattr(module, part) and not is_right(getattr(module, part)):
            raise _wrong(f"{name}.{part}", getattr(module, part), expected)
    for part, (form, _) in FUNCTIONS.items():
        if hasattr(module, part) and not _is_function(getattr(module, part)):
            raise _wrong(f"{name}.{part}", getattr(module, part), f"a function {part}{form}")
    options = getattr(module, "OPTIONS", {})
    try:
        for field in module.FIELDS:
            field.format(**options)
    except (LookupError, ValueError, AttributeError) as error:
        raise UserError(
            f"{name}.FIELDS: {module.FIELDS!r}: {error!r}; in braces stand names of OPTIONS: "
            f"{', '.join(options) or 'it has none'}"
        ) from None
    try:
        Settings(**getattr(module, "DEFAULTS", {}))
    except (UserError, TypeError) as error:
        raise UserError(f"{name}.DEFAULTS: {error}; expected settings of minidl train") from None


def checked(module: str, name: str, function: Callable) -> Callable:
    """Return one of a model's functions with a look at how it is called and what it returns.

    It raises ``UserError`` where that is not as ``FUNCTIONS`` has it.
    """
    form, problem_of = FUNCTIONS[name]
    signature = inspect.signature(function)

    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise UserError(
                f"{module}.{name}: cannot be called: {error}; expected {name}{form}"
            ) from None
        try:
            returned = function(*arguments, **keywords)
        except UserError as error:
            if name != "loss":  # the others name the file that they refuse
                raise
            raise UserError(f"{module}.loss: {error}") from None
        problem = problem_of(returned, *arguments)
        if problem:
            raise UserError(f"{module}.{name}: {problem}; expected {name}{form}")
        return returned

    return call


def check_input(module: str, network: Layer, x: np.ndarray) -> None:
    """Raise ``UserError`` unless a network takes the x that ``prepare`` returned."""
    dtype = network.layers()[0].parameters.dtype
    if x.dtype != dtype:
        raise UserError(f"{module}.prepare: its x is {x.dtype}; the network computes in {dtype}")
    try:
        network.output_shape(x.shape[1:])
    except (ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"{module}.prepare: its x is of shape {x.shape}, which the network does not take: "
            f"{error}"
        ) from None


def _wrong(what: str, value: Any, expected: str) -> UserError:
    return UserError(f"{what}: expected {expected}; got {_shown(value)}")


def _shown(value: Any) -> str:
    """A value in few words."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({type(value).__name__})"


def _is_function(value: Any) -> bool:
    """Whether it can be called, and says with what."""
    try:
        inspect.signature(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(
        isinstance(name, str) for name in value
    )


def _is_options(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and name.isidentifier() and type(default) in (str, int, float)
        for name, default in value.items()
    )


def is_shape(value: Any) -> bool:
    """Whether it is (H, W, C), all of them positive."""
    return (
        isinstance(value, tuple | list)
        and len(value) == 3
        and all(isinstance(size, Integral) and int(size) > 0 for size in value)
    )


def _is_plain(value: Any) -> bool:
    """Whether it is a dictionary that JSON can say."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _is_names_of_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(number, Real) for name, number in value.items()
    )


def _form(value: Any) -> Any:
    """The shape of an array of numbers; of several, all of their shapes."""
    if isinstance(value, tuple | list):
        return tuple(map(_form, value))
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.shape
    return _shown(value) if isinstance(value, np.ndarray) else type(value).__name__


# What is wrong with a function's result, if anything; the function's arguments follow it.


def _network(returned: Any, *_: Any) -> str | None:
    if not isinstance(returned, Layer):
        return f"returned {_shown(returned)}, which is no layer of minidl"
    return None if returned.layers() else "returned a network that has nothing to learn"


def _loss(returned: Any, output: Any, *_: Any) -> str | None:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        return f"returned {_shown(returned)}"
    value, dy = returned
    if not isinstance(value, Real):
        return f"its value is {_shown(value)}, which is no number"
    if _form(dy) != _form(output):
        return f"its gradient has shape {_form(dy)}, the output {_form(output)}"
    return None


def _prepare(returned: Any, samples: Mapping[str, Any], *_: Any) -> str | None:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        return f"returned {_shown(returned)}"
    x, count = returned[0], len(samples["index"])
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or not x.ndim:
        return f"its x is {_shown(x)}, which is no array of floating-point numbers"
    return None if len(x) == count else f"its x has shape {x.shape}, of {count} samples"


def _returns(is_right: Callable[[Any], bool]) -> Callable[..., str | None]:
    """What is wrong with a result that can be judged by itself."""
    return lambda returned, *_: None if is_right(returned) else f"returned {_shown(returned)}"


_is_three: tuple[Callable[[Any], bool], str] = (is_shape, "three positive numbers (H, W, C)")
CONSTANTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "FIELDS": (lambda value: _is_names(value) and bool(value), "a sequence of names of arrays"),
    "GAPS": (_is_names, "a sequence of names of arrays"),
    "DEFAULTS": (_is_plain, "a dictionary of settings"),
    "OPTIONS": (_is_options, "a dictionary of names and defaults, words or numbers"),
    "SHAPE": _is_three,
    "SMALL_SHAPE": _is_three,
}
FUNCTIONS: dict[str, tuple[str, Callable[..., str | None]]] = {
    "network": ("(shape, generator, *, width, dtype) -> Layer", _network),
    "loss": ("(output, target) -> (value, dy)", _loss),
    "prepare": ("(samples, chances) -> (x, target)", _prepare),
    "shape": ("(dataset) -> (H, W, C)", _returns(is_shape)),
    "measure": ("(dataset, tell) -> dict of plain values", _returns(_is_plain)),
    "metrics": ("(output, target) -> dict of numbers", _returns(_is_names_of_numbers)),
    "evaluate": ("(batches, dataset, folder) -> dict of plain values", _returns(_is_plain)),
    "report": ("(figures) -> iterable of str", _returns(lambda v: isinstance(v, Iterable))),
    "random_target": ("(output, generator) -> target", _returns(lambda _: True)),
}
