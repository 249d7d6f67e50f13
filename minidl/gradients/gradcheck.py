"""Is a gradient right? Move the numbers a little and see whether the result follows.

Backward claims how everything that comes behind a layer would change with each of its numbers.
Whether that is so can be measured without knowing any derivative, by differences::

    gradient . u  =  slope of f along u,    f = the layer's output times random factors

The factors stand for all that may come behind. A small tensor is measured number by number; a
large one at some of its numbers and along random directions u, each of which would show an error
anywhere in the tensor. How a slope is measured: ``differences.py``. What a wrong gradient looks
like: ``diagnosis.py``.

Source: the idea to project an operation of any size onto random directions is that of the
checker in HIPS/autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layers import Layer
from ..losses import LossAndGradient
from .diagnosis import Evidence, likely_cause
from .differences import STEPS, Function
from .gradient_report import Failure, Report, TensorReport

TOLERANCE = 1e-5  # relative to a tensor's gradient: finds one that is wrong by 0.1 %
SMALL = 64  # numbers that a tensor may have to be measured one by one
SAMPLES, DIRECTIONS = 16, 4  # measured in a larger one
EVIDENCE = 256  # numbers measured at most to find out what is wrong

NOT_OVERWRITTEN = (
    "the gradient holds numbers that are not finite: backward never computes them, or adds to "
    "what was there instead of overwriting it"
)
AT_KINKS = (
    "nothing can be said: most slopes differ between their two sides, as at a ReLU's zero or "
    "where several numbers of a window are the largest; take random numbers that are all different"
)


def check_layer(layer: Layer, x: np.ndarray, generator: np.random.Generator) -> Report:
    """Check a layer's or container's gradients by all of its parameters and by its input.

    Every evaluation starts from the same running statistics and random generators, so that
    dropout draws the same mask each time; but for its gradients the layer is left as it was.

    Parameters
    ----------
    layer : Layer
        Built with ``dtype=np.float64``.
    x : np.ndarray of float64
        A batch, best of random numbers: equal ones and zeros are where maxima and ReLUs have
        their kinks.
    generator : np.random.Generator
        Draws the factors of the output, the directions, and the numbers to measure.

    Raises
    ------
    ValueError
        If the layer or x are of another precision, or the output is not finite or not the same
        a second time.
    """
    (generator,) = generator.spawn(1)  # the layer may hold the same one and be put back
    x = _double("x", x)
    forward = _repeatable(layer, x)
    dy = _map(lambda y: generator.standard_normal(y.shape), forward())
    function = Function(lambda: list(_arrays(forward())), list(_arrays(dy)))
    return _report(function, _gradients(layer, x, forward, dy), generator)


def check_network(
    network: Layer,
    loss: Callable[[Any, Any], LossAndGradient],
    x: np.ndarray,
    target: Any,
    generator: np.random.Generator,
) -> Report:
    """Check the gradients of ``loss(network(x), target)``, as ``check_layer`` does."""
    (generator,) = generator.spawn(1)
    x = _double("x", x)
    forward = _repeatable(network, x)
    function = Function(lambda: [np.array([loss(forward(), target)[0]])], [np.ones(1)])
    _, dy = loss(forward(), target)
    return _report(function, _gradients(network, x, forward, dy), generator)


def check_loss(
    loss: Callable[[Any], LossAndGradient], output: Any, generator: np.random.Generator
) -> Report:
    """Check a loss's gradient by the output, an array of float64 or a tuple of arrays.

    The target is bound before: ``check_loss(lambda y: mean_squared_error(y, target), ...)``.
    """
    output = _map(lambda part: _double("output", part), output)
    function = Function(lambda: [np.array([loss(output)[0]])], [np.ones(1)])
    _, dy = loss(output)
    pairs = zip(_arrays(output), _arrays(dy), strict=True)
    tensors = [_Tensor("loss", "output", *pair, _counts(pair[0].shape)) for pair in pairs]
    return _report(function, tensors, generator)


@dataclass(frozen=True)
class _Tensor:
    """Numbers that are changed in place to see what follows, and backward's claim about them."""

    layer: str
    name: str
    values: np.ndarray
    gradient: np.ndarray
    counts: dict[str, int]


def _gradients(
    layer: Layer, x: np.ndarray, forward: Callable[[], Any], dy: Any
) -> Iterator[_Tensor]:
    """Run backward once and take down what it says about every parameter and the input."""
    for leaf in layer.layers():
        _double(leaf.name, leaf.parameters)
        leaf.gradient[...] = np.nan  # shows what backward does not overwrite
    forward()
    dx = layer.backward(_map(np.copy, dy))
    for leaf, shape, _ in layer.trace(x.shape[1:]):
        gradients, counts = leaf.views(leaf.gradient.copy()), _counts((len(x), *shape), leaf)
        for name, values in leaf.views(leaf.parameters).items():
            yield _Tensor(leaf.name, name, values, gradients[name], counts)
    if dx is not None:
        yield _Tensor(layer.name, "input", x, np.array(dx), _counts(x.shape, layer))


def _report(
    function: Function, tensors: Iterable[_Tensor], generator: np.random.Generator
) -> Report:
    return Report(tuple(_check(function, tensor, generator) for tensor in tensors))


def _check(function: Function, tensor: _Tensor, generator: np.random.Generator) -> TensorReport:
    """Compare slopes with what backward says they are."""
    values, gradient = tensor.values, tensor.gradient
    names = (tensor.layer, tensor.name, values.shape)
    if gradient.shape != values.shape:
        shapes = f"{gradient.shape} for numbers of shape {values.shape}"
        return TensorReport(*names, 0, 0, np.inf, Failure(f"the gradient has shape {shapes}"))
    if not np.isfinite(gradient).all():
        return TensorReport(*names, 0, 0, np.inf, Failure(NOT_OVERWRITTEN))
    errors = [
        _error(function, tensor, direction) for direction in _directions(values.shape, generator)
    ]
    told = [error for error in errors if error is not None]
    failure = None
    if max(told, default=0.0) > TOLERANCE:
        failure = _explain(function, tensor, generator)
    elif len(told) < len(errors) / 2:
        failure = Failure(AT_KINKS)
    skipped = len(errors) - len(told)
    return TensorReport(*names, len(errors), skipped, max(told, default=0.0), failure)


def _error(function: Function, tensor: _Tensor, direction: np.ndarray) -> float | None:
    """By how much backward is off along a direction; None if there is a kink."""
    allowed = _allowed(function, tensor.gradient, direction)
    slope = function.slope(tensor.values, direction)
    if not slope.resolved(allowed):
        return None
    return float(TOLERANCE * abs(np.vdot(tensor.gradient, direction) - slope.value) / allowed)


def _explain(function: Function, tensor: _Tensor, generator: np.random.Generator) -> Failure:
    """Measure more of a tensor whose gradient is wrong, to see where and how."""
    gradient = tensor.gradient
    allowed = _allowed(function, gradient, np.ones(1))
    some = generator.permutation(gradient.size)[:EVIDENCE]
    measured = {
        element: function.slope(tensor.values, _unit(gradient.shape, element))
        for element in {_suspect(function, tensor, generator), *some.tolist()}
    }
    slopes = {element: slope for element, slope in measured.items() if slope.resolved(allowed)}
    evidence = Evidence(
        gradient=gradient,
        elements=np.array(list(slopes)),
        by_sample=np.array([slope.by_sample for slope in slopes.values()]),
        values=tensor.values,
        noise=function.noise,
        counts=tensor.counts,
    )
    worst = max(slopes, key=lambda element: abs(gradient.flat[element] - slopes[element].value))
    index = tuple(int(i) for i in np.unravel_index(worst, gradient.shape))
    numeric = tuple(zip(STEPS, slopes[worst].central.tolist(), strict=True))
    return Failure(likely_cause(evidence), index, float(gradient[index]), numeric)


def _suspect(function: Function, tensor: _Tensor, generator: np.random.Generator) -> int:
    """Find a wrong number, even a single one of millions, by halving the tensor."""
    suspects = np.arange(tensor.gradient.size)
    while len(suspects) > 1:
        halves, errors = np.array_split(suspects, 2), []
        for half in halves:
            direction = np.zeros(tensor.gradient.shape)
            direction.flat[half] = generator.standard_normal(len(half))
            errors.append(_error(function, tensor, direction) or 0.0)
        suspects = halves[int(np.argmax(errors))]
    return int(suspects[0])


def _allowed(function: Function, gradient: np.ndarray, direction: np.ndarray) -> float:
    """Error of a slope that is put down to rounding."""
    typical = np.sqrt(np.mean(gradient * gradient)) * np.linalg.norm(direction)
    return float(TOLERANCE * typical + function.noise)


def _directions(shape: tuple[int, ...], generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Every single number of a small tensor; a few of a large one, and random directions."""
    size = int(np.prod(shape))
    few = range(size) if size <= SMALL else generator.choice(size, SAMPLES, replace=False)
    for element in few:
        yield _unit(shape, element)
    for _ in range(DIRECTIONS if size > SMALL else 0):
        yield generator.standard_normal(shape)


def _unit(shape: tuple[int, ...], element: int) -> np.ndarray:
    direction = np.zeros(shape)
    direction.flat[element] = 1
    return direction


def _repeatable(layer: Layer, x: np.ndarray) -> Callable[[], Any]:
    """Forward of a copy of x, which comes out the same each time and leaves no trace."""
    statistics = [(leaf.statistics, leaf.statistics.copy()) for leaf in layer.leaves()]
    generators = [
        (held, held.bit_generator.state)
        for leaf in layer.leaves()
        for held in vars(leaf).values()
        if isinstance(held, np.random.Generator)
    ]

    def forward() -> Any:
        y = layer.forward(x.copy())
        for current, before in statistics:
            current[...] = before
        for generator, state in generators:
            generator.bit_generator.state = state
        return y

    return forward


def _counts(shape: tuple[int, ...], leaf: Layer | None = None) -> dict[str, int]:
    """Numbers that sums run over: wrong factors come from dividing by one of them, or not."""
    counts = {"the batch size": shape[0], "the number of elements": int(np.prod(shape))}
    if len(shape) == 4:
        counts["the number of pixels"] = shape[1] * shape[2]
    if windows := getattr(leaf, "windows", None):
        counts["the number of pixels in a window"] = int(np.prod(windows.kernel))
    return counts


def _double(name: str, array: np.ndarray) -> np.ndarray:
    """Copy of an array that is precise enough to measure differences of."""
    if array.dtype != np.float64:
        raise ValueError(
            f"{name}: gradients are checked in float64, this is {array.dtype}: "
            "build layers with dtype=np.float64 and draw float64 data"
        )
    return array.copy()


def _map(function: Callable[[np.ndarray], np.ndarray], outputs: Any) -> Any:
    """Apply a function to an array, or to every array of a tuple, which may hold tuples."""
    if isinstance(outputs, tuple):
        return tuple(_map(function, part) for part in outputs)
    return function(outputs)


def _arrays(outputs: Any) -> Iterator[np.ndarray]:
    """The arrays of an output that may be a tuple of tuples."""
    if isinstance(outputs, tuple):
        for part in outputs:
            yield from _arrays(part)
    else:
        yield outputs
