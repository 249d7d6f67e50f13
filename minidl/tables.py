"""The one look of what commands print: tables, shapes and sizes."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table


def plain_table(*titles: str) -> Table:
    """Return a table without a frame, narrow enough for a terminal's or a log's 80 columns.

    Headings that start with ``>`` belong to numbers, which stand to the right. Only the first
    column's text is broken where it is too long.
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for number, title in enumerate(titles):
        table.add_column(
            title.removeprefix(">"),
            justify="right" if title.startswith(">") else "left",
            no_wrap=number > 0,
            overflow="fold",
        )
    return table


def times(shape: Iterable[int]) -> str:
    """Write a shape as text: ``224x224x3``."""
    return "x".join(map(str, shape))


def size_text(size: float) -> str:
    """Write a number of bytes for people: ``1.2 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"


def virtually(thing: str, virtual: bool) -> str:
    """``"seconds", True`` as "virtual seconds"."""
    return f"virtual {thing}" if virtual else thing


def counted(number: int, thing: str) -> str:
    """``2, "rank"`` as "2 ranks"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
