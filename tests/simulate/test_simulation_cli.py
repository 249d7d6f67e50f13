"""``minidl simulate``, ``scaling`` and ``explain``: what they print, and mistakes in one line."""

import json
import re

import pytest
from launch import minidl

SMALL = ("--nodes", 18, "--strategy", "hybrid", "--groups", 3, "--iterations", 3)


def test_simulate_prints_where_the_time_goes():
    done = minidl("simulate", "hep", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "12 workers, in 3 groups of 4, and 6 servers" in done.stdout
    for told in ("waiting for slower nodes", "PFLOP/s", "times one node", "lost to slower nodes"):
        assert told in done.stdout


def test_json_has_the_figures_of_the_outcome():
    done = minidl("simulate", "hep", *SMALL, "--jitter", 0, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["speedup"] == pytest.approx(12, rel=0.02)
    assert figures["sustained"] == pytest.approx(12 * 1.90e12, rel=0.02)
    assert figures["straggler_loss"] == pytest.approx(0, abs=1e-3)


def test_scaling_prints_and_draws_what_is_predicted_beside_what_was_published(tmp_path):
    done = minidl(
        "scaling", "strong", "hep", "--nodes", 1, 8, "--iterations", 2,
        "--picture", "strong.png", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for told in ("sync", "hybrid-2", "hybrid-4", "no figure to be held to"):
        assert told in done.stdout
    assert (tmp_path / "strong.png").read_bytes().startswith(b"\x89PNG")


def test_scaling_as_json():
    done = minidl("scaling", "weak", "hep", "--nodes", 4, "--strategies", "async", "--json")
    (point,) = json.loads(done.stdout)
    assert (point["strategy"], point["nodes"], point["samples"]) == ("async", 4, 8)
    assert 3.5 < point["speedup"] < 4


def test_several_values_may_stand_with_commas_or_with_spaces():
    commas = minidl("scaling", "weak", "hep", "--nodes", "2,4", "--strategies=sync,hybrid-2")
    spaces = minidl("scaling", "weak", "hep", "--nodes", 2, 4, "--strategies", "sync", "hybrid-2")
    assert commas.returncode == 0, commas.stderr
    assert commas.stdout == spaces.stdout
    refused = minidl("scaling", "weak", "hep", "--nodes", "2,4.5")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "minidl: --nodes 4.5: expected a whole number\n"


def test_explain_tells_roles_and_layers():
    done = minidl("explain", "hep", "--ranks", 16, "--strategy", "hybrid", "--groups", 4)
    assert done.returncode == 0, done.stderr
    assert "group 1: ranks 4 to 7, of which 4 speaks to the servers" in done.stdout
    assert "rank 16: server of conv2" in done.stdout
    for name in ("conv1", "conv5", "linear", "announced", "exposed", "Predicted: "):
        assert name in done.stdout


MISTAKES = {
    "no nodes": ("simulate hep --nodes 0", "--nodes must be from 1 to 1,000,000, got 0"),
    "uneven groups": (
        "simulate hep --nodes 100 --strategy hybrid --groups 9",
        "are 94 workers, which 9 equal groups cannot have; --nodes 96 can be dealt",
    ),
    "servers only": ("simulate hep --nodes 6 --strategy async", "leave no worker; .*at least 7"),
    "too many servers": (
        "simulate hep --nodes 9 --strategy async --servers 7", "--servers 7 for 6 layers"
    ),
    "groups of sync": ("simulate hep --nodes 8 --groups 2", "--groups goes with --strategy hybrid"),
    "no machine": ("simulate hep --nodes 8 --machine cray", "no such machine, and no such file"),
    "jitter": ("simulate hep --nodes 8 --jitter nan", "--jitter must not be negative"),
    "no option": ("simulate hep --nodes 8 --preset paper", "has no option --preset"),
    "no model": ("simulate hap --nodes 8", "no model 'hap'"),
    "no kind": ("scaling sideways hep", "strong.*weak"),
    "no strategy": ("scaling weak hep --strategies hybrid", "expected sync, async, or hybrid-G"),
    "no way to deal": ("scaling strong hep --nodes 10000", "none of --nodes can be dealt"),
    "no picture": ("scaling weak hep --picture x.txt", "unknown kind of picture"),
    "no ranks": ("explain hep --ranks 0", "--ranks must be from 1"),
    "uneven ranks": (
        "explain hep --ranks 30 --strategy hybrid --groups 8",
        "--ranks 30 with 6 parameter servers are 30 workers.*--ranks 32 can be dealt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line(name, tmp_path):
    command, expected = MISTAKES[name]
    done = minidl(*command.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert re.search(expected, done.stderr), done.stderr
