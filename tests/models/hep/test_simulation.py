"""The simulation's physics, and what a production of events promises."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from launch import minidl

pytest.importorskip("pythia8mc", reason="simulating needs Pythia: pip install 'minidl[hep]'")
pytest.importorskip("fastjet", reason="jets need fastjet: pip install 'minidl[hep]'")

from minidl_models.hep.collisions import Collisions
from minidl_models.hep.detector import Hits, detect
from minidl_models.hep.images import draw, histogram
from minidl_models.hep.jets import find_jets, preselect
from minidl_models.hep.particles import Particles


@pytest.fixture(scope="module")
def signal_events():
    collisions = Collisions(1, 7)
    return [collisions.next() for _ in range(60)], collisions.cross_section()


def random_hits(seed=0, count=200):
    generator = np.random.default_rng(seed)
    phi = generator.uniform(-np.pi, np.pi, count)
    return Hits(generator.exponential(10, count), generator.uniform(-2, 2, count), phi)


def test_collisions_conserve_momentum_and_energy(signal_events):
    for particles in signal_events[0][:10]:
        assert particles.energy.sum() == pytest.approx(13_000, rel=1e-3)
        across = particles.pt * np.exp(1j * particles.phi)
        assert abs(across.sum()) < 1e-3 * particles.pt.sum()


def test_gluino_pairs_are_heavy_and_make_many_jets(signal_events):
    events, cross_section = signal_events
    # In pb. The paper's data were normalised to 0.014; leading order is somewhat less.
    assert 0.008 < cross_section < 0.018
    generator = np.random.default_rng(0)
    jets = [find_jets(detect(particles, generator)[:2]) for particles in events]
    assert np.mean([preselect(event) for event in jets]) > 0.85
    assert np.median([len(event) for event in jets]) >= 4


def test_the_same_seed_gives_the_same_collisions(signal_events):
    again = Collisions(1, 7)
    for particles in signal_events[0][:3]:
        np.testing.assert_array_equal(again.next().energy, particles.energy)


def test_qcd_above_400_gev_has_the_published_cross_section():
    collisions = Collisions(0, 3)
    for _ in range(600):
        collisions.next()
    # The published slices above 400 GeV are a tenth of what lies above the generator's 250 GeV.
    assert 1.5e4 < collisions.cross_section() < 2.9e4


def test_an_image_holds_what_the_detector_measured_inside_it():
    hits = random_hits()
    for size in (16, 64):
        assert histogram(hits, hits.value, size).sum() == pytest.approx(hits.value.sum(), rel=1e-5)


def test_what_lies_beyond_the_image_is_left_out():
    hits = Hits(np.array([5.0, 7.0]), np.array([2.6, -2.6]), np.zeros(2))
    assert histogram(hits, hits.value, 16).sum() == 0


@pytest.mark.parametrize("pixels", [1, 5, 31])
def test_turning_an_event_by_whole_pixels_rolls_its_image(pixels):
    size = 32
    hits = random_hits()
    turned = hits.phi + pixels * 2 * np.pi / size
    turned = (turned + np.pi) % (2 * np.pi) - np.pi
    image = draw((hits, hits), hits, size)
    rolled = draw(
        (Hits(hits.value, hits.eta, turned),) * 2, Hits(hits.value, hits.eta, turned), size
    )
    np.testing.assert_allclose(rolled, np.roll(image, pixels, axis=2), rtol=1e-5)


def test_a_jet_is_found_where_the_energy_is_and_what_is_soft_is_trimmed():
    hard = Hits(np.array([300.0, 200.0]), np.array([0.0, 0.1]), np.array([3.1, -3.1]))
    soft = Hits(np.array([5.0]), np.array([0.6]), np.array([3.1]))
    (jet,) = find_jets([hard, soft])
    assert jet[0] == pytest.approx(499, abs=2)
    assert abs(jet[2]) > 3  # across the seam of phi


def test_neutrinos_and_muons_leave_no_energy():
    momentum = [100.0, 0.0, 0.0, 100.0]
    rows = np.array([[12, 0, *momentum], [14, 0, *momentum], [16, 0, *momentum]])
    *calorimeters, tracks = detect(Particles.from_momenta(rows), np.random.default_rng(0))
    assert all(len(hits.value) == 0 for hits in (*calorimeters, tracks))


def test_workers_end_with_the_process_that_started_them(tmp_path):
    command = [str(Path(sys.executable).with_name("minidl")), "generate", "hep"]
    flags = ["--events", "4000", "--out", str(tmp_path / "many.h5"), "--workers", "2"]
    with subprocess.Popen([*command, *flags], start_new_session=True) as process:
        while not list(tmp_path.glob("many.h5.parts/*.npz")):
            time.sleep(0.1)
            assert process.poll() is None
        process.kill()
    deadline = time.monotonic() + 20
    while members := session(process.pid):
        assert time.monotonic() < deadline, members
        time.sleep(0.2)


def session(leader):
    """Processes of a session that still run."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,sess=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [pid for pid, sess, stat in rows if sess == str(leader) and not stat.startswith("Z")]


def contents(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


@pytest.fixture(scope="module")
def produced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    flags = ("--events", 60, "--size", 16, "--seed", 5)
    done = minidl("generate", "hep", *flags, "--out", "two.h5", "--workers", 2, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, flags


def test_a_data_set_has_the_layout_of_the_public_ones_and_the_features(produced):
    arrays = contents(produced[0] / "two.h5")
    assert arrays["data"].shape == (60, 3, 16, 16)
    assert arrays["data"].dtype == np.float32
    assert (np.bincount(arrays["label"]) == 30).all()
    assert (arrays["leading_pt"] > 440).all()
    assert (arrays["jets"] >= 3).all()
    assert (arrays["weight"] > 0).all()
    for label, expected in ((0, (2e6, 2e7)), (1, (300, 600))):
        members = arrays["label"] == label
        assert expected[0] < arrays["weight"][members].sum() < expected[1]
        assert arrays["normweight"][members].mean() == pytest.approx(1, rel=1e-4)
    assert not list(produced[0].glob("*.part*"))


def test_an_interrupted_production_goes_on_and_makes_the_same_events(produced):
    folder, flags = produced
    command = [str(Path(sys.executable).with_name("minidl")), "generate", "hep"]
    command += [*map(str, flags), "--out", "one.h5", "--workers", "1"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("one.h5.parts/*.npz")):
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in stderr
    assert not (folder / "one.h5").exists()
    done = minidl(*command[1:], cwd=folder)
    assert done.returncode == 0, done.stderr
    # One process or two, interrupted or not: the same numbers.
    one, two = contents(folder / "one.h5"), contents(folder / "two.h5")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert not list(folder.glob("*.part*"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--events", 0, "--out", "a.h5"), "--events must be at least 2"),
        (("--events", 10, "--out", "a.h5", "--size", 1), "--size must be at least 8"),
        (("--events", 10, "--out", "two.h5"), "two.h5: exists already"),
        (("--events", 10, "--out", "/proc/a.h5"), "cannot write"),
        (("--events", 10, "--out", "a.h5", "--workers", 0), "--workers must be at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(produced, flags, expected):
    done = minidl("generate", "hep", *flags, cwd=produced[0])
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
