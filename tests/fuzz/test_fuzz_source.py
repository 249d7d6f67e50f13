"""What the source promises: nothing is unpickled, ranks send buffers only, no text becomes code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "minidl").rglob("*.py"), *(ROOT / "models").rglob("*.py")])

UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
LOWER_CASE = {
    "send", "bsend", "ssend", "recv", "sendrecv", "isend", "ibsend", "issend", "irecv", "mprobe",
    "bcast", "gather", "scatter", "allgather", "alltoall", "reduce", "allreduce", "scan", "exscan",
    "ibcast",
}  # fmt: skip
# What else has methods of these names: modules, at the start, and objects, at the end.
MODULES, OBJECTS = {"np", "functools"}, {"strategy", "self", "snapshot", "record"}


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def problems(source: str) -> set[str]:
    """What a module does that it should not."""
    return {said for node in ast.walk(ast.parse(source)) if (said := problem(node))}


def problem(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        origin = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        names = [origin, *(alias.name for alias in node.names)]
        if any(name.split(".")[0] in UNPICKLING for name in names):
            return "pickle"
    if not isinstance(node, ast.Call):
        return None
    function, given = ast.unparse(node.func), keywords(node)
    place, _, name = function.rpartition(".")
    if not place and name in RUNS_TEXT:
        return "code from text"
    if given.get("allow_pickle", "False") != "False":
        return "pickle"
    if function in ("np.load", "numpy.load") and "allow_pickle" not in given:
        return "np.load that does not refuse to unpickle"
    if function == "torch.load" and given.get("weights_only") != "True":
        return "torch.load of more than weights"
    owners = place.split(".")
    if place and name in LOWER_CASE and owners[0] not in MODULES and owners[-1] not in OBJECTS:
        return "object message"
    return None


# Engines of a benchmark go to a process that minidl itself starts, through a pipe of its own.
ALLOWED = {("minidl/bench/turns.py", "pickle"), ("minidl/bench/worker.py", "pickle")}


def test_the_source_does_none_of_it():
    assert len(SOURCES) > 150
    found = {
        (path.relative_to(ROOT).as_posix(), said)
        for path in SOURCES
        for said in problems(path.read_text())
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import pickle", "pickle"),
        ("from numpy import load\nimport os, dill as d", "pickle"),
        ("def f():\n    from marshal import loads", "pickle"),
        ("np.savez(file, allow_pickle=True)", "pickle"),
        ("np.load(path)", "np.load that does not refuse to unpickle"),
        ("np.load(path, allow_pickle=flag)", "pickle"),
        ("torch.load(path)", "torch.load of more than weights"),
        ("torch.load(path, weights_only=False)", "torch.load of more than weights"),
        ("x = self.comm.bcast(x, root=0)", "object message"),
        ("MPI.COMM_WORLD.allreduce(1)", "object message"),
        ("self.strategy.group.isend(x, 1)", "object message"),
        ("y = eval(x)", "code from text"),
        ("exec(open(path).read())", "code from text"),
    ],
)
def test_it_would_be_found(source, said):
    assert problems(source) == {said}


@pytest.mark.parametrize(
    "source",
    ["np.load(path, allow_pickle=False)", "comm.Bcast(x, root=0)", "np.add.reduce(x)",
     "model.evaluate(x)", "re.compile(x)", "torch.load(path, weights_only=True)"],
)  # fmt: skip
def test_nothing_else_is_found(source):
    assert problems(source) == set()
