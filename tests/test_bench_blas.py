"""``minidl bench blas``: what is timed are the products that a network makes, by any NumPy."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from launch import minidl
from printed import Printed

from minidl.cli import blas_command
from minidl.cli.blas_command import described, measure_blas, operations, products_of, take_turns
from minidl.cli.products import factor


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small images, and not many turns."""
    monkeypatch.setattr(blas_command, "SHAPE", (32, 32, 3))
    monkeypatch.setattr(blas_command, "TURNS", 2)


def test_the_products_are_those_of_a_training_step():
    made = products_of("hep")
    labels = {described(product): times for product, times in made.items()}
    assert labels["8x128 128x2"] == 1  # the linear layer, forward
    assert labels["128x8' 8x2"] == 1  # and its weights' gradient
    assert any(re.fullmatch(r"36 of \d+x128 128x128", label) for label in labels)
    assert any(re.fullmatch(r"\d+x27 27x128", label) for label in labels)


def test_operations_are_two_a_multiply_add():
    first, second = np.empty((5, 1, 2, 3), np.float32), np.empty((7, 3, 4), np.float32)
    product = (first.shape, first.strides), (second.shape, second.strides)
    assert operations(product) == 2 * 5 * 7 * 2 * 3 * 4
    assert described(product) == "35 of 2x3 3x4"


def test_factors_lie_in_memory_as_they_do_in_the_network():
    transposed = np.empty((4, 3), np.float32).T
    found = factor(transposed.shape, transposed.strides)
    assert (found.shape, found.strides) == (transposed.shape, transposed.strides)


def test_every_python_times_every_product_in_every_turn():
    products = list(products_of("hep"))[:3]
    names, seconds = take_turns([Path(sys.executable)] * 2, products)
    assert names[0] == names[1]
    assert seconds.shape == (2, 2, 3) and (seconds > 0).all()


def test_others_stand_beside_this_blas_with_their_speed_over_its():
    console = Printed()
    measure_blas("hep", [Path(sys.executable)], console)
    assert console.text.count(f"of the NumPy of {sys.executable}") == 2
    assert "2 / 1" in console.text
    assert re.search(r"a step's +[\d,]+ +100 +[\d.]+ +[\d.]+ +[\d.]+ \(", console.text)


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("nowhere/python", "cannot be started: No such file"),
        ("true", "not a Python with NumPy"),
        ("without_numpy", "not a Python with NumPy.*No module named 'numpy'"),
    ],
)
def test_what_is_no_python_with_numpy_is_refused_in_one_line(tmp_path, python, said):
    (tmp_path / "true").write_text("#!/bin/sh\ntrue\n")
    (tmp_path / "without_numpy").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    for script in tmp_path.iterdir():
        script.chmod(0o755)
    done = minidl("bench", "blas", "--against", tmp_path / python)
    assert done.returncode == 2
    assert re.search(f"minidl: --against {tmp_path / python}: {said}", done.stderr)
    assert done.stderr.count("\n") == 1
