"""Files damaged at random, each tried in a process of its own that may crash: HDF5 is written in C.

As a program, it is that process: it makes one mutant after the other and says what came of each.
"""

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

PATIENCE = 20  # seconds of processor a mutant, of which none should need a tenth of one
ROOM = 4 * 2**30  # bytes of address space: what asks for more gets a MemoryError
MOST_BYTES = 8  # that are changed in one mutant
DRAWN = 250  # of so many mutants one is also drawn, which takes a hundred times longer


def damage(whole: bytes, generator: np.random.Generator) -> bytes:
    """Change some bytes, cut the end off, or lose a block: what disks, networks and people do."""
    data = bytearray(whole)
    kind = generator.random()
    if kind < 0.8:
        # Half of them near the start, where HDF5 keeps most of what describes the rest.
        end = len(data) if generator.random() < 0.5 else min(len(data), 4096)
        for place in generator.integers(end, size=generator.integers(1, MOST_BYTES + 1)):
            values = (0, 255, data[place] ^ 1 << generator.integers(8), generator.integers(256))
            data[place] = int(generator.choice(values))
    elif kind < 0.9:
        del data[generator.integers(len(data)) :]
    else:
        start, length = generator.integers(len(data)), generator.integers(1, 512)
        data[start : start + length] = bytes(len(data[start : start + length]))
    return bytes(data)


@cache
def load(model: str) -> ModuleType:
    """A model, found once only: to look for it among all packages takes longer than a mutant."""
    from minidl import model as models

    return models.load(model)


class Quiet:
    """A console that shows nothing, which takes no time."""

    def print(self, *_: object, **__: object) -> None:
        pass

    def status(self, _: str) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


def read_data(model: str, path: Path, drawn: bool) -> None:
    """All that the library does with a data file before it trains."""
    from rich.console import Console

    from minidl.cli import inspect
    from minidl.model import Model

    if drawn:
        inspect.inspect_file(path, None, Console(file=io.StringIO()))
    else:
        draw, inspect.draw = inspect.draw, lambda *_: None
        try:
            inspect.inspect_file(path, None, Quiet())
        finally:
            inspect.draw = draw
    judged = Model(load(model))
    dataset = judged.open([path])
    judged.shape(dataset)
    for start in range(0, len(dataset), 100):
        dataset.read(np.arange(start, min(start + 100, len(dataset))))


def read_checkpoint(path: Path) -> None:
    from minidl import checkpoint
    from minidl.record import load

    if path.name == "record.h5":
        load(path.parent)
    else:
        checkpoint.newest(path)


def write(path: Path, contents: bytes) -> None:
    """Replace a file's contents in place, which is faster than to make it anew."""
    with path.open("r+b") as file:
        file.write(contents)
        file.truncate()


def verdict(kind: str, path: Path, drawn: bool) -> str:
    """Say "read", "refused", or what should not have happened."""
    from minidl.errors import UserError

    try:
        if kind == "checkpoint":
            read_checkpoint(path)
        else:
            read_data(kind, path, drawn)
    except UserError as error:
        return "refused" if len(str(error).splitlines()) == 1 else f"lines: {error!r}"
    except BaseException as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)
        mine = [f"{Path(f.filename).name}:{f.lineno}" for f in where if "minidl" in f.filename]
        return f"{type(error).__name__}: {str(error)[:200]} at {' '.join(mine[-3:])}"
    return "read"


def main(kind: str, original: str, first: str, stop: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    whole, path = Path(original).read_bytes(), Path(original)
    assert verdict(kind, path, drawn=True) == "read"  # and all that is needed for it is loaded
    for number in range(int(first), int(stop)):
        write(path, damage(whole, np.random.default_rng([number, len(whole)])))
        print(json.dumps([number, None]), flush=True)
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)  # ends the process, also inside of HDF5
        said = verdict(kind, path, drawn=number % DRAWN == 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([number, said]), flush=True)
    write(path, whole)
    print(json.dumps(["kilobytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))


def outcomes(kind: str, original: Path, first: int, count: int) -> tuple[dict[int, str], int]:
    """Try mutants ``first`` and after; return what came of each, and the most kilobytes used."""
    whole = original.read_bytes()
    found: dict[int, str] = {}
    kilobytes, stop = 0, first + count
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    while first < stop:
        original.write_bytes(whole)
        command = [sys.executable, __file__, kind, str(original), str(first), str(stop)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        for name, value in map(json.loads, done.stdout.splitlines()):
            if name == "kilobytes":
                kilobytes = max(kilobytes, value)
            else:
                found[name] = value or f"ended with status {done.returncode}: {done.stderr[-300:]}"
                first = name + 1
        assert done.stdout, done.stderr
    return found, kilobytes


def wrong(found: dict[int, str]) -> dict[int, str]:
    """What should not have happened, by the mutant's number."""
    return {number: said for number, said in found.items() if said not in ("read", "refused")}


if __name__ == "__main__":
    main(*sys.argv[1:])
