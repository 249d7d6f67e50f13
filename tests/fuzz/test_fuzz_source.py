"""What the source promises: nothing is unpickled, ranks send buffers only, no text becomes code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "minidl").rglob("*.py"), *(ROOT / "models").rglob("*.py")])

FORBIDDEN = {
    "pickle": r"^\s*(import|from) (pickle|dill|shelve|marshal)\b|allow_pickle=True",
    "object messages": r"\b(comm|group|world|COMM_WORLD)\.(i?send|i?recv|i?bcast|gather|scatter|"
    r"allgather|allreduce|reduce|alltoall|sendrecv|scan)\(",
    "code from text": r"(?<![\w.])(eval|exec)\(",
}

# Engines of a benchmark go to a process that minidl itself starts, through a pipe of its own.
ALLOWED = {("pickle", "minidl/bench/turns.py"), ("pickle", "minidl/bench/worker.py")}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_source_has_none_of_it(what):
    found = {
        (what, path.relative_to(ROOT).as_posix())
        for path in SOURCES
        if re.search(FORBIDDEN[what], path.read_text(), re.MULTILINE)
    }
    assert found - ALLOWED == set()
    assert found == {entry for entry in ALLOWED if entry[0] == what}


@pytest.mark.parametrize(
    ("what", "line"),
    [("pickle", "import pickle"), ("object messages", "self.comm.bcast(x)"),
     ("code from text", "y = eval(x)")],
)  # fmt: skip
def test_it_would_be_found(what, line):
    assert re.search(FORBIDDEN[what], line, re.MULTILINE)
