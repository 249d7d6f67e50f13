"""The page about learning speed-up: it runs, and what it prints is true."""

import json
import re

import pytest
from test_tutorials import TUTORIALS, needs_events, number, run


@needs_events
def test_how_many_groups():
    printed = run("13", ["momentum"])
    assert number("largest difference:", printed) < 1e-5
    narrow, full = re.findall(r"^charged for .*: +([\d.]+) ms an iteration$", printed, re.MULTILINE)
    assert float(full) > 100 * float(narrow)
    out = TUTORIALS / "output" / "small" / "13_plan"
    assert "picture: tutorials/output/small/13_plan/plan.png" in printed
    choices = json.loads((out / "plan.json").read_text())["choices"]
    rows = re.findall(r"^ +(\d) +([\d.]+) = +([\d.]+) x +([\d.]+)$", printed, re.MULTILINE)
    assert [int(row[0]) for row in rows] == [choice["groups"] for choice in choices] == [1, 2]
    for (_, *figures), choice in zip(rows, choices, strict=True):
        speedup, machine, epochs = map(float, figures)
        assert speedup == pytest.approx(choice["learning_speedup"], abs=0.006)
        assert speedup == pytest.approx(machine * epochs, abs=0.02)
        assert machine == pytest.approx(
            choice["parallel_speedup"] / choices[0]["parallel_speedup"], abs=0.006
        )
    table = printed.split("groups   momentum")[1]
    best = re.findall(r"^ +(\d) +(\S+) +(\S+) +(\S+)$", table, re.MULTILINE)
    assert [float(row[-1]) for row in best] == [0.9, 0.4]  # the formula
    assert all("1.00" in row[1:3] for row in best)
