"""What the studies share: their arguments, tables in Markdown, and pictures that stay small."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from minidl.files import write_whole

DOTS_PER_INCH, COLOURS_KEPT = 130, 64


def arguments(text: str) -> argparse.Namespace:
    """Read a study's arguments; its docstring is the help."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = Path(__file__).parent
    parser.add_argument("--out", type=Path, default=here, help="folder for the picture")
    parser.add_argument("--small", action="store_true", help="a small version, in seconds")
    asked = parser.parse_args()
    if not asked.out.is_dir():  # said before the minutes that it takes
        parser.error(f"--out {asked.out}: no such folder; make it, or choose another")
    return asked


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown, the first column to the left, all others to the right."""
    rules = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, rules, *rows])


def figure(title: str, panels: int) -> tuple[Figure, list]:
    """Make a figure with so many panels side by side."""
    made = Figure(figsize=(9, 3.6), layout="constrained")
    made.suptitle(title, fontsize=10)
    drawn = list(made.subplots(1, panels, squeeze=False)[0])
    for panel in drawn:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    return made, drawn


def save(made: Figure, folder: Path, name: str) -> None:
    """Write the picture, in few colours: the repository keeps it."""
    path, drawn, small = folder / f"{name}.png", io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(made)
    made.savefig(drawn, dpi=DOTS_PER_INCH)
    Image.open(drawn).convert("RGB").quantize(COLOURS_KEPT).save(small, "PNG", optimize=True)
    write_whole(path, small.getvalue())
    print(f"\n![{made.get_suptitle()}]({path.name})")
