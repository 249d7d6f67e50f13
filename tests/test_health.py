"""A network that is not sound any more is noticed, and where."""

import re
import sys

import numpy as np
import pytest
from events import write_events
from launch import PROGRAMS, minidl, mpiexec

from minidl import soundness
from minidl.layers import Branches, Conv2d, ConvTranspose2d, ReLU, Sequential, Strips
from minidl.run import read_log, read_settings


def network():
    generator = np.random.default_rng(0)
    return Sequential(
        Strips(conv1=Conv2d(2, 3, 3, stride=2, padding=1, generator=generator), relu1=ReLU()),
        Branches(
            head=Conv2d(3, 2, 1, generator=generator),
            decoder=Sequential(up=ConvTranspose2d(3, 2, 2, stride=2, generator=generator)),
        ),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["conv1", "head", "up"])
def test_the_layer_whose_parameters_are_not_finite_is_named(name, value):
    net = network()
    (layer,) = (layer for layer in net.layers() if layer.name == name)
    layer.parameters[1] = value
    found = soundness.origin(net, [np.ones((2, 4, 4, 2), np.float32)])
    assert found == f"the parameters of {name} were not finite any more"


@pytest.mark.parametrize("name", ["conv1", "head", "up"])
def test_the_first_output_that_overflows_is_named(name):
    net = network()
    (layer,) = (layer for layer in net.layers() if layer.name == name)
    layer.weight[...] = 3e38
    dark, bright = (np.full((2, 4, 4, 2), value, np.float32) for value in (0, 100))
    found = soundness.origin(net, [dark, bright])  # of two batches
    assert found == f"the output of {name} was the first that was not finite"
    assert "forward" not in vars(layer)  # nothing is left of looking


def test_of_a_sound_network_the_largest_output_is_named():
    net = network()
    (layer,) = (layer for layer in net.layers() if layer.name == "up")
    layer.bias[...] = 1e6
    found = soundness.origin(net, [np.ones((1, 4, 4, 2), np.float32)])
    assert found == "all outputs are finite, the largest is 1e+06 in up"


def test_a_loss_has_exploded_when_it_is_ten_thousand_times_the_first():
    for first, most in ((0.7, 1e4), (30.0, 3e5)):
        losses = soundness.Losses()
        assert losses.sound(first)
        assert losses.sound(most)
        assert not any(map(losses.sound, (1.01 * most, np.inf, np.nan)))
    assert not soundness.Losses().sound(np.nan)


@pytest.mark.parametrize(("ranks", "liar"), [(2, 1), (3, 0), (4, 2)])
def test_a_rank_whose_copy_differs_by_one_bit_is_named(ranks, liar):
    done = mpiexec(ranks, sys.executable, PROGRAMS / "differing.py", liar, timeout=60)
    assert done.returncode == 0, done.stderr
    (said,) = done.stdout.splitlines()
    assert said.startswith("linear1 is not the same on all ranks")
    assert str(liar) in said.partition("rank ")[2] or ranks == 2


FLIPPING = """
from mpi4py import MPI
from minidl.parallel import hybrid
from minidl_models.hep import *

stop = hybrid.Strategy.stop

def stop_and_flip(self):
    stop(self)
    if MPI.COMM_WORLD.rank == 3:
        self.layers[2].parameters.view("u1")[1] ^= 1

hybrid.Strategy.stop = stop_and_flip
"""


def test_a_group_whose_ranks_differ_is_told_by_its_root(tmp_path):
    (tmp_path / "flipping.py").write_text(FLIPPING)
    events = write_events(tmp_path / "events.h5", 60)
    how = ("--data", events, "--width", 4, "--batch-size", 2, "--strategy", "hybrid")
    done = minidl("train", "flipping", *how, "--out", "run", ranks=5, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("minidl: conv3 is not the same on all ranks")
    assert "2, 3" in said  # of two that differ nobody knows which is right


DISTRIBUTED = pytest.mark.parametrize(
    ("ranks", "flags"),
    [(3, ()), (4, ("--strategy", "async", "--servers", 2)),
     (5, ("--strategy", "hybrid", "--groups", 2))],
    ids=["sync", "async", "hybrid"],
)  # fmt: skip


DIVERGING = """
import numpy as np
from mpi4py import MPI
from minidl_models.hep import *
from minidl_models import hep
passes = 0

def loss(output, target):
    global passes
    passes += 1
    value, dy = hep.loss(output, target)
    last = MPI.COMM_WORLD.size - 1
    return (float("nan") if MPI.COMM_WORLD.rank == min(1, last) and passes in WHEN else value), dy
"""


@DISTRIBUTED
def test_the_rank_and_the_step_of_a_loss_that_is_no_number_are_named(tmp_path, ranks, flags):
    (tmp_path / "diverging.py").write_text("WHEN = [3]\n" + DIVERGING)
    events = write_events(tmp_path / "events.h5", 60)
    how = ("--data", events, "--width", 4, "--batch-size", 2, "--out", "run")
    done = minidl("train", "diverging", *how, *flags, ranks=ranks, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("minidl:") == 1
    assert "at iteration 3 on rank 1: all outputs are finite" in done.stderr
    assert "the last good state is run/checkpoint.h5, of iteration 0" in done.stderr


# A gradient that is not finite, of a loss that is.
SPOILING = """
import numpy as np
from mpi4py import MPI
from minidl_models.hep import *
from minidl_models import hep
passes = 0

def loss(output, target):
    global passes
    passes += 1
    value, dy = hep.loss(output, target)
    if MPI.COMM_WORLD.rank == 1 and passes == 3:
        dy[0] = np.inf
    return value, dy
"""


@DISTRIBUTED
@pytest.mark.parametrize("every", [3, 100], ids=["then a checkpoint", "then an iteration"])
def test_the_rank_and_the_layer_of_a_gradient_that_is_no_number_are_named(
    tmp_path, ranks, flags, every
):
    (tmp_path / "spoiling.py").write_text(SPOILING)
    events = write_events(tmp_path / "events.h5", 60)
    how = ("--data", events, "--width", 4, "--batch-size", 2, "--checkpoint-every", every)
    done = minidl("train", "spoiling", *how, *flags, "--out", "run", ranks=ranks, cwd=tmp_path)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    origin = "the gradient of linear was the first that was not finite"
    assert f"at iteration 3 on rank 1: {origin}; try a smaller" in said


EXPLODING = """
from mpi4py import MPI
from minidl_models.hep import *
from minidl_models import hep
passes = 0

def loss(output, target):
    global passes
    passes += 1
    value, dy = hep.loss(output, target)
    return 1e6 * value if MPI.COMM_WORLD.rank == 1 and passes == 3 else value, dy
"""


def test_a_loss_that_explodes_ends_the_run_before_it_is_no_number(tmp_path):
    (tmp_path / "exploding.py").write_text(EXPLODING)
    events = write_events(tmp_path / "events.h5", 60)
    how = ("--data", events, "--width", 4, "--batch-size", 2, "--out", "run")
    done = minidl("train", "exploding", *how, ranks=3, cwd=tmp_path)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert re.search(r"the loss has grown to \d\.\d+e\+05, at iteration 3 on rank 1: all", said)


STRATEGIES = pytest.mark.parametrize(
    ("ranks", "flags"),
    [(0, ()), (3, ()), (4, ("--strategy", "async", "--servers", 2)),
     (5, ("--strategy", "hybrid", "--groups", 2))],
    ids=["serial", "sync", "async", "hybrid"],
)  # fmt: skip


def diverge(place, when, ranks, *flags):
    (place / "diverging.py").write_text(f"WHEN = {when}\n" + DIVERGING)
    events = write_events(place / "events.h5", 60)
    how = ("--data", events, "--width", 4, "--batch-size", 2, "--out", "run", "--iterations", 7)
    often = ("--checkpoint-every", 2, "--on-divergence", "back", "--learning-rate", 0.01)
    return minidl("train", "diverging", *how, *often, *flags, ranks=ranks, cwd=place)


@STRATEGIES
def test_a_run_that_diverges_goes_back_to_its_checkpoint_and_learns_more_slowly(
    tmp_path, ranks, flags
):
    done = diverge(tmp_path, [3, 8], ranks, *flags)  # 3, 4 and 5 once more, 6, the first of these
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said = " ".join(done.stdout.split())
    assert "back at iteration 2, with --learning-rate 0.005: the loss is not" in said
    assert "with --learning-rate 0.0025: the loss is not" in said
    log = read_log(tmp_path / "run")
    steps = [event["iteration"] for event in log if event["event"] == "iteration"]
    groups = 1 if not flags else 2
    assert sorted(steps) == sorted([*range(1, 8)] * groups)  # nothing is told twice
    setbacks = [event["setback"] for event in log if event["event"] == "resume"]
    for number, text in zip((3, 7), setbacks, strict=True):
        assert f"at iteration {number}" in text
    assert read_settings(tmp_path / "run")["learning_rate"] == 0.0025
    again = minidl("replay", "run", cwd=tmp_path)
    assert again.returncode == 2
    assert "went on after a setback, which cannot be replayed: back at iteration 2" in again.stderr


def test_a_run_that_always_diverges_ends(tmp_path):
    done = diverge(tmp_path, range(3, 1000), 2)
    assert done.returncode == 2
    assert done.stdout.count("back at iteration") == 5
    assert done.stderr.count("minidl:") == 1
    assert "the loss is not a finite number any more, at iteration 3 on rank 1" in done.stderr


HANGING = """
import time
from mpi4py import MPI
from minidl_models.hep import *
from minidl_models import hep
passes = 0

def prepare(samples, chances):
    if WHERE == "load" and MPI.COMM_WORLD.rank == 1 and len(samples["index"]):
        sleep_for_ever()
    return hep.prepare(samples, chances)

def loss(output, target):
    global passes
    passes += 1
    if WHERE == "compute" and MPI.COMM_WORLD.rank == 1 and passes == 3:
        sleep_for_ever()
    return hep.loss(output, target)

def network(*arguments, **options):
    if WHERE == "start" and MPI.COMM_WORLD.rank == 1:
        sleep_for_ever()
    return hep.network(*arguments, **options)

def sleep_for_ever():
    time.sleep(1e6)
"""


@pytest.mark.parametrize(
    ("where", "told"),
    [("start", "nothing that is timed"), ("compute", "compute"), ("load", "load")],
    ids=["start", "compute", "load"],
)
@pytest.mark.parametrize("flags", [(), ("--strategy", "async")], ids=["sync", "async"])
def test_a_rank_that_hangs_is_named_with_its_stacks_and_all_end(tmp_path, where, told, flags):
    """While the others, who wait for it, are not, also where nobody says that they wait."""
    (tmp_path / "hanging.py").write_text(f"WHERE = {where!r}\n" + HANGING)
    events = write_events(tmp_path / "events.h5", 60)
    how = ("--data", events, "--width", 4, "--batch-size", 2, "--out", "run", "--watchdog", 6)
    done = minidl("train", "hanging", *how, *flags, ranks=3, cwd=tmp_path, timeout=60)
    assert done.returncode != 0
    assert done.stderr.count("minidl:") == 1
    assert f"minidl: rank 1 has made no progress for 6 s (in '{told}'" in done.stderr
    assert "sleep_for_ever" in done.stderr


IDLE = """
import time
from minidl.layers import Conv2d
from minidl.parallel.patience import PatientComm
from minidl_models.hep import *
usual = Conv2d.forward

def slowly(self, x):
    time.sleep(0.9)
    return usual(self, x)

def measure(dataset, tell):
    time.sleep(4)
    return {}

def probe(self, *arguments):
    time.sleep(1e6)

if HANGS:
    PatientComm.Probe = probe
else:
    Conv2d.forward = slowly
"""


def test_a_server_that_hangs_is_not_taken_for_one_that_has_nothing_to_do(tmp_path):
    done = train_idle(tmp_path, hangs=True)
    assert done.returncode != 0
    assert done.stderr.count("minidl:") == 1
    assert "minidl: rank 2 has made no progress for 3 s (in 'idle'" in done.stderr


def test_neither_who_measures_the_data_hangs_nor_a_server_that_has_nothing_to_do(tmp_path):
    done = train_idle(tmp_path, hangs=False)
    assert done.returncode == 0, done.stderr


def train_idle(folder, hangs):
    """Run ranks 0 and 1, which work, and 2, their server."""
    (folder / "idle.py").write_text(f"HANGS = {hangs}\n" + IDLE)
    events = write_events(folder / "events.h5", 60)
    how = ("--data", events, "--width", 4, "--batch-size", 2, "--iterations", 2, "--watchdog", 3)
    flags = ("--strategy", "async", "--out", "run")
    return minidl("train", "idle", *how, *flags, ranks=3, cwd=folder, timeout=60)
