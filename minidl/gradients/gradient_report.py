"""What a gradient check has found, and how it is put to the reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """Where a gradient is wrong, by how much, and why.

    Attributes
    ----------
    cause : str
        What is probably wrong, in a sentence.
    index : tuple of int, or None
        The worst number of the tensor; None where no single one can be told.
    analytic : float
        What backward says about it.
    numeric : tuple of (float, float)
        What differences say: each step and the slope measured with it.
    """

    cause: str
    index: tuple[int, ...] | None = None
    analytic: float = 0.0
    numeric: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class TensorReport:
    """The verdict on the gradient of one tensor.

    Attributes
    ----------
    layer, tensor : str
        Its names; "input" for a layer's input, "output" for what a loss is computed from.
    shape : tuple of int
    slopes, skipped : int
        How many were measured; how many of them lie at a kink and prove nothing.
    error : float
        The largest error, relative to the root mean square of the gradient.
    failure : Failure or None
        None where the gradient is right.
    """

    layer: str
    tensor: str
    shape: tuple[int, ...]
    slopes: int
    skipped: int
    error: float
    failure: Failure | None

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """Sum up in a line; then, if the gradient is wrong, where, by how much and why."""
        name, shape = f"{self.layer}.{self.tensor}", " x ".join(map(str, self.shape))
        skipped = f", {self.skipped} at kinks" if self.skipped else ""
        verdict = "WRONG" if self.failure else "ok"
        yield (
            f"{name:<20}  {shape:<16}  {verdict:<5}  error {self.error:.0e} "
            f"in {self.slopes} slopes{skipped}"
        )
        if self.failure is None:
            return
        yield f"    {self.failure.cause}"
        if self.failure.index is not None:
            place = f"{name}[{', '.join(map(str, self.failure.index))}]"
            yield f"    {place}: backward says {self.failure.analytic:.9g}, differences say"
            for step, slope in self.failure.numeric:
                yield f"        {slope:.9g} with a step of {step:.0e}"


@dataclass(frozen=True)
class Report:
    """The verdicts on all tensors of a layer, a loss or a network; ``str()`` is for people."""

    tensors: tuple[TensorReport, ...]

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(tensor.failure is None for tensor in self.tensors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.tensors))
