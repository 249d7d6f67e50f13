"""``minidl replay``: real runs made again to the bit; changed ones, and records that cannot be."""

import io
import json
import re
import shutil
import sys

import h5py
import numpy as np
import pytest
from events import write_events
from launch import minidl, mpiexec
from rich.console import Console

from minidl.errors import UserError
from minidl.parallel.served import UPDATE
from minidl.record import Record
from minidl.runs.order import ContradictionError, recorded_order
from minidl.runs.replay_report import print_replay

# In batches of 4, an epoch of 33 samples ends with an update of one: the other groups make none
# then, and in a group of two the other rank has nothing to add.
SAMPLES = 33
SMALL = ("--width", 4, "--epochs", 2, "--data", "events.h5")
SGD = ("--optimizer", "sgd", "--learning-rate", 0.02)
ASYNC, HYBRID = ("--strategy", "async"), ("--strategy", "hybrid", "--batch-size", 2)
RUNS = {
    "serial": (0, "hep", "--batch-size", 4, "--schedule", "step"),
    "sync": (2, "normed", "--batch-size", 4, *SGD, "--nesterov", "--validation", "events.h5"),
    "async": (3, "hep", *ASYNC, "--batch-size", 4, *SGD, "--momentum", "auto"),
    "servers": (5, "hep", *ASYNC, "--batch-size", 4, "--servers", 2, "--scale-by-staleness"),
    "hybrid": (5, "hep", *HYBRID, "--staleness-bound", 1, "--accumulate", 2, "--clip", 0.05),
    "threes": (3, "hep", "--batch-size", 4, "--scale-by-ranks", "--warmup", 4),
}
NORMED = """
from minidl.layers import BatchNorm2d, Conv2d, Dropout, GlobalAvgPool2d, Linear, Sequential
from minidl_models.hep import *

def network(shape, generator, *, width):
    return Sequential(
        conv=Conv2d(3, width, 3, generator=generator),
        norm=BatchNorm2d(width),
        mean=GlobalAvgPool2d(),
        linear=Linear(width, 2, generator=generator),
    )
"""
THINNED = """
import normed
from normed import *

def network(shape, generator, *, width):
    whole = normed.network(shape, generator, width=width)
    whole.children += (Dropout(0.5, generator=generator),)
    return whole
"""
TORN = """
from minidl.__main__ import main
from minidl.parallel.async_ps import Strategy

honest = Strategy._parameters_needed

def torn(self, layer):
    half = layer.parameters[: layer.parameters.size // 2]
    before = half.copy()
    honest(self, layer)
    if (self.comm.rank, layer.name, self.stopwatch.iteration) == (1, "conv2", 4):
        half[...] = before

Strategy._parameters_needed = torn
main()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data and models, and with the runs that were asked for so far."""
    place = tmp_path_factory.mktemp("runs")
    write_events(place / "events.h5", SAMPLES)
    write_events(place / "few.h5", 9)
    (place / "normed.py").write_text(NORMED)
    (place / "thinned.py").write_text(THINNED)
    return place


@pytest.fixture
def trained(place, monkeypatch):
    """Return a function that gives a run's folder, in whose parent the tests work."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)

    def run(name):
        ranks, *arguments = RUNS[name]
        if not (place / name).exists():
            done = minidl("train", *arguments, *SMALL, "--out", name, cwd=place, ranks=ranks)
            assert done.returncode == 0, done.stderr
        return place / name

    return run


@pytest.fixture
def copied(trained, tmp_path):
    """Return a function that copies a run, so that it can be changed."""
    return lambda name: shutil.copytree(trained(name), tmp_path / "copy")


def replay(folder):
    text = io.StringIO()
    equal = print_replay(folder, False, Console(file=text, soft_wrap=True))
    return equal, text.getvalue()


def change_settings(folder, **changes):
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({**settings, **changes}))


def change_updates(folder, layer, change):
    """Put what ``change`` makes of a layer's updates in their place."""
    with h5py.File(folder / "record.h5", "a") as file:
        updates = file["updates"][:]
        own = updates["layer"] == layer
        del file["updates"]
        file["updates"] = np.concatenate([updates[~own], change(updates[own])])


def updates_by(groups, layer=0):
    """The updates of a layer, if these groups' gradients are applied in this order."""
    last, rows = dict.fromkeys(groups, 0), []
    for made, group in enumerate(groups, start=1):
        rows.append((layer, group, last[group], made))
        last[group] = made
    return np.array(rows, UPDATE)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("serial", "18 updates of 6 layers by 1 group "),
        ("sync", "10 updates of 3 layers by 1 group "),
        ("async", "18 updates of 6 layers by 2 groups "),
        ("servers", "18 updates of 6 layers by 3 groups "),
        ("hybrid", "10 updates of 6 layers by 2 groups "),
    ],
)
def test_a_run_is_replayed_to_the_bit(trained, name, made):
    equal, text = replay(trained(name))
    assert equal and f"{name}: equal to the bit: {made}" in text, text
    assert ("what layers gather without a gradient was not" in text) == (name == "sync")


def test_among_three_ranks_only_the_order_of_sums_is_unknown(trained, capsys):
    assert print_replay(trained("threes"), True, Console())
    figures = json.loads(capsys.readouterr().out)
    assert figures["verdict"] in ("bits", "rounding")
    assert figures["group_size"] == 3
    relative = max(layer["relative"] for layer in figures["layers"].values())
    assert relative <= figures["bound"] < 1e-4


def test_a_strategy_that_once_computes_on_a_torn_layer_is_caught_at_that_gradient(place):
    (place / "torn.py").write_text(TORN)
    ranks, *arguments = RUNS["async"]
    command = (sys.executable, "torn.py", "train", *arguments, *SMALL, "--out", "torn")
    done = mpiexec(ranks, *command, cwd=place)
    assert done.returncode == 0, done.stderr
    equal, text = replay(place / "torn")
    assert not equal
    assert "First difference: the loss of group 1 in iteration 4 is" in text


@pytest.mark.parametrize("name", ["async", "threes"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "1 is .* replayed. No update was made before it: other samples or initial"),
        ({"learning_rate": 0.03}, "[2-9] is .* an update that it reads"),
    ],
)
def test_another_setting_shows_in_the_first_loss_that_it_changes(copied, name, change, said):
    run = copied(name)
    change_settings(run, **change)
    equal, text = replay(run)
    assert not equal and "copy: different: " in text
    assert re.search(r"First difference: the loss of group \d in iteration " + said, text), text


def test_other_samples_in_the_same_file_show_in_the_first_loss(copied, tmp_path):
    run = copied("async")
    other = write_events(tmp_path / "other.h5", SAMPLES, seed=1)
    change_settings(run, data=[str(other)])
    equal, text = replay(run)
    assert not equal and re.search(r"First difference: .* in iteration 1 is", text)


@pytest.mark.parametrize("name", ["async", "threes"])
def test_a_changed_checkpoint_is_different_though_all_losses_agree(copied, name):
    run = copied(name)
    with h5py.File(run / "checkpoint.h5", "a") as file:
        file["layers/01.conv2/parameters"][7] *= 1.1
    equal, text = replay(run)
    assert not equal and "All losses agree" in text
    assert re.search(r"(?m)^conv2 .* no ", text)


@pytest.mark.parametrize("name", ["async", "threes"])
def test_a_single_bit_counts_where_sums_have_one_order(copied, name):
    run = copied(name)
    with h5py.File(run / "checkpoint.h5", "a") as file:
        parameters = file["layers/01.conv2/parameters"]
        parameters[7] = np.nextafter(parameters[7], np.float32(1))
        parameters[8] = np.nextafter(parameters[8], np.float32(1))
    equal, text = replay(run)
    assert equal == (name == "threes")
    assert ("equal up to summation order inside the groups: 6 updates" in text) == equal


def test_two_updates_that_change_places_are_noticed(copied):
    run = copied("async")

    def exchange(updates):
        groups = updates["group"].tolist()
        place = next(n for n in range(len(groups)) if groups[n] != groups[n + 1])
        groups[place : place + 2] = groups[place + 1], groups[place]
        return updates_by(groups, layer=1)  # all numbers count as they should

    change_updates(run, 1, exchange)
    assert not replay(run)[0]


def test_layers_that_contradict_each_other_are_named(copied):
    run = copied("async")
    change_updates(run, 0, lambda updates: updates_by(sorted(updates["group"]), 0))
    change_updates(run, 1, lambda updates: updates_by(sorted(updates["group"])[::-1], 1))
    done = minidl("replay", run)
    assert done.returncode == 1
    assert re.search(
        r"the record cannot be true: layers contradict each other: "
        r"update 2 of (\w+) is by group (\d), which waits for (\w+); "
        r"update 2 of \3 is by group \d, which waits for \1\.",
        done.stdout,
    ), done.stdout


def changed(place, **values):
    def change(updates):
        for name, value in values.items():
            updates[name][place] = value
        return updates

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda u: u[[0, 2, 1, 3, 4]], "layer a, update 2 (group 0): makes version 3, where 2"),
        (lambda u: np.delete(u, 2), "layer a, update 3 (group 1): makes version 4, where 3"),
        (lambda u: u[:-1], "layer a: 2 updates by group 0, which made 3 iterations"),
        (changed(2, read=5), "update 3 (group 0): reads version 5, which is made later"),
        (changed(2, read=3), "update 3 (group 0): reads version 3, which is made by it"),
        (changed(2, read=0), "(group 0): reads version 0, where its group had been given 1"),
        (changed(2, group=1), "(group 1): reads version 1, where its group had been given 2"),
        (changed(2, group=2), "update 3 (group 2): there are 2 groups, numbered from 0"),
        (changed(4, layer=1), "an update of layer number 1; they are 0 to 0"),
        (lambda u: updates_by([0, 0, 0, 1, 1]), "update 4 (group 1): its staleness is 3, with"),
    ],
)
def test_a_record_that_cannot_be_is_noticed_and_the_place_named(change, said):
    def order(updates):
        return recorded_order(Record(["a"], [0, 1, -1], [], updates), [3, 2], bound=1)

    groups = [0, 1, 0, 1, 0]
    assert list(order(updates_by(groups))[0]) == groups
    with pytest.raises(ContradictionError, match=re.escape(said)):
        order(change(updates_by(groups)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / "record.h5").unlink(), "no record.h5.*the folder of a finished run"),
        (lambda run: change_settings(run, data=["few.h5"]), "on 33 samples, and there are 9 now"),
        (lambda run: change_settings(run, data=["none.h5"]), "none.h5: no such file"),
        (lambda run: change_settings(run, epochs=3), "of iteration 10, .* of a run of 15"),
        (lambda run: change_settings(run, strategy="sync"), "different groups of ranks"),
        (lambda run: change_settings(run, model="normed"), "the layers of its network were conv1"),
        (lambda run: change_settings(run, speed=9), "not the settings of a run.*speed"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_a_line(copied, change, said):
    run = copied("async")
    change(run)
    with pytest.raises(UserError, match=said) as refused:
        replay(run)
    assert "\n" not in str(refused.value)


def test_a_network_that_draws_random_numbers_is_refused(copied):
    run = copied("sync")
    change_settings(run, model="thinned")
    done = minidl("replay", run)
    assert done.returncode == 2
    assert "dropout" in done.stderr and done.stderr.strip().count("\n") == 0
