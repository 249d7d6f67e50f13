"""A command in this process, as the command line would run it: its status and what it said."""

import contextlib
import io
from typing import NamedTuple

import pytest

import minidl.__main__ as command


class Ended(NamedTuple):
    status: int
    lines: list[str]  # on standard error
    said: str  # on standard output


def run(*words: str) -> Ended:
    """Run ``minidl`` with these words; what is not handled there is raised here."""
    errors, output, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["minidl", *words])
        patch.setattr(command, "_leave", _leave)
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
            try:
                command.main()
            except SystemExit as end:
                status = end.code or 0
    return Ended(status, errors.getvalue().splitlines(), output.getvalue())


def _leave(message: object, status: int) -> None:
    """As the command's own, without ending this process at once where MPI was started."""
    command._say(message)
    raise SystemExit(status)
