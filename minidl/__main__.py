"""``minidl``, or ``python -m minidl``: the command, and how it ends when something is wrong."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time

from cyclopts import CycloptsError

from .cli import app
from .errors import AgreedError, UserError


def main() -> None:
    """Run the command; turn every error that is the user's into one line and status 2."""
    if _launcher_rank() > 0:
        # Ctrl-C reaches all ranks; the first has all stop together, and says what was saved.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        app(exit_on_error=False, print_error=False)
    except AgreedError as error:
        _say(error)
        from .parallel.failure import end_without_the_dead  # it is loaded, as ranks have agreed

        end_without_the_dead(2)
        sys.exit(2)
    except CycloptsError as error:
        _leave(" ".join(str(error).split()), 2)
    except UserError as error:
        _leave(error, 2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # which even the question whether it is there raises
            raise
        _leave(f"{str(error.filename)[:80]}...: too long for the name of a file", 2)
    except KeyboardInterrupt as interrupt:
        _leave(interrupt if str(interrupt) else "interrupted", 130)


def _say(message: object) -> None:
    if str(message):
        # One line, whatever the names in it are.
        print(f"minidl: {' '.join(str(message).split())}", file=sys.stderr)


def _leave(message: object, status: int) -> None:
    """End this process, and every other rank of the run if there is one."""
    parallel = sys.modules.get("minidl.parallel")
    rank = _launcher_rank()
    if rank > 0:
        # Where all ranks fail alike, the first of them has spoken and ended the others by then.
        time.sleep(1 + 0.6 * min(rank, 10))
    if parallel or rank == 0:
        _say(message)
    if parallel:
        parallel.abort(status)
    sys.exit(status)


def _launcher_rank() -> int:
    """The rank of this process, also where MPI has not been started: launchers tell it to each."""
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


if __name__ == "__main__":
    main()
