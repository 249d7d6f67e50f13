"""The three strategies are one outline: the same names in the same order, equal where they can be.

What is measured here is what `tutorials/side_by_side.py` shows.
"""

import ast
import sys
from itertools import combinations
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tutorials"))

from outline import OutlineError, Source, in_common, merged, similarity  # noqa: E402
from side_by_side import FILES  # noqa: E402

SYNC, ASYNC, HYBRID = SOURCES = [Source(path) for path in FILES]
TREES = [ast.parse(path.read_text()) for path in FILES]
SERVER = ast.parse((FILES[0].parent / "server.py").read_text())

# All of MPI that the strategies call: what another communicator has to offer to carry them.
OF_A_COMMUNICATOR = {
    "Split",
    "Bcast", "Ibcast", "Allreduce", "Iallreduce", "Ireduce",
    "Send", "Recv", "Isend", "Irecv", "Probe", "Revoke",
}  # fmt: skip
OF_A_REQUEST = {"Wait", "Test"}
OF_A_STATUS = {"Status", "Get_source", "Get_tag"}


def methods(tree):
    (strategy,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    return {node.name: node for node in strategy.body if isinstance(node, ast.FunctionDef)}


def body(function):
    """What a function does, without its docstring, comments and layout."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return [ast.unparse(statement) for statement in statements]


def parameters(function):
    arguments = function.args
    assert not (arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg)
    return [ast.unparse(argument) for argument in arguments.args]


@pytest.mark.parametrize("sources", list(combinations(SOURCES, 2)))
def test_names_that_two_files_share_stand_in_the_same_order(sources):
    first, second = sources
    assert [name for name in first.parts if name in second.parts] == [
        name for name in second.parts if name in first.parts
    ]


def test_there_is_one_order_for_all():
    order = merged(SOURCES)
    assert len(set(order)) == len(order)
    for source in SOURCES:
        assert [name for name in order if name in source.parts] == list(source.parts)
    assert set(SYNC.parts) <= set(ASYNC.parts) <= set(HYBRID.parts)


def test_a_lost_order_is_told(tmp_path):
    texts = ["def a(): ...\n\n\ndef b(): ...\n", "def b(): ...\n\n\ndef a(): ...\n"]
    sources = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        sources.append(Source(path))
    with pytest.raises(OutlineError, match=r"0\.py, 1\.py have no common order: next is a or b"):
        merged(sources)


def test_public_methods():
    public = [[name for name in methods(tree) if not name.startswith("_")] for tree in TREES]
    assert public[0] == ["start", "step", "gather", "stop", "survive"]
    assert public[1] == public[2] == [*public[0][:-1], "serve", "finish", "survive"]


def test_signatures_are_equal_but_for_what_servers_are_told():
    sync, asynchronous, hybrid = (methods(tree) for tree in TREES)
    for name, function in hybrid.items():
        for other in (sync, asynchronous):
            if name in other and (name != "__init__" or other is asynchronous):
                assert parameters(other[name]) == parameters(function), name
                assert ast.unparse(other[name].returns) == ast.unparse(function.returns), name
    of_servers = ["staleness_bound: int | None", "scale_by_staleness: bool"]
    assert [*parameters(sync["__init__"]), *of_servers] == parameters(hybrid["__init__"])


def test_what_should_be_equal_is_equal():
    sync, asynchronous, hybrid = (methods(tree) for tree in TREES)
    assert ast.unparse(sync["start"]) == ast.unparse(asynchronous["start"])
    assert ast.unparse(sync["start"]) == ast.unparse(hybrid["start"])
    assert ast.unparse(sync["gather"]) == ast.unparse(hybrid["gather"])
    assert body(asynchronous["serve"]) == body(hybrid["serve"])
    assert ast.unparse(asynchronous["finish"]) == ast.unparse(hybrid["finish"])


# Of sync.py by itself most lines return in the others; what these have more is their servers' part.
@pytest.mark.parametrize(
    ("first", "second", "floor", "returning"),
    [(SYNC, ASYNC, 0.5, 0.65), (SYNC, HYBRID, 0.45, 0.7), (ASYNC, HYBRID, 0.75, 0.9)],
    ids=["sync-async", "sync-hybrid", "async-hybrid"],
)
def test_similarity(first, second, floor, returning, record_property):
    code, everything = similarity(first, second), similarity(first, second, prose=True)
    shared, own, other = in_common(first, second)
    found = (
        f"{first.name} and {second.name}: similarity {code:.2f}, with prose {everything:.2f}; "
        f"{shared} of {own} and of {other} lines of code in common"
    )
    print(found)
    record_property("similarity", found)
    assert code >= floor
    assert shared >= returning * own


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_strategy_stays_short(source):
    assert len(source.lines) <= 240


@pytest.mark.parametrize("tree", [*TREES, SERVER], ids=[*(p.name for p in FILES), "server.py"])
def test_what_is_called_of_mpi(tree):
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    capitals = {name for name in called if name[0].isupper()}
    assert capitals <= OF_A_COMMUNICATOR | OF_A_REQUEST | OF_A_STATUS
    for call in calls:  # methods in lower case would pickle
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Attribute):
            owner, name = call.value.attr, call.attr
            assert owner not in ("comm", "group") or name in capitals, f"{owner}.{name}"
