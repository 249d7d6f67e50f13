"""A step of the HEP network on the CPU, minidl against PyTorch, held against the project's floors.

    python benchmarks/step.py        needs PyTorch: pip install torch

Measured as ``minidl bench step`` does, which says more about each of them: 224 x 224 pixels and a
batch of 8 unless told otherwise.
"""

from __future__ import annotations

from dataclasses import asdict

from harness import Floor, command_line, report

from minidl.bench.problem import make_problem
from minidl.bench.step import MINIDL, StepFigures, measure_step

# Times as fast as the fastest of PyTorch's.
CASES = {
    "1 thread": ({"threads": 1}, 2.0),
    "2 threads": ({"threads": 2}, 1.9),
    "inference": ({"inference": True}, 1.7),
    "64 x 64, 32 filters, batch 32": ({"size": 64, "width": 32, "batch_size": 32}, 1.2),
}
OF_SGEMM, MEMORY = 1.2, 1.0


def main() -> None:
    """Measure every case."""
    parser = command_line(__doc__)
    parser.add_argument("--repetitions", type=int, default=7, help="turns of each engine")
    arguments = parser.parse_args()
    cases, floors = {}, []
    for name, (options, speed) in CASES.items():
        cases[name] = found = measure(arguments.repetitions, **options)
        held = found.speed.median >= speed
        what = f"{name}: times as fast as {found.best}"
        floors.append(Floor(what, f">= {speed}", str(found.speed), held))
    first = cases["1 thread"]
    rate, memory = first.engines[MINIDL].of_sgemm, first.memory
    floors += [
        Floor("1 thread: rate over sgemm's", f">= {OF_SGEMM}", str(rate), rate.median >= OF_SGEMM),
        Floor("1 thread: memory over PyTorch's", "<= 1", f"{memory:.2f}", memory <= MEMORY),
    ]
    report(arguments, {name: asdict(found) for name, found in cases.items()}, [], floors)


def measure(
    repetitions: int, size: int = 224, batch_size: int = 8, **options: int | None
) -> StepFigures:
    """Measure one case."""
    problem = make_problem("hep", (size, size, 3), batch_size, **options)
    return measure_step(problem, "torch", repetitions)


if __name__ == "__main__":
    main()
