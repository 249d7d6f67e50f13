"""Training without arithmetic: what computes only takes time, what is sent only has a size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.layers import Announce, Layer, Require
from minidl.objective import Batch, Objective
from minidl.optim import Optimizer


class Ghost:
    """An array with a size and without contents. Arithmetic with it does nothing."""

    def __init__(self, size: int, dtype: np.typing.DTypeLike = np.float32) -> None:
        self.size, self.dtype = size, np.dtype(dtype)
        self.nbytes = size * self.dtype.itemsize
        self.data: Any = None  # of messages

    def __itruediv__(self, other: Any) -> Ghost:
        return self

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return options["out"][0]

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return GhostParcel(options["shape"]) if function is np.zeros_like else None

    def view(self, dtype: np.typing.DTypeLike) -> Ghost:
        """Return as many bytes, of another kind."""
        return Ghost(self.nbytes // np.dtype(dtype).itemsize, dtype)


class GhostParcel(Ghost):
    """Bytes of which the first eight have contents: a version. So versions of ghosts are real."""

    def __init__(self, size: int) -> None:
        super().__init__(size, np.uint8)
        self.version = np.zeros(8, np.uint8)

    def __getitem__(self, part: slice) -> np.ndarray | Ghost:
        return self.version if part == slice(8) else Ghost(self.size - 8, np.uint8)


class GhostTotal(Ghost):
    """A sum of losses over one sample: see ``Objective.forward``."""

    def __init__(self) -> None:
        super().__init__(3, np.float64)

    def __getitem__(self, place: int) -> float:
        return self.tolist()[place]

    def tolist(self) -> list[float]:
        """As numbers: the loss, the sample, and that nobody asks to stop."""
        return [0.0, 1.0, 0.0]


class GhostLayer:
    """A layer of which only the size is known."""

    statistics = np.empty(0)

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.parameters = self.gradient = Ghost(size)


class GhostNetwork:
    """Layers of which only sizes are known. All ranks can share one."""

    def __init__(self, layers: Sequence[GhostLayer]) -> None:
        self.everything = list(layers)

    def layers(self) -> list[GhostLayer]:
        """In forward order."""
        return self.everything

    leaves = layers


class GhostObjective:
    """Takes the time of a forward and a backward pass, layer by layer.

    Parameters
    ----------
    compute : function (seconds)
        Lets time pass.
    network : GhostNetwork
    forward_seconds, backward_seconds : sequence of float
        Of each layer.
    slowness : function () -> float
        Asked once an iteration: how many times as long everything takes.
    """

    def __init__(
        self,
        compute: Callable[[float], None],
        network: GhostNetwork,
        forward_seconds: Sequence[float],
        backward_seconds: Sequence[float],
        slowness: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.compute, self.network, self.slowness = compute, network, slowness
        self.layers = network.layers()
        self.forward_seconds, self.backward_seconds = forward_seconds, backward_seconds
        self.total = GhostTotal()

    def forward(self, samples: float, require: Callable[[Any], None]) -> GhostTotal:
        """Take the time of a forward pass."""
        self.factor = self.slowness()
        for layer, seconds in zip(self.layers, self.forward_seconds, strict=True):
            require(layer)
            self.compute(seconds * self.factor)
        return self.total

    def backward(self, announce: Callable[[Any], None]) -> None:
        """Take the time of a backward pass."""
        for layer, seconds in zip(self.layers[::-1], self.backward_seconds[::-1], strict=True):
            self.compute(seconds * self.factor)
            announce(layer)


class TimedObjective:
    """Computes, and takes the time that it would take on the machine, layer by layer.

    In a synchronous group all ranks hold the same parameters: it is enough that one of them
    computes, on the samples of all, while the others are ghosts that take the same time with 0
    samples. In sums, ghosts count as 0.

    Parameters
    ----------
    objective : Objective
        What computes.
    compute, forward_seconds, backward_seconds, slowness
        See ``GhostObjective``.
    times : function (batches) -> float
        How many times these seconds an iteration's batches take.
    """

    def __init__(
        self,
        objective: Objective,
        compute: Callable[[float], None],
        forward_seconds: Sequence[float],
        backward_seconds: Sequence[float],
        slowness: Callable[[], float] = lambda: 1.0,
        times: Callable[[Sequence[Batch]], float] = lambda batches: 1.0,
    ) -> None:
        self.objective, self.compute = objective, compute
        self.slowness, self.times = slowness, times
        self.network, self.layers = objective.network, objective.layers
        self.forward_seconds = dict(zip(self.layers, forward_seconds, strict=True))
        self.backward_seconds = dict(zip(self.layers, backward_seconds, strict=True))

    @property
    def terms(self) -> tuple[str, ...]:
        """Of the loss, if it is a sum."""
        return self.objective.terms

    @property
    def own(self) -> float:
        """The mean loss of this rank's samples."""
        return self.objective.own

    @property
    def origin(self) -> str:
        """Where in backward numbers first were not finite, of a finite loss."""
        return self.objective.origin

    @property
    def asked_to_stop(self) -> bool:
        """Whether this rank was."""
        return self.objective.asked_to_stop

    @asked_to_stop.setter
    def asked_to_stop(self, asked: bool) -> None:
        self.objective.asked_to_stop = asked

    def forward(self, batches: Sequence[Batch], require: Require) -> np.ndarray:
        """Compute the losses, and take the time of one forward pass, over however many batches."""
        self.factor = self.slowness() * self.times(batches)
        to_take = dict(self.forward_seconds)

        def required(layer: Layer) -> None:
            require(layer)
            self.compute(to_take.pop(layer, 0.0) * self.factor)

        return self.objective.forward(batches, required)

    def backward(self, announce: Announce) -> None:
        """Compute the gradients, and take the time of a backward pass."""

        def announced(layer: Layer) -> None:
            self.compute(self.backward_seconds[layer] * self.factor)
            announce(layer)

        self.objective.backward(announced)


class GhostOptimizer:
    """Takes the time of an update."""

    def __init__(self, parameters: Ghost, compute: Callable[[float], None], seconds: float) -> None:
        self.parameters, self.compute, self.seconds = parameters, compute, seconds

    def step(self, gradient: Any, scale: float = 1.0) -> None:
        """Take the time."""
        self.compute(self.seconds)


class TimedOptimizer:
    """Makes an update, and takes the time that it would take on the machine."""

    def __init__(
        self, optimizer: Optimizer, compute: Callable[[float], None], seconds: float
    ) -> None:
        self.optimizer, self.compute, self.seconds = optimizer, compute, seconds
        self.parameters, self.state = optimizer.parameters, optimizer.state

    @property
    def updates(self) -> int:
        """How many were made."""
        return self.optimizer.updates

    @updates.setter
    def updates(self, updates: int) -> None:
        self.optimizer.updates = updates

    @property
    def forgotten(self) -> int:
        """Of how many it remembers nothing."""
        return self.optimizer.forgotten

    @forgotten.setter
    def forgotten(self, forgotten: int) -> None:
        self.optimizer.forgotten = forgotten

    def step(self, gradient: np.ndarray, scale: float = 1.0) -> None:
        """Update, and take the time."""
        self.optimizer.step(gradient, scale)
        self.compute(self.seconds)


class NoStopwatch:
    """Keeps nothing; for more ranks than spans could be kept of."""

    def __call__(self, activity: str, layer: int = -1, peer: int = -1) -> NoStopwatch:
        """Begin to time nothing."""
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        pass
