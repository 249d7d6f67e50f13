"""How far are the optimisers' updates from the speed of the memory?

    python benchmarks/updates.py
    python benchmarks/updates.py --size 10000000 --repetitions 15

Measured: the time of an update with Adam, and with SGD and momentum, of one vector of float32 and
of the HEP network's layers, one thread; and in turns with it, the time that moving the same bytes
takes. Adam has to read gradient, parameters, mean and variance, and to write the last three: 28
bytes a number. SGD has to read gradient, parameters and velocity, and to write two: 20 bytes.

They are moved in two ways. Copying, np.copyto, is what the floor is held against; the bytes it
reads and writes are counted, though memory that is only written is read as well before. In place is
the least that an update could take: the sum of two vectors into one of them, and changes of sign.
Adam's dozen of operations a number take longer than that even where all is in the cache.

The layers of the HEP network stay in the cache from one update to the next. Moving them is no
matter of memory then, and held against no floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from harness import Floor, Spread, command_line, report

from minidl.optim import SGD, Adam, Optimizer
from minidl.tables import plain_table
from minidl_models.hep.network import network

FLOOR = 1.3
OPTIMISERS: dict[str, Callable[[np.ndarray], Optimizer]] = {
    "Adam": lambda parameters: Adam(parameters, 1e-4),
    "SGD": lambda parameters: SGD(parameters, 1e-4, momentum=0.9),
}
RANDOM = np.random.default_rng(1)


def main() -> None:
    """Measure."""
    parser = command_line(__doc__)
    parser.add_argument("--size", type=int, default=60_000_000, help="numbers in the vector")
    parser.add_argument("--repetitions", type=int, default=9, help="turns of each")
    arguments = parser.parse_args()
    layers = [layer.parameters.size for layer in network((64, 64, 3), RANDOM).layers()]
    table = plain_table("", ">ms", ">GB/s", ">over copying", ">over in place")
    figures, floors = {}, []
    for name, make in OPTIMISERS.items():
        for what, sizes in (("one vector", [arguments.size]), ("HEP", layers)):
            (update, copy, in_place), moved = take_turns(make, sizes, arguments.repetitions)
            label = f"{name}, {what}"
            seconds = Spread.of(update)
            ratios = [Spread.of(update / moving) for moving in (copy, in_place)]
            rate = moved / seconds.median / 1e9
            table.add_row(label, f"{1e3 * seconds.median:.3g}", f"{rate:.1f}", *map(str, ratios))
            figures[label] = {"seconds": seconds, "over copying": ratios[0], "in place": ratios[1]}
            if sizes is not layers:
                held = ratios[0].median <= FLOOR
                floors.append(Floor(f"{label}: over copying", f"<= {FLOOR}", str(ratios[0]), held))
    report(arguments, {"updates": figures}, [table], floors)


def take_turns(
    make: Callable[[np.ndarray], Optimizer], sizes: Sequence[int], repetitions: int
) -> tuple[np.ndarray, int]:
    """Return seconds of updating, copying and changing in place (3, turns), and bytes of each."""
    gradients = [RANDOM.standard_normal(size, np.float32) for size in sizes]
    copies = [np.zeros_like(gradient) for gradient in gradients]
    optimisers = [make(np.ones_like(gradient)) for gradient in gradients]
    vectors = 3 + 2 * len(optimisers[0].state)  # that are read or written
    turns = []
    for _ in range(1 + repetitions):
        start = time.perf_counter()
        for optimiser, gradient in zip(optimisers, gradients, strict=True):
            optimiser.step(gradient)
        updated = time.perf_counter()
        for gradient, copy in zip(gradients, copies, strict=True):
            np.copyto(copy, gradient)
        copied = time.perf_counter()
        for optimiser, gradient in zip(optimisers, gradients, strict=True):
            np.add(gradient, optimiser.parameters, out=optimiser.parameters)
            for state in optimiser.state.values():
                np.negative(state, out=state)
        changed = time.perf_counter()
        turns.append((updated - start, vectors / 2 * (copied - updated), changed - copied))
        for optimiser in optimisers:
            for state in optimiser.state.values():
                np.abs(state, out=state)  # square roots are taken of them
    return np.array(turns[1:]).T, vectors * gradients[0].itemsize * sum(sizes)


if __name__ == "__main__":
    main()
