"""Every command with junk for flags: status 0 to 2, at most one line, no traceback."""

import itertools
import os
import re
from functools import cache

import pytest
from commands import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Every command, with words that let it start; nothing of it could run for long, as its data or its
# run is not there, or (REFUSED) as one of its numbers is always out of range.
COMMANDS = {
    "inspect": ("none.h5",), "evaluate": ("none", "--data", "none.h5"), "plot": ("none",),
    "waits": ("none",), "diff": ("none", "none"), "replay": ("none",),
    "export": ("none", "--to", "npz"), "train": ("hep", "--data", "none.h5"),
    "compare": ("hep", "--data", "none.h5"), "summary": ("hep", "--channels", "3"),
    "check": ("hep",), "explore": (), "bench step": ("hep",), "bench layers": ("hep",),
    "bench blas": (), "bench machine": (), "generate hep": ("--out", "new.h5"),
    "generate climate": ("--out", "new"), "simulate": ("hep",), "scaling": ("weak", "hep"),
    "explain": ("hep",), "plan": ("hep", "--data", "none.h5"),
}  # fmt: skip
REFUSED = {
    "check": ("--size", "0"), "explore": ("--groups", "0"), "bench step": ("--batch-size", "0"),
    "bench layers": ("--batch-size", "0"), "bench blas": ("--model", "none"),
    "bench machine": ("--model", "none"), "generate hep": ("--events", "0"),
    "generate climate": ("--years", "none"), "compare": ("--ranks", "0"),
    "simulate": ("--nodes", "0"), "scaling": ("--iterations", "0"), "explain": ("--ranks", "0"),
    "plan": ("--nodes", "0"),
}  # fmt: skip
JUNK = (
    "hep", "none", ".", "/", "", "-1", "0", "1", "2.5", "1e400", "nan", "inf", "9" * 25, "9" * 400,
    "ä\u202e", "[red]", "a\nb", "--", "x" * 5000, "folder", "text", "gone", "closed/x.png",
    "folder/x/y.png", "text/x.png", "/proc/none.png", "/dev/null", "sync", "true",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one of everything that a path can lead to."""
    folder = tmp_path_factory.mktemp("junk")
    (folder / "folder").mkdir()
    (folder / "text").write_text("text")
    (folder / "gone").symlink_to("nowhere")
    (folder / "closed").mkdir(mode=0o555)
    return folder


@pytest.fixture
def place(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@cache
def flags(name):
    """Those that a command has, as its help says."""
    return sorted({*re.findall(r"--[a-z][a-z-]*", run(*name.split(), "--help").said)} - {"--help"})


@st.composite
def lines(draw):
    """A command, what it needs, junk with and without flags, and what has it refused at the end."""
    name = draw(st.sampled_from(list(COMMANDS)))
    junk = st.sampled_from(JUNK)
    words = st.tuples(junk)
    if flags(name):
        words |= st.tuples(st.sampled_from(flags(name)), junk)
    own = COMMANDS[name] if name in REFUSED or draw(st.booleans()) else ()
    drawn = draw(st.lists(words, max_size=4))
    return [*name.split(), *own, *itertools.chain(*drawn), *REFUSED.get(name, ())]


def test_every_flag_is_found():
    assert {"--learning-rate", "--resume", "--virtual-ranks", "--preset"} <= {*flags("train")}
    assert all(flags(name) for name in COMMANDS)


@pytest.mark.filterwarnings("ignore:Cyclopts application")
@pytest.mark.parametrize(
    "words",
    [
        ("train", "hep", "--data", "none.h5", "--groups", "2.5"),
        ("train", "hep", "--data", "none.h5", "--virtual-ranks=64.0"),
        ("bench", "step", "hep", "--size", "64.7"),
        ("explore", "--iterations", "1.2"),
        ("generate", "hep", "--out", "new.h5", "--events", ".5"),
    ],
)
def test_whole_numbers_are_not_rounded(place, words):
    ended = run(*words)
    flag, number = " ".join(words).replace("=", " ").split()[-2:]
    assert (ended.status, ended.lines) == (
        2,
        [f"minidl: {flag} {number}: expected a whole number"],
    )
    assert not os.path.exists("new.h5")


@pytest.mark.filterwarnings("ignore:Cyclopts application")
@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=lines())
def test_junk_is_refused_in_a_line(place, words):
    assert_refused(place, words)


@pytest.mark.filterwarnings("ignore:Cyclopts application")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_refuses_junk(place, name):
    for number, flag in enumerate(flags(name)):
        for junk in JUNK[number % 5 :: 5]:
            words = *name.split(), *COMMANDS[name], flag, junk, *REFUSED.get(name, ())
            assert_refused(place, words)


def assert_refused(place, words):
    """Or what was junk was none."""
    before = os.listdir(place)
    ended = run(*words)
    assert ended.status in (0, 1, 2)
    assert len(ended.lines) <= 1, ended.lines
    assert all(line.startswith("minidl:") for line in ended.lines)
    assert len(ended.lines) == (ended.status == 2)
    assert os.listdir(place) == before
