"""The page about the paper's figures runs, and what it says of its what-ifs is so."""

import re

import numpy as np
import pytest
from test_tutorials import run


def rows(printed, names):
    """The numbers after each of these names, at a line's beginning."""
    return {
        name: np.array(re.search(rf"^{re.escape(name)} +([\d., ]+)$", printed, re.MULTILINE)[1]
                       .replace(",", "").split(), float)
        for name in names
    }  # fmt: skip


def test_the_papers_figures():
    pictures = [f"figure_{number}_{name}" for number in (6, 7) for name in ("hep", "climate")]
    printed = run("12", [*pictures, "what_ifs"])
    assert "hep      : 1.90 TFLOP/s with 8 images" in printed
    assert "climate  : 2.09 TFLOP/s with 8 images" in printed
    for shares in re.findall(r": (computing .* %, slower nodes .* %)$", printed, re.MULTILINE):
        found = [float(share) for share in re.findall(r"(-?[\d.]+) %", shares)]
        assert sum(found) == pytest.approx(100, abs=0.4)
        assert found[4] > 5 > found[1] + found[2] + found[3]  # "nearly all of it"

    what_ifs = rows(
        printed,
        ("published", "as described", "bandwidth / 10", "latency * 100", "jitter / 3",
         "no fewer than 8, 4 images"),
    )  # fmt: skip
    described, few = what_ifs["as described"], what_ifs["no fewer than 8, 4 images"]
    assert (what_ifs["jitter / 3"] > described).all()
    for network in ("bandwidth / 10", "latency * 100"):  # "not the network"
        assert what_ifs[network] == pytest.approx(described, rel=0.15)
    assert described[1] > 2 * described[0]  # sync of hep goes on, as described,
    assert few[1] == pytest.approx(few[0], rel=0.15)  # and stops
    assert few[3] > 1.7 * few[2]  # "hybrids go on"
    assert few[5] == pytest.approx(few[4], rel=0.15)
