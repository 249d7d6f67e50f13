"""Long productions of data: in shards, on all cores, the same for a seed, safe to interrupt.

Data are made in shards of a fixed size, each with random numbers of its own, so that they do not
depend on how many processes made them. A finished shard is kept beside the data set until that is
complete: an interrupted production goes on where it was.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from minidl.errors import UserError

EVERY = 10.0  # seconds between lines where no bar can be drawn
SEEDS = 2**32  # fit into what the generators of all libraries take


def check_numbers(least: dict[str, tuple[int | None, int]], seed: int) -> None:
    """Raise ``UserError`` for a flag below the least number it may be, and for a bad seed.

    Parameters
    ----------
    least : dict
        The flag's name -> its value, None where it was not given, and the least it may be.
    seed : int
    """
    for name, (value, bound) in {**least, "--seed": (seed, 0)}.items():
        if value is not None and value < bound:
            raise UserError(f"{name} must be at least {bound}, got {value}")
    if seed >= SEEDS:
        raise UserError(f"--seed must be less than {SEEDS}, got {seed}")


def check_packages(purpose: str, packages: Iterable[str], extra: str) -> None:
    """Raise ``UserError`` unless the packages that a production needs are installed."""
    for package in packages:
        if find_spec(package) is None:
            raise UserError(
                f"{purpose} needs {package}, which is not installed: pip install 'minidl[{extra}]'"
            )


def prepare_parts(parts: Path, settings: dict[str, Any]) -> None:
    """Make the folder of finished shards; drop those that were made with other settings."""
    try:
        if parts.exists():
            try:
                same = json.loads((parts / "settings.json").read_text()) == settings
            except (OSError, ValueError):
                same = False
            if same:
                return
            shutil.rmtree(parts)
        parts.mkdir(parents=True)
        (parts / "settings.json").write_text(json.dumps(settings))
    except OSError as error:
        raise UserError(f"{parts}: cannot write there: {error}; see --out") from None


def check_room(folder: Path, size: float) -> None:
    """Raise ``OSError`` unless so many bytes still fit on a folder's disk.

    Looked at before, since HDF5 ends the interpreter where a disk is full.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Workers:
    """Processes that make shards; used in a ``with`` statement, which ends them.

    Parameters
    ----------
    count : int or None
        One a core if None.
    things : str
        What shards consist of, for messages: "events".
    folder : Path
        Where finished shards are, for messages.

    Raises
    ------
    UserError
        Out of the ``with`` statement, if a process was ended from outside or could not read or
        write a file.
    KeyboardInterrupt
        Likewise, with a message on how to go on.
    """

    def __init__(self, count: int | None, things: str, folder: Path) -> None:
        self.count, self.things, self.folder = count or available_cores(), things, folder

    def __enter__(self) -> Workers:
        self.pool = ProcessPoolExecutor(self.count, get_context("spawn"), start_worker)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self.pool.shutdown(cancel_futures=True)
        go_on = f"the same command goes on from the finished {self.things}"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(
                f"interrupted; the finished {self.things} are in {self.folder}, "
                "and the same command goes on"
            ) from None
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                f"a process that made {self.things} was ended from outside (out of memory?); "
                f"{go_on}, maybe with fewer --workers"
            ) from None
        if isinstance(error, OSError):
            raise UserError(f"{self.folder}: making {self.things}: {error}; {go_on}") from None

    def make(self, shard: Callable[..., Path], jobs: Iterable[tuple]) -> Iterator[Path]:
        """Yield ``shard(*job)`` for each job in turn, of which some more are always being made."""
        running: deque[Future[Path]] = deque()
        try:
            for job in jobs:
                running.append(self.pool.submit(shard, *job))
                if len(running) > self.count:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_worker() -> None:
    """Leave Ctrl-C to the main process, end with it, and leave the libraries' banners unsaid."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def end_with_parent() -> None:
        connection.wait([parent_process().sentinel])  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextmanager
def progress(
    console: Console, name: str, total: int, things: str
) -> Iterator[Callable[[int], None]]:
    """Show how far a production is, as a bar, or as a line now and then where no bar can be drawn.

    Yields
    ------
    callable
        To be called with how many of ``total`` are finished.
    """
    said = time.monotonic()
    columns = (
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total)

        def show(done: int) -> None:
            nonlocal said
            bar.update(task, completed=done)
            if not console.is_terminal and (done >= total or time.monotonic() - said > EVERY):
                said = time.monotonic()
                console.print(f"{name}: {done}/{total} {things}")

        yield show
