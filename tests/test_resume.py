"""A run that was killed goes on: nothing that was saved is lost, and no update counts twice."""

import json
import os
import re
import shutil

import h5py
import numpy as np
import pytest
from events import write_events
from launch import minidl

from minidl import checkpoint, record
from minidl.errors import UserError
from minidl.parallel.served import UPDATE
from minidl.run import read_log

# The HEP model; a file "deadly" says after how many passes which rank is killed, as by a machine
# that fails; or after how many updates, if it is a server.
DYING = """
import os, signal
from pathlib import Path
from mpi4py import MPI
from minidl import optim
from minidl_models.hep import *
from minidl_models import hep
passes = updates = 0

def die_after(made):
    rank, last = map(int, Path("deadly").read_text().split())
    if MPI.COMM_WORLD.rank == rank and made > last:
        os.kill(os.getpid(), signal.SIGKILL)

def loss(output, target):
    global passes
    passes += 1
    if Path("deadly").exists():
        die_after(passes)
    return hep.loss(output, target)

def step(self, *arguments):
    global updates
    updates += 1
    if passes == 0 and Path("deadly").exists():
        die_after(updates)
    update(self, *arguments)

update, optim.Optimizer.step = optim.Optimizer.step, step
"""

# Dropout, so that random numbers matter; batch normalisation, so that statistics do.
DRAWING = """
import numpy as np
from minidl.layers import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear, ReLU, Sequential

def network(shape, generator, *, width=4, dtype=np.float32):
    return Sequential(
        conv1=Conv2d(shape[2], width, 3, padding=1, generator=generator, dtype=dtype),
        norm=BatchNorm2d(width, dtype=dtype), relu=ReLU(), drop=Dropout(0.5, generator=generator),
        mean=GlobalAvgPool2d(), linear=Linear(width, 2, generator=generator, dtype=dtype),
    )
"""

STRATEGIES = {
    "serial": (0, ()),
    "sync": (2, ()),
    "async": (4, ("--strategy", "async", "--servers", 2)),
    "hybrid": (5, ("--strategy", "hybrid", "--groups", 2)),
}
HOW = ("--batch-size", 2, "--iterations", 11, "--checkpoint-every", 4)


@pytest.fixture
def place(tmp_path):
    """A folder with data and two models that end when they are told to."""
    write_events(tmp_path / "events.h5", 60)
    (tmp_path / "dying.py").write_text(DYING)
    (tmp_path / "drawing.py").write_text(DYING + DRAWING)
    return tmp_path


def train(place, *arguments, ranks=0, killed=None, model="dying"):
    """Train; ``killed`` is (rank, passes after which it is killed)."""
    deadly = place / "deadly"
    deadly.unlink(missing_ok=True)
    if killed:
        deadly.write_text(" ".join(map(str, killed)))
    done = minidl("train", model, "--data", "events.h5", *HOW, *arguments, ranks=ranks, cwd=place)
    deadly.unlink(missing_ok=True)
    assert (done.returncode != 0) == bool(killed), done.stderr
    return done


def resume(place, *arguments, ranks=0):
    return minidl("train", "--resume", "run", *arguments, ranks=ranks, cwd=place)


def arrays(run):
    """Everything in a checkpoint that is a number."""
    found = {}
    with h5py.File(run / "checkpoint.h5") as file:
        file.visititems(
            lambda name, node: (
                found.update({name: node[:]}) if isinstance(node, h5py.Dataset) else None
            )
        )
    return found


@pytest.mark.parametrize("model", ["dying", "drawing"])
@pytest.mark.parametrize("ranks", [0, 2, 3])
def test_a_synchronous_run_that_was_killed_ends_as_if_it_had_not_been(place, ranks, model):
    train(place, "--out", "whole", ranks=ranks, model=model)
    train(place, "--out", "run", ranks=ranks, killed=(max(ranks - 1, 0), 6), model=model)
    assert checkpoint.read(place / "run" / "checkpoint.h5").iterations[0] in (0, 4)  # or under way
    done = resume(place, ranks=ranks)
    assert done.returncode == 0, done.stderr
    whole, resumed = arrays(place / "whole"), arrays(place / "run")
    assert whole.keys() == resumed.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name], err_msg=name)


def untimed(event):
    changing = ("seconds", "computing", "waiting", "loading", "samples")
    return {key: value for key, value in event.items() if key not in changing}


@pytest.mark.parametrize("name", STRATEGIES)
def test_its_log_reads_like_that_of_one_run(place, name):
    ranks, flags = STRATEGIES[name]
    train(place, "--out", "run", *flags, ranks=ranks, killed=(0, 6))
    done = resume(place, ranks=ranks)
    assert done.returncode == 0, done.stderr
    log = read_log(place / "run")
    groups = max(log[0]["groups"]) + 1
    for group in range(groups):
        mine = [e for e in log if e["event"] == "iteration" and e["group"] == group]
        assert [event["iteration"] for event in mine] == list(range(1, 12))
    iterations = [event for event in log if event["event"] == "iteration"]
    samples = [event["samples"] for event in iterations]
    assert samples == sorted(samples)
    assert [event["event"] for event in log].count("start") == 1
    assert [event["event"] for event in log].count("resume") == 1
    seconds = [event["seconds"] for event in iterations if event["group"] == 0]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("name", STRATEGIES)
def test_all_updates_before_and_after_lead_to_its_network(place, name):
    """The record of both parts together is that of a run, each update counted once."""
    ranks, flags = STRATEGIES[name]
    train(place, "--out", "run", *flags, ranks=ranks, killed=(max(0, ranks - 1) and 1, 6))
    assert resume(place, ranks=ranks).returncode == 0
    done = minidl("replay", "run", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "to the bit" in done.stdout


def test_a_killed_server_is_survived_by_what_was_saved(place):
    ranks, flags = STRATEGIES["async"]
    train(place, "--out", "run", *flags, ranks=ranks, killed=(3, 40))
    before = arrays(place / "run")["updates"]
    done = resume(place, ranks=ranks)
    assert done.returncode == 0, done.stderr
    updates = arrays(place / "run")["updates"]
    for layer in range(6):
        own = updates[updates["layer"] == layer]
        assert len(own) == 11 * 2
        saved = before[before["layer"] == layer]
        np.testing.assert_array_equal(own[: len(saved)], saved)


GROUPS = ("--strategy", "hybrid", "--groups", 2)


@pytest.mark.parametrize(
    ("before", "flags", "after", "more"),
    [(2, (), 3, ()), (3, (), 1, ()), (5, GROUPS, 7, ("--groups", 3)), (5, GROUPS, 3, ())],
)
def test_the_number_of_ranks_may_change_and_what_changes_is_said(place, before, flags, after, more):
    train(place, "--out", "run", *flags, ranks=before, killed=(0, 6))
    done = resume(place, "--iterations", 40, *more, ranks=after)
    assert done.returncode == 0, done.stderr
    assert f"changed: ranks {before} -> {after}" in done.stdout
    state = checkpoint.read(place / "run" / "checkpoint.h5")
    assert state.iterations[0] == 40
    assert all(np.isfinite(layer.parameters).all() for layer in state.layers.values())


def parts_of(log):
    """The iterations that each part of a log tells of, from a start to the next."""
    parts = []
    for event in log:
        if event["event"] in ("start", "resume"):
            parts.append([])
        elif event["event"] == "iteration":
            parts[-1].append(event["iteration"])
    return parts


@pytest.mark.parametrize("passes", [1, 7], ids=["before it saved", "after"])
def test_a_run_that_changed_its_ranks_and_is_killed_again_forgets_nothing(place, passes):
    train(place, "--out", "run", ranks=1, killed=(0, 10))
    (place / "deadly").write_text(f"0 {passes}")
    assert resume(place, "--epochs", 1, ranks=3).returncode != 0  # of 10 iterations, not 30
    (place / "deadly").unlink()
    first, second = parts_of(read_log(place / "run"))
    state = checkpoint.read(place / "run" / "checkpoint.h5")
    assert (state.per_epoch == 10) == (passes == 7)
    (saved,) = state.iterations
    assert resume(place, "--epochs", 1, ranks=3).returncode == 0
    found = parts_of(read_log(place / "run"))
    if passes == 7:
        assert found == [first, [n for n in second if n <= saved], [*range(saved + 1, 11)]]
    else:
        assert found == [[n for n in first if n <= saved], [], [*range(saved // 3 + 1, 11)]]


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "flip":
        with h5py.File(path) as file:
            place = file["layers/01.conv2/parameters"].id.get_chunk_info(0).byte_offset
        data[place + 9] ^= 4
    elif how == "text":
        data = b"not a checkpoint"
    elif how == "foreign":
        data = (path.parent.parent / "events.h5").read_bytes()
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["cut", "flip", "text", "foreign", "gone"])
def test_of_damaged_checkpoints_the_newest_whole_one_is_used(place, how):
    train(place, "--out", "whole")
    train(place, "--out", "run")
    newest = place / "run" / "checkpoint.h5"
    assert [checkpoint.read(path).iterations for path in checkpoint.history(newest)] == [
        [11], [8], [4]
    ]  # fmt: skip
    newest.unlink() if how == "gone" else damage(newest, how)
    done = resume(place)
    assert done.returncode == 0, done.stderr
    assert "warning:" in done.stdout
    assert "checkpoint.1.h5, of iteration 8" in done.stdout
    for name, values in arrays(place / "whole").items():
        np.testing.assert_array_equal(values, arrays(place / "run")[name], err_msg=name)


def test_one_bit_anywhere_in_a_checkpoint_is_noticed(place):
    """Or does no harm: what is read is then what was written."""
    train(place, "--out", "run")
    path = place / "run" / "checkpoint.h5"
    whole, good = path.read_bytes(), checkpoint.read(path)
    generator = np.random.default_rng(0)
    for bit in generator.integers(8 * len(whole), size=300):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bytes(data))
        try:
            found = checkpoint.read(path)
        except UserError:
            continue
        assert found.iterations == good.iterations
        for name, layer in good.layers.items():
            np.testing.assert_array_equal(found.layers[name].parameters, layer.parameters)
            assert found.layers[name].updates == layer.updates


MISTAKES = {
    "no run": (("--resume", "none"), "none: not the folder of a run"),
    "finished": (("--resume", "run"), "the run is finished: 11 iterations"),
    "another folder": (("--resume", "run", "--out", "b"), "goes on in the run's own folder"),
    "another optimiser": (
        ("--resume", "run", "--optimizer", "sgd", "--iterations", 20), "of another optimiser"
    ),
    "another network": (
        ("--resume", "run", "--width", 5, "--iterations", 20), "of another network"
    ),
}  # fmt: skip


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_mistake_is_one_clear_line_and_loses_nothing(place, ranks):
    train(place, "--out", "run", "--width", 4, ranks=ranks)
    before = {path.name: path.read_bytes() for path in (place / "run").iterdir()}
    for flags, message in MISTAKES.values():
        done = minidl("train", *flags, ranks=ranks, cwd=place)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("minidl:") == 1
        assert "Traceback" not in done.stderr
        assert {path.name: path.read_bytes() for path in (place / "run").iterdir()} == before
    shutil.rmtree(place / "run" / "checkpoint.h5", ignore_errors=True)
    for path in checkpoint.history(place / "run" / "checkpoint.h5"):
        path.unlink()
    done = minidl("train", "--resume", "run", ranks=ranks, cwd=place)
    assert done.returncode == 2
    assert "no checkpoint to go on from" in done.stderr


def test_layers_beyond_the_hundredth_keep_their_order(tmp_path):
    names = [f"{number:02d}.layer" for number in range(120)]
    layers = {
        name: checkpoint.LayerState(np.array([number], np.float32), {"weight": (1,)}, {}, number)
        for number, name in enumerate(names)
    }
    nothing = np.zeros(0, UPDATE)
    checkpoint.save(tmp_path / "a.h5", checkpoint.State([1], 9, layers, {}, nothing, ["[]"]))
    found = checkpoint.read(tmp_path / "a.h5").layers
    assert list(found) == names
    assert [layer.updates for layer in found.values()] == list(range(120))


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(place, monkeypatch):
    train(place, "--out", "run")
    state, done = checkpoint.read(place / "run" / "checkpoint.h5"), []
    for name in ("fsync", "replace"):
        usual = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *what, name=name, usual=usual: done.append(name) or usual(*what)
        )
    checkpoint.save(place / "run" / "checkpoint.h5", state)
    assert done == ["fsync", "replace", "fsync"]  # the file, and then its folder


def test_a_checkpoint_names_the_versions_it_is_of(place):
    train(place, "--out", "run")
    with h5py.File(place / "run" / "checkpoint.h5") as file:
        found = json.loads(file.attrs["versions"])
    assert found == read_log(place / "run")[0]["versions"]
    assert found.keys() == {"minidl", "python", "numpy", "h5py", "mpi4py"}


def test_the_share_of_time_is_that_of_this_part_of_the_run(place):
    train(place, "--out", "run", killed=(0, 6))
    done = resume(place)
    (count, share) = re.search(
        r"(\d+) checkpoints: writing took ([\d.]+)% of the time", done.stdout
    ).groups()
    log = read_log(place / "run")
    (again,) = (event for event in log if event["event"] == "resume")
    assert int(count) == len(range(again["iterations_made"][0] // 4 * 4 + 4, 11, 4)) + 1
    assert 0 < float(share) < 90


def test_settings_of_a_resumed_run_are_those_it_goes_on_with(place):
    train(place, "--out", "run")
    done = resume(place, "--iterations", 13, "--learning-rate", 1e-4)
    assert "changed: learning_rate 0.001 -> 0.0001" in done.stdout
    settings = json.loads((place / "run" / "settings.json").read_text())
    assert (settings["iterations"], settings["learning_rate"]) == (13, 1e-4)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_shares_of_its_time_are_those_since_it_went_on(place, name):
    ranks, flags = STRATEGIES[name]
    train(place, "--out", "run", *flags, ranks=ranks, killed=(0, 6))
    assert resume(place, "--iterations", 60, ranks=ranks).returncode == 0
    whole = record.load(place / "run")
    assert 0 < whole.began <= min(spans["start"][0] for spans in whole.spans)
    done = minidl("waits", "run", "--json", cwd=place)
    seconds = json.loads(done.stdout)["seconds"]
    for rank, spans in enumerate(whole.spans):
        timed = (spans["end"] - spans["start"]).sum()
        assert seconds[rank] == pytest.approx(spans["end"][-1] - whole.began)
        assert timed > 0.7 * seconds[rank]
