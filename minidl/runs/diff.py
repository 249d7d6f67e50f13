"""Are two runs equal to the bit, up to the order of their sums, or different?

N ranks with b samples each make the update that one rank makes with N b, but they sum in another
order, and floating-point sums depend on it. How much that may matter:

- A sum of n terms is off by at most (n - 1) u sum |x_i|, whatever the order, with u = 2^-24 in
  single precision. Source: N. Higham, Accuracy and Stability of Numerical Algorithms (2002),
  section 4.2. Errors of both signs rather add up to c sqrt(n) u; with c = 4, all but one sum in
  1,500 is within. Source: N. Higham and T. Mary, A New Approach to Probabilistic Rounding Error
  Analysis (SIAM J. Sci. Comput. 41, 2019), section 2.
- Every update adds such an error once: ``bound(t) = 4 sqrt(n) u t`` after t updates of n samples.

Two runs are equal up to summation order if (1) settings and logs describe the same updates,
(2) no loss differs suddenly, that is by more than ``SUDDEN`` times both the bound and any
difference before it, and (3) the final parameters of no layer differ by more than the bound.
Losses differ relative to the largest loss so far: one near zero is the difference of larger
numbers. Layers differ by the norm of the difference over the norm of the layer: single elements
may differ by more, where Adam makes a step of full length of a gradient that is only rounding.

The bound does not foresee that training can amplify a difference, up to tenfold in an update when
the learning rate is large. So (2) tells growth from another update: a growing difference leaves
the bound near it, a wrong update far outside. Runs that have grown apart are called different,
since no bound says that they are not, with the update at which it showed.

Winograd's convolutions (``--algorithm``) round as little, beside a gradient's largest numbers. But
where im2col adds zeros, they add numbers that only cancel, and Adam makes a full step of whatever
is left: compare ranks with ``--algorithm im2col``.

As measured with that on the HEP network with 8 or 16 samples an update, in parts of the bound: 2
ranks and accumulated passes differ from one rank after 40 updates by 0.001 to 0.002; after 320 or
400 by 0.001 to 0.6 (Adam), by 0.001 to 1,000 (SGD, most where the learning rate is large). Losses
that grew apart were first seen outside the bound by a factor of up to 7. Learning rates 1 % apart
differ after 40 updates by 200 (Adam) and 700 (SGD), and the second losses by 13 and more; a mean of
means over a short batch differs in the next loss by 50 (SGD) and 100 (Adam).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .causes import Cause, find_causes
from .past import PastRun

SUDDEN = 10


class LayerDifference(NamedTuple):
    """How two arrays of one layer differ; ``largest`` element, and ``relative`` by norm."""

    equal_bits: bool
    largest: float
    relative: float


class Parting(NamedTuple):
    """The update whose losses differ by more than rounding."""

    update: int
    losses: tuple[float, float]
    sudden: bool


@dataclass(frozen=True)
class Difference:
    """What came out of comparing two runs; ``minidl diff --json`` prints it."""

    verdict: str
    samples: int
    updates: int
    bound: float
    loss_difference: float
    parting: Parting | None
    causes: list[Cause]
    layers: dict[str, LayerDifference]

    @property
    def largest(self) -> float:
        """Largest relative difference of a layer; NaN if one is."""
        return float(np.max([layer.relative for layer in self.layers.values()]))


def compare(a: PastRun, b: PastRun) -> Difference:
    """Judge two runs by the criterion at the top of this file."""
    layers = {
        name: compare_arrays(a.arrays.get(name), b.arrays.get(name))
        for name in sorted({*a.arrays, *b.arrays})
    }
    samples = max(update.samples for run in (a, b) for update in run.updates.values())
    unit = max(float(np.finfo(array.dtype).eps) / 2 for array in a.arrays.values())
    noise = 4 * math.sqrt(samples) * unit
    updates = max(len(a.updates), len(b.updates))
    parting, loss_difference = compare_losses(a, b, noise)
    causes = find_causes(a, b)
    close = all(layer.relative <= noise * updates for layer in layers.values())
    if all(layer.equal_bits for layer in layers.values()):
        verdict = "bits"
    elif close and not (parting and parting.sudden) and not any(cause.certain for cause in causes):
        verdict = "rounding"
    else:
        verdict = "different"
    return Difference(
        verdict, samples, updates, noise * updates, loss_difference, parting, causes, layers
    )


def compare_arrays(x: np.ndarray | None, y: np.ndarray | None) -> LayerDifference:
    """Compare what a layer holds in two runs; one that only one run has differs infinitely."""
    if x is None or y is None or x.shape != y.shape:
        return LayerDifference(False, math.inf, math.inf)
    if x.dtype == y.dtype and x.tobytes() == y.tobytes():
        return LayerDifference(True, 0.0, 0.0)
    x, y = x.astype(np.float64), y.astype(np.float64)
    norm = max(np.linalg.norm(x), np.linalg.norm(y), np.finfo(np.float64).tiny)
    return LayerDifference(False, float(np.abs(x - y).max()), float(np.linalg.norm(x - y) / norm))


def compare_losses(a: PastRun, b: PastRun, noise: float) -> tuple[Parting | None, float]:
    """Find where losses part: the first sudden difference, else the first beyond the bound.

    ``noise`` is the bound for one update. Returns the largest relative difference, too.
    """
    parting, largest, scale = None, 0.0, np.finfo(np.float64).tiny
    places = [place for place in a.updates if place in b.updates]
    for number, place in enumerate(places, start=1):
        losses = a.updates[place].loss, b.updates[place].loss
        scale = max(scale, *np.abs(losses))
        apart = abs(losses[0] - losses[1]) / scale
        # "Not within" is also true of NaN.
        if not apart <= SUDDEN * max(noise * number, largest):
            return Parting(place[0], losses, sudden=True), apart
        if not apart <= noise * number and parting is None:
            parting = Parting(place[0], losses, sudden=False)
        largest = max(largest, apart)
    return parting, largest
