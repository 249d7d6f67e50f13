"""Whoever dies, and whenever: the others of a virtual cluster go on, and count no update twice."""

import re

import numpy as np
import pytest
from events import write_events
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from printed import Printed

from minidl import checkpoint, record
from minidl.cli.training_command import train_command
from minidl.errors import UserError
from minidl.run import read_log
from minidl.settings import Settings
from minidl.virtual import Virtual

ITERATIONS, EVERY = 12, 4
SETTINGS = {
    "sync": (4, {"strategy": "sync"}),
    "async": (5, {"strategy": "async", "servers": 2}),
    "hybrid": (7, {"strategy": "hybrid", "groups": 2}),
    "two servers": (8, {"strategy": "hybrid", "groups": 2, "servers": 2}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("survival")
    write_events(place / "events.h5", 60)
    return place


def train(place, name, deaths, seed):
    """Train on virtual ranks; return what was said."""
    ranks, how = SETTINGS[name]
    asked = Settings(
        data=(place / "events.h5",),
        width=2,
        batch_size=2,
        iterations=ITERATIONS,
        checkpoint_every=EVERY,
        seed=seed,
        optimizer="sgd",
        **how,
    )
    death = tuple(f"{rank}@{seconds}" for rank, seconds in deaths.items())
    virtual = Virtual(virtual_ranks=ranks, jitter=0.5, death=death)
    console = Printed()
    run = place / "run"
    train_command("hep", asked, virtual, run, run.exists(), None, False, None, console)
    return console.text


def lasts(place, name, seed):
    """Virtual seconds that a run takes in which nobody dies."""
    train(place, name, {}, seed)
    return max(event.get("seconds", 0.0) for event in read_log(place / "run"))


def setbacks(log):
    """What the log says of them; of one that is told again, with what came then, the last."""
    texts = [event["setback"] for event in log if "setback" in event]
    later = [*texts[1:], ""]
    return [text for text, other in zip(texts, later, strict=True) if not other.startswith(text)]


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=8, phases=[Phase.reuse, Phase.generate])  # a run takes a second
@given(data=st.data(), seed=st.integers(0, 3))
def test_the_others_go_on_whoever_dies_whenever(place, name, data, seed):
    ranks, how = SETTINGS[name]
    whole = lasts(place, name, seed)
    mortal = range(ranks - 1) if name != "two servers" else range(ranks)  # a server is left
    dead = data.draw(st.lists(st.sampled_from(mortal), min_size=1, max_size=2, unique=True))
    deaths = {rank: whole * data.draw(st.floats(0.01, 1.0)) for rank in dead}
    try:
        train(place, name, deaths, seed)
    except UserError as error:
        before, too_much = "before training had begun", "nobody is left who has a whole copy of"
        assert before in str(error) or (too_much in str(error) and len(dead) > 1)
        return
    log = read_log(place / "run")
    lost = re.findall(r"rank \d+ \(", " ".join(setbacks(log)))
    assert log[-1]["event"] == "end"
    last = [event for event in log if event["event"] in ("start", "resume")][-1]
    assert len(lost) <= len(dead)
    assert len(last["groups"]) == last["ranks"] == ranks - len(lost)
    state, made = checkpoint.read(place / "run" / "checkpoint.h5"), record.load(place / "run")
    assert made.groups == last["groups"]
    # All groups that are left have gone through all the data that was asked for.
    assert set(state.iterations) == {last["iterations"]}
    updates = {layer.updates for layer in state.layers.values()}
    if how["strategy"] == "sync":  # each death may cost an iteration, of some layers or of all
        assert min(updates) >= ITERATIONS - len(lost)
        assert max(updates) <= last["iterations"]
    for number, layer in enumerate(state.layers.values()):
        assert np.isfinite(layer.parameters).all()
        rows = made.updates[made.updates["layer"] == number]["made"].tolist()
        assert len(set(rows)) == len(rows)  # none is counted twice
        assert not rows or max(rows) == layer.updates


def test_a_server_that_lives_keeps_what_it_remembers(place):
    """Also where workers have copies that are as new."""
    train(place, "async", {2: 0.6 * lasts(place, "async", 0)}, 0)
    for path in checkpoint.history(place / "run" / "checkpoint.h5"):
        state = checkpoint.read(path)
        if state.iterations[0] > 0:
            assert {layer.forgotten for layer in state.layers.values()} == {0}
            assert any(layer.optimizer["velocity"].any() for layer in state.layers.values())


def test_what_a_dead_server_remembered_is_begun_anew(place):
    train(place, "two servers", {7: 0.6 * lasts(place, "two servers", 0)}, 0)
    state = checkpoint.read(place / "run" / "checkpoint.h5")
    forgotten = [layer.forgotten > 0 for layer in state.layers.values()]
    assert any(forgotten)
    assert not all(forgotten)  # the other server's
