"""Who waited for whom: the causes of waiting in runs with known answers."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch import minidl
from printed import Printed
from timelines import record, slow_rank_in_sync, spans, two_workers_and_a_server

from minidl.errors import UserError
from minidl.runs import waits as analysis
from minidl.runs.wait_report import costs, doing, durations, figures, print_waits, spent, verdict
from minidl.runs.waits import find_waits
from minidl.stopwatch import ACTIVITIES, SPAN


def table(ranks, **seconds):
    """What should be in a matrix: from_to=seconds; the rest is 0."""
    caused = np.zeros((ranks, ranks))
    for way, value in seconds.items():
        waiter, cause = map(int, way[1:].split("_"))
        caused[waiter, cause] = value
    return caused


def test_a_rank_that_computes_slowly_is_the_cause_of_all_waiting_in_its_group():
    run = slow_rank_in_sync()
    found = find_waits(run)
    np.testing.assert_allclose(found.caused, table(4, w0_2=2, w1_2=2, w3_2=2))
    # After the last has arrived: half a second for one layer, a quarter for the other.
    np.testing.assert_allclose(found.in_transit, [0.75] * 4)
    np.testing.assert_allclose(found.seconds[0, 2], [2, 0, 0])
    np.testing.assert_allclose(found.seconds[0, -1], [0.5, 0.25, 0])
    np.testing.assert_allclose(costs(run, found), [0, 0, 2 / 7, 0])
    assert verdict(run, found).startswith(
        "rank 2 cost 29 %: the other ranks waited that share of their time for it, "
        "while it was computing; messages in transit cost 11 %"
    )


def test_the_cause_is_found_through_those_who_wait_themselves():
    """Rank 1 waits for its root 0, which waits in the collective for rank 2, still computing."""
    other_group = spans(
        ("compute", 0, 4), ("send", 4, 4, {"layer": 0}), ("wait", 4, 4.5, {"layer": 0})
    )
    run = record(
        [0, 0, 0, 1, -1],
        spans(
            ("compute", 0, 1),
            ("send", 1, 1, {"layer": 0}),
            ("wait", 1, 4, {"layer": 0}),
            ("send", 4, 4.25, {"layer": 0, "peer": 4}),
            ("wait", 4.25, 5, {"layer": 0, "peer": 4}),
            ("wait", 5, 5.25, {"layer": 0, "peer": 0}),
        ),
        spans(
            ("compute", 0, 1),
            ("send", 1, 1, {"layer": 0}),
            ("wait", 1, 5.5, {"layer": 0, "peer": 0}),
        ),
        spans(("compute", 0, 3.5), ("send", 3.5, 3.5, {"layer": 0})),
        other_group,
        spans(("idle", 0, 4.25), ("update", 4.25, 5, {"layer": 0})),
    )
    found = find_waits(run)
    # Rank 1: to 3.5 because of rank 2; from 4 because of its root, which sends; from 4.25 because
    # of the server; from 5 for the root's broadcast; from 5.25 because of the root again.
    np.testing.assert_allclose(
        found.caused, table(5, w0_2=2.5, w0_4=0.75, w1_2=2.5, w1_0=0.5, w1_4=0.75)
    )
    np.testing.assert_allclose(found.in_transit, [0.75, 0.75, 0, 0.5, 0])
    assert doing(found, 2) == "compute"
    assert verdict(run, found).startswith("rank 2 cost 33 %")


def test_a_slow_server_is_the_cause_while_it_updates_and_not_while_it_is_idle():
    run = two_workers_and_a_server()
    found = find_waits(run)
    np.testing.assert_allclose(found.caused, table(3, w0_2=3.5, w1_2=0.25))
    np.testing.assert_allclose(found.in_transit, [1, 0.25, 0])
    assert verdict(run, found).startswith("rank 2 cost 29 %")
    assert doing(found, 2) == "update"
    np.testing.assert_allclose(spent(run)["update"], [0, 0, 3.5])


def test_a_gradient_that_is_held_back_waits_for_the_one_that_frees_it():
    """Worker 0 asks at 1; the server answers it after the update that worker 1 asks for at 4."""
    to_server = {"layer": 0, "peer": 2}
    from_0, from_1 = {"layer": 0, "peer": 0}, {"layer": 0, "peer": 1}
    run = record(
        [0, 1, -1],
        spans(("compute", 0, 1), ("send", 1, 1, to_server), ("wait", 1, 5, to_server)),
        spans(("compute", 0, 4), ("send", 4, 4, to_server), ("wait", 4, 4.75, to_server)),
        spans(
            ("idle", 0, 1),
            ("update", 1, 1, from_0),
            ("idle", 1, 4.25),
            ("update", 4.25, 4.5, from_1),
            ("send", 4.5, 4.5, from_1),
            ("send", 4.5, 4.5, from_0),
            ("idle", 4.5, 5),
        ),
        layers=["conv"],
    )
    found = find_waits(run)
    np.testing.assert_allclose(found.caused, table(3, w0_1=3, w1_2=0.25))
    np.testing.assert_allclose(found.in_transit, [1, 0.5, 0])
    assert doing(found, 1) == "compute"


def test_a_wait_belongs_to_the_last_collective_that_was_entered_before_it():
    """Waiting is lazy: an iteration later, when the other rank has entered the next long ago."""
    run = record(
        [0, 0],
        spans(
            ("send", 0, 1, {"layer": 0}),
            ("wait", 2, 5, {"layer": 0, "iteration": 2}),
            ("send", 6, 7, {"layer": 0, "iteration": 2}),
            ("wait", 8, 9, {"layer": 0, "iteration": 3}),
        ),
        spans(
            ("compute", 0, 4),
            ("send", 4, 4.5, {"layer": 0}),
            ("send", 4.5, 5, {"layer": 0, "iteration": 2}),
        ),
    )
    found = find_waits(run)
    np.testing.assert_allclose(found.caused, table(2, w0_1=2))
    np.testing.assert_allclose(found.in_transit, [2, 0])


def test_waiting_in_a_circle_is_nobodys_fault():
    run = record(
        [0, 1, 2],
        spans(("wait", 0, 2, {"peer": 1})),
        spans(("wait", 0, 1, {"peer": 0}), ("load", 1, 2)),
        spans(("wait", 0, 2, {"peer": 0})),
    )
    found = find_waits(run)
    np.testing.assert_allclose(found.caused, table(3, w0_1=1, w2_1=1))
    np.testing.assert_allclose(found.in_transit, [1, 1, 1])
    assert "while it was loading data" in verdict(run, found)


def test_what_is_not_timed_counts_as_work_of_the_rank():
    run = record(
        [0, 1],
        spans(("wait", 0, 2, {"peer": 1})),
        spans(("compute", 0, 0.5), ("compute", 1.75, 2)),
    )
    found = find_waits(run)
    np.testing.assert_allclose(found.caused, table(2, w0_1=2))
    assert doing(found, 1) == "other"
    np.testing.assert_allclose(spent(run)["other"], [0, 1.25])


def test_without_waiting_nobody_is_blamed():
    alone = record([0], spans(("load", 0, 1), ("compute", 1, 2)))
    assert verdict(alone, find_waits(alone)) == "nobody was waited for noticeably: 0 % of the time"
    empty = record([0, 1, -1], *[np.zeros(0, SPAN)] * 3)
    assert verdict(empty, find_waits(empty)) == "nobody was waited for noticeably: 0 % of the time"
    little = record([0, 1], spans(("compute", 0, 99), ("wait", 99, 100, {"peer": 1})), spans())
    assert verdict(little, find_waits(little)).endswith("noticeably: 1 % of the time")


@st.composite
def records(draw):
    """Whatever a damaged or cut-off record could hold; whole times, so that many coincide."""
    ranks = draw(st.integers(1, 4))
    groups = draw(st.lists(st.integers(-1, 1), min_size=ranks, max_size=ranks))
    made = []
    for _ in range(ranks):
        times = sorted(draw(st.lists(st.integers(0, 20), max_size=16)))
        made.append(
            spans(
                *(
                    (
                        draw(st.sampled_from(ACTIVITIES)),
                        start,
                        end,
                        {
                            "layer": draw(st.integers(-1, 1)),
                            "peer": draw(st.integers(-1, ranks - 1)),
                        },
                    )
                    for start, end in zip(times[::2], times[1::2], strict=False)
                )
            )
        )
    return record(groups, *made)


@given(records(), st.sampled_from([2, 3, 1 << 16]))
def test_the_parts_add_up_to_all_waiting(run, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis, "CHUNK", chunk)
        found = find_waits(run)
    np.testing.assert_allclose(found.caused.sum(axis=1) + found.in_transit, spent(run)["wait"])
    assert not np.diag(found.caused).any()
    np.testing.assert_allclose(found.doing.sum(axis=1), found.caused.sum(axis=0))
    for name in ("wait", "idle"):
        assert not found.doing[:, ACTIVITIES.index(name)].any()
    for layer in range(-1, 2):
        waiting = sum(
            (own["end"] - own["start"])[
                (own["activity"] == ACTIVITIES.index("wait")) & (own["layer"] == layer)
            ].sum()
            for own in run.spans
        )
        np.testing.assert_allclose(found.seconds[..., layer].sum(), waiting)
    json.dumps(figures(run, found))


def test_the_command_prints_tables_and_a_verdict(tmp_path):
    run = two_workers_and_a_server()
    run.save(tmp_path / "record.h5")
    console = Printed()
    print_waits(tmp_path, False, console)
    lines = console.text.splitlines()
    assert "server rank 2 was busy 50 % of the time" in lines
    assert lines[-1].startswith("rank 2 cost 29 %: the other ranks waited")
    assert ["0", "3.500", "1.000"] in [line.split() for line in lines]
    assert ["conv", "5.000", "3.750", "1.250", "rank", "2"] in [line.split() for line in lines]
    done = minidl("waits", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["caused"][0] == [0, 0, 3.5]
    assert printed["layers"]["conv"] == {"caused": [0, 0, 3.75], "in_transit": 1.25}
    assert printed["doing"] == [None, None, "update"]
    np.testing.assert_allclose(printed["seconds"], durations(run))


def test_of_many_ranks_those_that_caused_most_are_shown(tmp_path):
    members = [spans(("compute", 0, 1 + rank), ("wait", 20, 21)) for rank in range(11)]
    members[0] = spans(*(("wait", rank, rank + 1 / rank, {"peer": rank}) for rank in range(1, 11)))
    record(range(11), *members).save(tmp_path / "record.h5")
    console = Printed()
    print_waits(tmp_path, False, console)
    rows = [line.split() for line in console.text.splitlines()]
    assert ["rank", *map(str, range(1, 9)), "rest", "in", "transit"] in rows
    assert f"{1 / 9 + 1 / 10:.3f}" in next(row for row in rows if "0.125" in row)


def test_a_folder_without_a_record_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no record\.h5"):
        print_waits(tmp_path, False, Printed())
