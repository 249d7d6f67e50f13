"""``minidl bench layers``: where the time of a training step goes, layer by layer (figure 5)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..errors import UserError
from ..layers.strips import parts
from ..summary import summarize
from ..tables import plain_table
from . import engines, torch_engines
from .problem import Problem, is_chain
from .spread import Spread
from .turns import Answer, Engine, take_turns

MINIDL, SGEMM = "minidl", "sgemm"
LAYOUTS: tuple[torch_engines.Way, ...] = ("NCHW", "NHWC")


@dataclass(frozen=True)
class Pass:
    """A layer's forward, or its backward."""

    seconds: Spread
    gflops: float  # billions of operations a second, by direct convolution
    torch: Spread | None  # seconds


@dataclass(frozen=True)
class LayerFigures:
    """A layer, or a convolution with what is computed together with it."""

    name: str
    algorithm: str  # of a convolution
    forward: Pass
    backward: Pass
    share: float  # of the step
    speed: Spread | None  # how many times as fast as PyTorch


@dataclass(frozen=True)
class OtherFigures:
    """A part of a step that is no layer's."""

    name: str
    seconds: Spread
    torch: Spread | None  # seconds


@dataclass(frozen=True)
class StepParts:
    """A step, taken apart."""

    layers: list[LayerFigures]
    others: list[OtherFigures]
    loader: OtherFigures | None
    step: Spread  # seconds of everything but the loader
    sgemm: Spread  # billions of operations a second
    torch: str | None  # the layout of PyTorch's that is faster on the whole
    torch_step: Spread | None  # seconds


def measure_layers(
    problem: Problem, data: Path | None, against: str | None, repetitions: int
) -> StepParts:
    """Let minidl, PyTorch if it is asked for, and a product of matrices take turns.

    Raises
    ------
    UserError
        If the data cannot be read, or PyTorch cannot take part.
    """
    if repetitions < 1:
        raise UserError(f"--repetitions must be at least 1, got {repetitions}")
    competing: dict[str, Engine] = {
        MINIDL: partial(engines.layers, problem, data),
        SGEMM: partial(engines.sgemm, problem.threads),
    }
    if against:
        if not is_chain(problem.network()):
            raise UserError(
                f"--against torch takes layers in sequence here; {problem.model} has branches or "
                "shortcuts: see minidl bench step"
            )
        rival = problem.for_torch()
        for way in LAYOUTS:
            competing[f"torch {way}"] = partial(torch_engines.layers, rival, way)
    turns = take_turns(competing, repetitions)
    ours = turns.answers[MINIDL]
    best = turns.fastest(f"torch {way}" for way in LAYOUTS) if against else None
    theirs = turns.answers[best] if best else None
    return StepParts(
        [*figures_of_layers(problem, ours, theirs)],
        [*figures_of_others(ours, theirs)],
        OtherFigures("loader", spread(ours, "load"), None) if data else None,
        spread(ours, "step"),
        Spread.of(answer["flops"] / 1e9 for answer in turns.answers[SGEMM]),
        best,
        spread(theirs, "step") if theirs else None,
    )


def figures_of_layers(
    problem: Problem, ours: list[Answer], theirs: list[Answer] | None
) -> Iterable[LayerFigures]:
    """Bring together what a layer is and how long it took."""
    network = problem.network()
    rows = dict(zip(network.leaves(), summarize(network, problem.x.shape[1:]), strict=True))
    step = spread(ours, "step").median
    for number, part in enumerate(parts(network)):
        inside = [rows[leaf] for leaf in part.leaves()]
        forward = sum(row.forward for row in inside)
        backward = sum(row.training for row in inside) - forward
        timed = partial(figures_of_pass, ours=ours, theirs=theirs)
        whole = [[both(answer, number) for answer in answers] for answers in (ours, theirs or [])]
        yield LayerFigures(
            inside[0].name,
            ours[-1].get(f"{number} algorithm", ""),
            timed(f"{number} forward", len(problem.x) * forward),
            timed(f"{number} backward", len(problem.x) * backward),
            Spread.of(whole[0]).median / step,
            Spread.of(b / a for a, b in zip(*whole, strict=True)) if theirs else None,
        )


def figures_of_pass(key: str, flops: int, ours: list[Answer], theirs: list[Answer] | None) -> Pass:
    """Summarise a layer's forward or backward."""
    seconds = spread(ours, key)
    return Pass(seconds, flops / seconds.median / 1e9, spread(theirs, key) if theirs else None)


def figures_of_others(ours: list[Answer], theirs: list[Answer] | None) -> Iterable[OtherFigures]:
    """The optimiser; the loss and what stands between layers."""
    update = spread(theirs, "update") if theirs else None
    yield OtherFigures("solver", spread(ours, "update"), update)
    yield OtherFigures("rest", Spread.of(map(rest, ours)), None)


def both(answer: Answer, number: int) -> float:
    """Seconds of a part's forward and backward together."""
    return answer[f"{number} forward"] + answer[f"{number} backward"]


def spread(answers: list[Answer], key: str) -> Spread:
    """Summarise one part of answers."""
    return Spread.of(answer[key] for answer in answers)


def rest(answer: Answer) -> float:
    """Seconds of a step that are neither a layer's nor the optimiser's."""
    layers = [value for key, value in answer.items() if key.endswith(("forward", "backward"))]
    return answer["step"] - sum(layers) - answer["update"]


def print_layers(found: StepParts, as_json: bool, console: Console) -> None:
    """Print a row a layer; then the optimiser, the rest, and the loader."""
    if as_json:
        console.print(json.dumps(asdict(found), indent=2), markup=False)
        return
    titles = ["layer", "algorithm", ">forward\nms", ">GFLOP/s", ">backward\nms", ">GFLOP/s"]
    table = plain_table(*titles, ">share\n%", *([">torch\nms", ">speed"] if found.torch else []))
    for row in found.layers:
        cells = [escape(row.name), row.algorithm]
        for each in (row.forward, row.backward):
            cells += [ms(each.seconds), f"{each.gflops:.1f}" if each.gflops else ""]
        cells.append(f"{100 * row.share:.1f}")
        if row.forward.torch and row.backward.torch and row.speed:
            cells.append(f"{1e3 * (row.forward.torch.median + row.backward.torch.median):.2f}")
            cells.append(f"{row.speed.median:.2f}")
        table.add_row(*cells)
    table.add_section()
    step = OtherFigures("step", found.step, found.torch_step)
    for other in filter(None, (*found.others, step, found.loader)):
        share = f"{100 * other.seconds.median / found.step.median:.1f}"
        torch = [ms(other.torch)] if other.torch else []
        table.add_row(other.name, "", "", "", ms(other.seconds), "", share, *torch)
    console.print(table)
    console.print(
        f"\nMedians; a step took {found.step} s. A row is a layer, or a convolution with the "
        "pooling and ReLU that are computed together with it. Operations are counted by direct "
        f"convolution; sgemm, in turns with it, made {found.sgemm} GFLOP/s."
    )
    if found.loader:
        console.print("The loader reads ahead while steps are made; its time is none of theirs.")
    if found.torch:
        console.print(
            f"PyTorch's times are of {found.torch}, the faster layout on the whole; speed is its "
            "time over minidl's."
        )


def ms(seconds: Spread) -> str:
    """Write a median in milliseconds."""
    return f"{1e3 * seconds.median:.2f}"
