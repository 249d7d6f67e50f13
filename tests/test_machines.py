"""Machines as they are published, and as files describe them."""

import json
from dataclasses import asdict

import pytest

from minidl.errors import UserError
from minidl.machines import DESCRIPTIONS, Rate, read_machine
from minidl.parallel.virtual import Machine


@pytest.mark.parametrize(("network", "rate"), [("hep", 1.90e12), ("climate", 2.09e12)])
def test_a_node_of_cori_has_the_paper_s_rates_with_eight_images(network, rate):
    machine = read_machine("cori-knl", network)
    assert 8 * 1e9 / machine.compute_time(1e9, 8) == pytest.approx(rate)
    assert 1e9 / machine.compute_time(1e9, 1) < rate


def test_a_measured_rate_has_the_share_that_does_not_grow_with_the_batch():
    rate = Rate.measured(1e12, batch=8, fixed=0.25)
    machine = Machine("any", rate.flops, half_batch=rate.half_batch)
    of_eight, fixed = machine.compute_time(1e12, 8), machine.compute_time(1e12, 0)
    assert of_eight == pytest.approx(8.0)
    assert fixed / of_eight == pytest.approx(0.25)


def test_other_networks_have_the_rate_of_any():
    assert read_machine("cori-knl", "mine") == read_machine("cori-knl")


def test_an_assumed_rate_is_the_share_of_the_peak_that_it_says():
    share = DESCRIPTIONS["perlmutter-gpu"].rates["any"].flops / 156e12
    assumed = DESCRIPTIONS["frontier-gpu"].rates["any"].flops
    assert assumed == pytest.approx(share * 95.7e12 / 2, rel=0.01)


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_every_figure_has_its_source(name):
    description = DESCRIPTIONS[name]
    assert {*asdict(description)} - {"name", "sources"} == {*description.sources}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_is_read_back_from_a_file(name, tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(asdict(DESCRIPTIONS[name])))
    for network in ("hep", "climate", "any"):
        assert read_machine(str(path), network) == read_machine(name, network)


def test_a_machine_is_read_back_from_a_file(tmp_path):
    path, machine = tmp_path / "machine.json", Machine("here", 1e10, 1e-6, 1e9, jitter=0.1)
    path.write_text(json.dumps(asdict(machine)))
    assert read_machine(str(path), "hep") == machine


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"name": 1}', '{"rates": {}}', '{"rates": {"any": {"flops": 1}}}']
)
def test_a_file_of_something_else_is_refused(text, tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(text)
    with pytest.raises(UserError, match="does not describe a machine"):
        read_machine(str(path))


def test_an_unknown_name_is_refused():
    with pytest.raises(
        UserError, match=r"no such machine.*known are cori-knl, perlmutter-gpu, frontier-gpu"
    ):
        read_machine("cray-1")
