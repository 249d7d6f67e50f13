"""Single layers of a climate network: strided and transposed convolutions, minidl against PyTorch.

    python benchmarks/layers.py                        needs PyTorch: pip install torch
    python benchmarks/layers.py --repetitions 3

Measured: forward and backward on one image and one thread, by every algorithm, and by PyTorch in
both memory layouts. All take turns. The algorithm that minidl chooses by itself is held against
the faster of PyTorch's, and should be the fastest of its own.
"""

from __future__ import annotations

from functools import partial
from typing import get_args

from engines import Case, minidl_layer, torch_layer
from harness import Floor, command_line, report

from minidl.bench.turns import Engine, take_turns
from minidl.layers.algorithms import AlgorithmName, choose
from minidl.tables import plain_table

# Of the climate network, from its images inwards.
CHANNELS, SIZES = (16, 128, 256, 512, 768, 1024), (768, 384, 192, 96, 48, 24)
INWARDS = list(zip(CHANNELS[:-1], CHANNELS[1:], SIZES[:-1], strict=True))
OUTWARDS = list(zip(CHANNELS[1:], CHANNELS[:-1], SIZES[1:], strict=True))[::-1]

# Times as fast as the faster of PyTorch's.
FLOORS = {Case(*layer): 1.3 for layer in INWARDS}
FLOORS |= {Case(*INWARDS[-1]): 1.0}
FLOORS |= {Case(*layer, transposed=True): 1.0 for layer in OUTWARDS}

ALGORITHMS: tuple[AlgorithmName, ...] = get_args(AlgorithmName)[1:]
LAYOUTS = {"torch NCHW": False, "torch NHWC": True}


def main() -> None:
    """Measure layer by layer."""
    parser = command_line(__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each engine")
    arguments = parser.parse_args()
    table = plain_table("seconds", *(f">{name}" for name in (*ALGORITHMS, *LAYOUTS)), "chosen")
    rows, floors = {}, []
    for case, floor in FLOORS.items():
        turns = take_turns(engines(case), arguments.repetitions)
        chosen, best = chosen_algorithm(case), turns.fastest(LAYOUTS)
        seconds = {name: turns.spread(name) for name in turns.answers}
        speed = turns.ratio(best, chosen)
        rows[str(case)] = {"seconds": seconds, "chosen": chosen, "speed": speed}
        times = [f"{seconds[name].median:.3g}" for name in (*ALGORITHMS, *LAYOUTS)]
        fastest = turns.fastest(ALGORITHMS)
        verdict = chosen if chosen == fastest else f"{chosen}, not {fastest}"
        table.add_row(str(case), *times, verdict)
        held = speed.median >= floor
        floors.append(Floor(f"{case}: over {best}", f">= {floor}", str(speed), held))
    report(arguments, {"layers": rows}, [table], floors)


def engines(case: Case) -> dict[str, Engine]:
    """Return minidl by every algorithm, which all take these layers, and PyTorch's layouts."""
    ours = {name: partial(minidl_layer, case, name) for name in ALGORITHMS}
    theirs = {name: partial(torch_layer, case, last) for name, last in LAYOUTS.items()}
    return ours | theirs


def chosen_algorithm(case: Case) -> str:
    """Name the algorithm that minidl chooses by itself."""
    layer = case.layer()
    smaller = case.shape if case.transposed else layer.output_shape(case.shape)
    algorithm = choose("auto", layer.windows, layer.weight.shape, (1, *smaller))
    return str(algorithm).removeprefix("depth+")


if __name__ == "__main__":
    main()
