"""``minidl bench machine``: what it measures is a machine for a virtual cluster."""

import json

import pytest
from launch import minidl

from minidl.parallel.virtual import Machine, VirtualCluster


def test_this_machine_is_measured_and_can_be_used(tmp_path):
    done = minidl("bench", "machine", "--out", "machine.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    machine = Machine(**json.loads((tmp_path / "machine.json").read_text()))
    assert 1e8 < machine.flops < 1e13
    assert 0 < machine.latency < 1e-2
    assert 1e6 < machine.bandwidth < 1e13

    def program(comm):
        comm.Barrier()
        return comm.clock()

    assert VirtualCluster(2, machine).run(program) == [pytest.approx(machine.latency)] * 2


def test_where_it_cannot_write_it_says_so(tmp_path):
    done = minidl("bench", "machine", "--out", "none/machine.json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("minidl: none/machine.json: cannot write")
