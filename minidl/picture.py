"""Pictures as files: the extension checked before the work, the file written whole or not at all.

Figures are made as ``matplotlib.figure.Figure``, without ``pyplot`` and its global state, so that
a program that imports this library keeps its own.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .errors import UserError
from .files import write_whole

FORMATS = ("png", "pdf", "svg")
DOTS_PER_INCH = 150


def check_path(path: Path, flag: str) -> None:
    """Raise ``UserError``, naming the flag to use, unless a picture can be written there."""
    if path.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise UserError(f"{path}: unknown kind of picture; {flag} takes a file ending in {known}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}; make it, or choose with {flag}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"{path}: cannot be written; choose another place with {flag}")


def save(figure: Figure, path: Path) -> None:
    """Write a figure, in the format that the path's extension names.

    Raises
    ------
    UserError
        If that fails. What was there before is still there then.
    """
    FigureCanvasAgg(figure)
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix[1:].lower(), dpi=DOTS_PER_INCH)
    try:
        write_whole(path, image.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot write the picture: {error.strerror}") from None
