"""Resume many runs by one start of the ranks, as most of a short run's time is Python's start.

::

    mpiexec -n 3 python resume_many.py resume FOLDER ...

In each folder this does what ``minidl train --resume run`` would, and, asked to ``replay``, then
what ``minidl replay run`` would; ``resumed.json`` there says what came of it. Where the ranks do
not live to the end, the first run without one is the run that ended them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import minidl.parallel  # noqa: F401  (first, as minidl train does: it starts MPI)
from minidl.cli import app, training_command
from minidl.errors import UserError
from minidl.train import MPI


def command(*words: str) -> tuple[int, str]:
    """Return the status of a command of minidl's, and what it said."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            app(words, exit_on_error=False, print_error=False)
    except UserError as error:
        return 2, str(error)
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    return 0, said.getvalue()


def main() -> None:
    training_command.draw = lambda *_: None  # pictures take longer than the run, and are not meant
    what, *folders = sys.argv[1:]
    everyone = MPI.COMM_WORLD.Dup()
    for folder in folders:
        os.chdir(folder)
        status, said = command("train", "--resume", "run", "--watchdog", "600")
        equal = None
        if what == "replay" and everyone.rank == 0 and Path("run/record.h5").exists():
            again, replayed = command("replay", "run")
            equal = again == 0 and "to the bit" in replayed
        everyone.Barrier()  # who fails, fails before there is an answer
        if everyone.rank == 0:
            told = {"status": status, "said": said if status else "", "equal": equal}
            Path("resumed.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
