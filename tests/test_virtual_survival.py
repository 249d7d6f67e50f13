"""Whoever dies, and whenever: the others of a virtual cluster go on, and count no update twice."""

import numpy as np
import pytest
from events import write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from printed import Printed

from minidl import checkpoint, record
from minidl.cli.training_command import train_command
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


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 3))
def test_the_others_go_on_whoever_dies_whenever(place, name, data, seed):
    ranks, how = SETTINGS[name]
    whole = lasts(place, name, seed)
    mortal = range(ranks - 1) if name != "two servers" else range(ranks)  # a server is left
    dead = data.draw(st.lists(st.sampled_from(mortal), min_size=1, max_size=2, unique=True))
    deaths = {rank: whole * data.draw(st.floats(0.01, 1.0)) for rank in dead}
    said = train(place, name, deaths, seed)
    log = read_log(place / "run")
    assert log[-1]["event"] == "end"
    setbacks = [event for event in log if event["event"] == "resume"]
    assert said.count("lost rank") == len(setbacks) <= len(dead)
    state, made = checkpoint.read(place / "run" / "checkpoint.h5"), record.load(place / "run")
    groups = setbacks[-1]["groups"] if setbacks else made.groups
    assert made.groups == groups
    assert len(groups) == ranks - sum(
        setback["setback"].split(";")[0].count("rank ") for setback in setbacks
    )
    updates = {layer.updates for layer in state.layers.values()}
    for layer in state.layers.values():
        assert np.isfinite(layer.parameters).all()
    if how["strategy"] == "sync":  # each setback may cost an iteration, in part or as a whole
        iterations = state.iterations[0]
        assert iterations >= ITERATIONS
        assert min(updates) >= ITERATIONS - len(setbacks)
        assert max(updates) <= iterations
    for number, layer in enumerate(state.layers.values()):
        rows = made.updates[made.updates["layer"] == number]["made"].tolist()
        assert len(set(rows)) == len(rows)  # none is counted twice
        assert not rows or max(rows) == layer.updates
    # All groups that are left have gone through all the data that was asked for.
    assert set(state.iterations) == {(setbacks or log)[-1 if setbacks else 0]["iterations"]}
