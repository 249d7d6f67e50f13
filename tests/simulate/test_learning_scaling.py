"""``minidl scaling --data``: how much sooner a loss is reached with more nodes."""

import json
import re

import numpy as np
import pytest
from events import write_events
from launch import minidl

from minidl.errors import UserError
from minidl.model import Model, load
from minidl.parallel.virtual import Machine
from minidl.runs.plot import Curve
from minidl.settings import Settings
from minidl.simulate.learning import Learning
from minidl.simulate.members import InMemory
from minidl.simulate.scaling import Way, scale
from minidl.simulate.scaling_learning import Lesson, Reached, learn
from minidl.simulate.verdict import NEVER
from minidl.simulate.work import work_of

WORK = work_of("hep")
MACHINE = Machine("test", flops=1e12, latency=1e-5, bandwidth=1e9, jitter=0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_events(tmp_path_factory.mktemp("scaling") / "events.h5", 48)


def falling(reaches, last=0.0):
    """A curve whose loss falls in a line from 1 and is 0.5 after so many seconds."""
    seconds = np.linspace(0, 100, 1001)[1:]
    loss = np.maximum(1 - 0.5 * seconds / reaches, last)
    return Curve("", np.arange(1000), seconds, loss, np.empty((0, 3)), 1, True)


def test_speedups_are_over_the_first_point():
    reached = Reached.of([falling(40), falling(10), None, falling(40, 0.7)], 0.5)
    assert reached.seconds == [pytest.approx(40), pytest.approx(10), None, NEVER]
    assert [reached.speedup(number) for number in range(4)] == [1, pytest.approx(4), None, 0]
    assert reached.to_json(3)["seconds_to_target"] is None


def test_the_target_is_the_largest_final_loss():
    assert Reached.of([falling(40), falling(80), None], None).target == pytest.approx(0.375)


def test_nothing_is_over_what_was_never_there():
    reached = Reached.of([falling(40, 0.7), falling(10)], 0.5)
    assert reached.speedup(1) is None


def points(ways, nodes, batch):
    return list(scale("strong", WORK, MACHINE, ways, nodes, batch, 2, 1))


def test_every_strategy_learns_what_it_would_by_itself(data):
    lesson = Lesson((data,), epochs=2, width=2, learning_rate=0.01, seed=3)
    ways = [Way("sync", 1), Way("hybrid", 2), Way("async", None)]
    dealt = points(ways, [3, 4], 8)  # 8 of sync are no whole ones for 3 nodes
    curves = list(learn(lesson, "hep", {}, WORK, MACHINE, dealt[1:]))
    assert [point.nodes for point in dealt] == [3, 4, 4, 3, 4]
    assert all(curve is not None for curve in curves)
    model = Model(load("hep"))
    same = Settings(
        data=(data,), strategy="hybrid", groups=2, servers=6, epochs=2, batch_size=4, width=2,
        learning_rate=0.01, momentum=0.4, seed=3,
    )  # fmt: skip
    memory = InMemory(model.open([data]))
    expected = Learning(model, memory, same, 4, WORK, MACHINE).run()
    assert np.array_equal(curves[1].loss, expected.losses)
    assert np.array_equal(curves[1].seconds, expected.seconds)


def test_what_nodes_cannot_share_is_left_out_or_refused(data):
    lesson = Lesson((data,), epochs=1, width=2, learning_rate=0.01, seed=1)
    dealt = points([Way("sync", 1)], [2, 3], 8)
    first, second = learn(lesson, "hep", {}, WORK, MACHINE, dealt)
    assert first is not None
    assert second is None
    with pytest.raises(UserError, match=r"--data: 3 nodes, .* 2\.66667 samples each"):
        next(learn(lesson, "hep", {}, WORK, MACHINE, dealt[1:]))


def test_scaling_reports_both_speedups(data):
    words = ("scaling", "strong", "hep", "--data", data, "--nodes", 2, 8, "--batch-size", 16)
    few = ("--width", 2, "--epochs", 1, "--iterations", 2, "--strategies", "sync", "hybrid-2")
    done = minidl(*words, *few, "--json", "--target", 10)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["strategy"], row["nodes"]) for row in rows] == [
        ("sync", 2), ("sync", 8), ("hybrid-2", 2), ("hybrid-2", 8),
    ]  # fmt: skip
    assert rows[0]["learning_speedup"] == 1
    assert 1 < rows[1]["learning_speedup"] < 4  # the first update reaches so high a target
    assert all(row["target"] == 10 and row["speedup"] > 1 for row in rows)


def test_a_target_needs_data():
    done = minidl("scaling", "strong", "hep", "--target", 0.5)
    assert done.returncode == 2
    assert re.fullmatch(r"minidl: --target 0.5: expected a loss, and --data .*\n", done.stderr)
