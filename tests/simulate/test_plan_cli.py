"""``minidl plan``: what it learns, leaves and prints, that it goes on, and mistakes in one line."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from events import write_events
from launch import minidl

HOW = (
    "plan", "hep", "--nodes", 8, "--groups", 1, 4, "--momenta", 0, 0.4, "--seeds", 1, 2,
    "--width", 2, "--batch-sizes", 16, "--learning-rates", 0.003,
)  # fmt: skip
SHORT = (*HOW, "--data", "events.h5", "--validation", "events.h5", "--epochs", 2)
LONG = (*HOW, "--data", "many.h5", "--epochs", 300)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("plan")
    write_events(place / "events.h5", 40)
    (place / "occupied").mkdir()
    (place / "occupied" / "thesis.txt").write_text("mine")
    done = minidl(*SHORT, cwd=place)
    assert done.returncode == 0, done.stderr
    (place / "printed").write_text(done.stdout)
    return place


def test_it_says_what_was_computed_and_what_charged(place):
    printed = (place / "printed").read_text()
    assert "Computed: hep, 2 filters, 16x16x3 images, 2 epochs; 8 runs" in printed
    assert "Charged: hep as it is meant for, 224x224x3 images, 15.43 GFLOP a sample" in printed
    assert "8 nodes of Cori, phase II" in printed


def test_it_leaves_curves_table_and_picture(place):
    out, printed = place / "plan", (place / "printed").read_text()
    figures = json.loads((out / "plan.json").read_text())
    assert len(list((out / "curves").glob("*.npz"))) == 8
    assert (out / "plan.png").read_bytes().startswith(b"\x89PNG")
    assert [choice["groups"] for choice in figures["choices"]] == [1, 4]
    for choice in figures["choices"]:
        assert choice["momentum"] in (0, 0.4)
        assert {*choice["validation"]} == {"loss", "accuracy"}
        assert f"{choice['epoch']:.4g}" in printed
    assert f"{figures['target']:.4g}" in printed
    assert figures["recommendation"] in printed
    for told in ("parallel speed-up:", "learning speed-up:", "DAWNBench", "DeepEx"):
        assert told in printed


def test_what_is_done_is_not_done_again(place):
    curves = sorted((place / "plan" / "curves").iterdir())
    before = curves[1].stat().st_mtime_ns
    was = curves[0].read_bytes()
    curves[0].unlink()
    again = minidl(*SHORT, "--json", "--target", 0.1, cwd=place)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["target"] == 0.1
    assert "has 7 of 8 runs; goes on" in again.stderr
    assert curves[0].read_bytes() == was
    assert curves[1].stat().st_mtime_ns == before


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes where Linux has them")
@pytest.mark.parametrize(
    ("how", "status", "expected"),
    [(signal.SIGINT, 130, "minidl: interrupted\n"), (signal.SIGKILL, -signal.SIGKILL, "")],
)
def test_ended_from_outside_it_leaves_no_process_and_goes_on_later(place, how, status, expected):
    write_events(place / "many.h5", 400)
    out = place / f"ended-by-{how}"
    with subprocess.Popen(
        [Path(sys.executable).with_name("minidl"), *map(str, LONG), "--out", out],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not out.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        while not (children := processes_of(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert children
        process.send_signal(how)
        _, said = process.communicate(timeout=60)  # of its processes, too
    assert process.returncode == status
    assert said == expected
    while any(map(is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, children))
    assert (out / "asked.json").exists()
    assert not list(out.glob("curves/*.part"))


def processes_of(parent):
    """Processes that it has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return children.read_text().split() if children.exists() else []


def is_alive(process):
    """Whether it is there, and not only waits for somebody to ask how it ended."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and not re.search(r"^State:\s+Z", status.read_text(), re.MULTILINE)


MISTAKES = {
    "nodes": ("--data events.h5 --nodes 0", "--nodes must be from 1"),
    "rate": ("--data events.h5 --nodes 8 --learning-rates 0", "--learning-rate must be a positive"),
    "seed": ("--data events.h5 --nodes 8 --seeds -1", "--seed must not be negative"),
    "epochs": ("--data events.h5 --nodes 8 --epochs 0", "--epochs must be at least 1"),
    "machine": ("--data events.h5 --nodes 8 --machine none", "no such machine, and no such file"),
    "option": ("--data events.h5 --nodes 8 --preset paper", "has no option --preset"),
    "no data": ("--data none.h5 --nodes 8", "none.h5: no such file"),
    "no validation": ("--data events.h5 --nodes 8 --validation none.h5", "none.h5: no such file"),
    "more nodes than samples": ("--data events.h5 --nodes 64", "40 samples are fewer than 64"),
    "big batch": ("--data events.h5 --nodes 8 --batch-sizes 80", "more than the 40 samples"),
    "momentum": ("--data events.h5 --nodes 8 --momenta 1", "--momentum must lie in"),
    "width": ("--data events.h5 --nodes 8 --width 0", "--width must be at least 1"),
    "target": ("--data events.h5 --nodes 8 --target nan", "--target must be a positive number"),
    "another plan": ("--data events.h5 --nodes 8 --out plan", "has another plan, whose"),
    "occupied": ("--data events.h5 --nodes 8 --out occupied", "not the folder of a plan"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line(name, place):
    words, expected = MISTAKES[name]
    done = minidl("plan", "hep", *words.split(), cwd=place)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert re.search(expected, done.stderr), done.stderr
