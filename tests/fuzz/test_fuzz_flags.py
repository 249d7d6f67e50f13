"""Every command with junk for flags: status 0 to 2, at most one line, no traceback."""

import contextlib
import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minidl.__main__ as command

# Those that end early on junk; the others measure, or make data.
COMMANDS = ("inspect", "evaluate", "plot", "waits", "diff", "replay", "train", "compare")
FLAGS = (
    "--data", "--json", "--out", "--picture", "--batch-size", "--epochs", "--groups", "--seed",
    "--learning-rate", "--momentum", "--strategy", "--clip", "--from", "--resume", "--width",
    "--virtual-ranks", "--options", "--", "-x",
)  # fmt: skip
JUNK = st.sampled_from(
    ["hep", "none", ".", "/", "", "-1", "0", "1e400", "nan", "inf", "9" * 400, "ä\u202e", "[red]",
     "a\nb", "folder", "--", "x" * 5000]
)  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.filterwarnings("ignore:Cyclopts application")
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(COMMANDS),
    words=st.lists(st.one_of(st.sampled_from(FLAGS), JUNK), max_size=5),
)
def test_junk_is_refused_in_a_line(place, name, words):
    said, status = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["minidl", name, *words])
        patch.setattr(command, "_leave", lambda message, code: leave(message, code))
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                command.main()
            except SystemExit as end:
                status = end.code or 0
    lines = said.getvalue().splitlines()
    assert status in (0, 1, 2)
    assert len(lines) <= 1, lines
    assert all(line.startswith("minidl:") for line in lines)
    assert os.listdir(place) == ["folder"]


def leave(message, code):
    """As the command's own, without ending this process at once where MPI was started."""
    command._say(message)
    raise SystemExit(code)
