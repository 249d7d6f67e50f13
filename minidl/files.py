"""Files written whole or not at all, and where they are meant to be."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file under another name, which then takes the place of what is there.

    A link of either name is replaced, not followed: what it leads to stays as it is.

    Raises
    ------
    OSError
        If that fails. What was there before is still there then.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        temporary.write_bytes(contents)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
