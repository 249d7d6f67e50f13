"""``minidl bench machine``: what it measures is a machine for a virtual cluster, and more."""

import re

import numpy as np
import pytest
from launch import minidl

from minidl.cli import cost_model
from minidl.machines import read_machine
from minidl.parallel.virtual import VirtualCluster


def test_this_machine_is_measured_and_can_be_used(tmp_path):
    done = minidl("bench", "machine", "--out", "machine.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for measured in (
        r"sgemm",
        r"copying, [\d.]+ GB/s",
        r"[\d.e-]+ ms for the all-reduce of hep's gradient, 2.27 MiB",
        *(rf"{name} +[\d.e-]+ +[\d.e-]+" for name in cost_model.NAMES),
    ):
        assert re.search(measured, done.stdout)
    machine = read_machine(str(tmp_path / "machine.json"))
    assert 1e8 < machine.flops < 1e13
    assert 0 < machine.latency < 1e-2
    assert 1e6 < machine.bandwidth < 1e13

    def program(comm):
        comm.Barrier()
        return comm.clock()

    assert VirtualCluster(2, machine).run(program) == [pytest.approx(machine.latency)] * 2


def test_constants_that_explain_the_times_are_found(monkeypatch):
    constants, generator = np.array([2e-11, 3e-9, 5e-9]), np.random.default_rng(1)
    counts = generator.integers(1, [10**9, 10**7, 10**6], (12, 3))
    monkeypatch.setattr(cost_model, "times", lambda: [(row, row @ constants) for row in counts])
    used, fitted = cost_model.fit_constants()
    np.testing.assert_allclose(fitted.constants, constants, rtol=1e-9)
    assert fitted.error < 1e-9 < used.error


def test_where_it_cannot_write_it_says_so(tmp_path):
    done = minidl("bench", "machine", "--out", "none/machine.json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("minidl: none/machine.json: cannot write")
