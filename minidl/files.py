"""Files written whole or not at all, and where they are meant to be."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file under another name, which then takes the place of what is there.

    It is on the disk then, should the power fail. A link of either name is replaced, not followed:
    what it leads to stays as it is.

    Raises
    ------
    OSError
        If that fails. What was there before is still there then.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Have the disk know the names of a folder's files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
