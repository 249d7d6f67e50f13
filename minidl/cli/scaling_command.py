"""``minidl scaling``: the study, its table, and its picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from .. import model, picture
from ..errors import UserError
from ..simulate.published import Published
from ..simulate.scaling import Point, Way, scale
from ..simulate.scaling_learning import Lesson, Reached, learn
from ..simulate.scaling_picture import draw
from ..simulate.verdict import NEVER
from ..simulate.work import work_of
from ..tables import plain_table
from .simulation import MOST_ITERATIONS, MOST_NODES, MOST_SAMPLES, between, machine_for

BATCH = {"strong": 2048, "weak": 8}  # the paper's


@dataclass(frozen=True)
class Study:
    """The flags of ``minidl scaling``.

    Raises
    ------
    UserError
        If one is out of range.
    """

    kind: str
    name: str
    machine: str
    strategies: Sequence[str]
    nodes: Sequence[int]
    batch_size: int | None
    iterations: int
    jitter: float | None
    seed: int
    lesson: Lesson | None = None  # what is learnt at every point, too
    target: float | None = None  # until which loss

    def __post_init__(self) -> None:
        for nodes in self.nodes:
            between("--nodes", nodes, 1, MOST_NODES)
        between("--batch-size", self.batch, 1, MOST_SAMPLES)
        between("--iterations", self.iterations, 1, MOST_ITERATIONS)
        if self.target is not None and (self.lesson is None or not self.target > 0):
            raise UserError(f"--target {self.target}: expected a loss, and --data to be learnt")
        if not self.nodes or not self.strategies:
            raise UserError("--nodes and --strategies take one value or several")

    @property
    def batch(self) -> int:
        """Of a group if strong, of a node if weak."""
        return BATCH[self.kind] if self.batch_size is None else self.batch_size

    @property
    def ways(self) -> list[Way]:
        """The strategies."""
        ways = []
        for text in self.strategies:
            try:
                ways.append(Way.of(text))
            except ValueError:
                raise UserError(
                    f"--strategies {text[:20]}: expected sync, async, or hybrid-G with G groups, "
                    "such as hybrid-4"
                ) from None
        return ways


def print_scaling(
    study: Study, options: dict[str, Any], as_json: bool, out: Path | None, console: Console
) -> None:
    """Predict all speed-ups; print them, and draw them, beside what was published."""
    if out:
        picture.check_path(out, "--picture")
    ways = study.ways
    machine = machine_for(study.machine, study.name, study.jitter, study.seed)
    known = getattr(model.load(study.name), "PUBLISHED", ())
    published = [mark for mark in known if mark.kind == study.kind]
    work = work_of(study.name, options)
    points = list(
        scale(
            study.kind, work, machine, ways, sorted(set(study.nodes)), study.batch,
            study.iterations, study.seed,
        )
    )  # fmt: skip
    if not points:
        raise UserError(
            "none of --nodes can be dealt: each has to be a multiple of the groups, with a sample "
            "or more of --batch-size for every node"
        )
    title = (
        f"{study.kind.capitalize()} scaling of {study.name} on {machine.name}: "
        f"{study.batch:,} samples a {'group' if study.kind == 'strong' else 'node'}"
    )
    reached = None
    if study.lesson:
        curves = list(learn(study.lesson, study.name, options, work, machine, points))
        reached = Reached.of(curves, study.target)
    if as_json:
        learning = [reached.to_json(n) if reached else {} for n in range(len(points))]
        rows = [to_json(point) | more for point, more in zip(points, learning, strict=True)]
        print(json.dumps(rows, indent=2))
    else:
        print_table(points, published, title, console)
        if reached:
            print_learning(points, reached, console)
    if out:
        picture.save(draw(points, published, title), out)


def to_json(point: Point) -> dict[str, Any]:
    """As plain values."""
    way, nodes, samples, speedup, outcome = point
    return {
        "strategy": str(way),
        "nodes": nodes,
        "samples": samples,
        **outcome.to_json(),
        "speedup": speedup,
    }


def print_table(
    points: Sequence[Point], published: Sequence[Published], title: str, console: Console
) -> None:
    """Print a row for each prediction, with what was published beside it."""
    table = plain_table(
        "strategy", ">nodes", ">samples\na node", ">seconds", ">of them\nwaiting",
        ">times\none node", ">of\nideal", ">published",
    )  # fmt: skip
    marks = {(mark.way, mark.nodes): mark for mark in published}
    last = points[0].way
    for way, nodes, samples, speedup, outcome in points:
        if way != last:
            table.add_section()
        last = way
        table.add_row(
            str(way), f"{nodes:,}", f"{samples:g}", f"{outcome.iteration:.4g}",
            f"{100 * outcome.wait / outcome.iteration:z.0f} %", f"{speedup:,.1f}",
            f"{100 * speedup / nodes:.0f} %", said(marks.get((str(way), nodes))),
        )  # fmt: skip
    console.print(f"{title}\n")
    console.print(table)
    console.print("\nseconds: of an iteration; waiting: for slower nodes.")
    if any(not mark.certain for mark in published):
        console.print("~: read off a curve, or remembered of one: no figure to be held to.")


def print_learning(points: Sequence[Point], reached: Reached, console: Console) -> None:
    """Print how much sooner the target is reached than at the first point."""
    table = plain_table(
        "strategy", ">nodes", f">seconds to\nloss {reached.target:.4g}", ">learning\nspeed-up"
    )
    for number, (point, seconds) in enumerate(zip(points, reached.seconds, strict=True)):
        if seconds is not None:
            speedup = reached.speedup(number)
            table.add_row(
                str(point.way), f"{point.nodes:,}",
                "never" if seconds == NEVER else f"{seconds:.4g}",
                "-" if speedup is None else f"{speedup:.2f}",
            )  # fmt: skip
    console.print()
    console.print(table)
    console.print(
        "\nlearning speed-up: the time to the target at the first row over this one's (DAWNBench, "
        "Coleman et al., 2017; DeepEx, Yoginath et al., 2019). Learnt on these images, by a narrow "
        "network; charged for the model as it is meant for. One seed."
    )


def said(mark: Published | None) -> str:
    """What was published."""
    if mark is None:
        return ""
    text = f"{mark.low:g}" if mark.low == mark.high else f"{mark.low:g}-{mark.high:g}"
    return text if mark.certain else f"~{text}"
