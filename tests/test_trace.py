"""A run's timeline, as trace events and as a picture."""

import json
from collections import Counter

import numpy as np
import pytest
from timelines import record, slow_rank_in_sync, spans, two_workers_and_a_server

from minidl.errors import UserError
from minidl.runs.trace import draw_timeline, gradients, labels, place_rows, window, write_trace
from minidl.stopwatch import SPAN


def events(run, folder):
    write_trace(run, folder / "trace.json")
    assert [path.name for path in folder.iterdir()] == ["trace.json"]
    return json.loads((folder / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize("make", [slow_rank_in_sync, two_workers_and_a_server])
def test_every_span_is_one_slice_of_its_rank(tmp_path, make):
    run = make()
    slices = [event for event in events(run, tmp_path) if event["ph"] == "X"]
    counts = Counter(event["tid"] for event in slices)
    assert counts == {rank: len(own) for rank, own in enumerate(run.spans)}
    for rank, own in enumerate(run.spans):
        mine = [event for event in slices if event["tid"] == rank]
        np.testing.assert_allclose([event["ts"] for event in mine], 1e6 * own["start"])
        np.testing.assert_allclose(
            sum(event["dur"] for event in mine), 1e6 * (own["end"] - own["start"]).sum()
        )


def test_ranks_are_named_and_slices_say_what_they_are(tmp_path):
    found = events(two_workers_and_a_server(), tmp_path)
    names = {e["tid"]: e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert names == {0: "rank 0, group 0", 1: "rank 1, group 1", 2: "rank 2, server"}
    waits = [e for e in found if e.get("cat") == "wait"]
    assert {e["name"] for e in waits} == {"wait conv"}
    assert waits[1]["args"] == {"layer": "conv", "peer": 2, "iteration": 2}
    assert found[-1]["ph"] == "f"
    assert {e["name"] for e in found if e.get("cat") == "idle"} == {"idle"}


def test_an_arrow_leads_from_each_gradient_to_its_update(tmp_path):
    run = two_workers_and_a_server()
    # What follows the answer that is sent amid an update is not another update.
    assert sorted(gradients(run)) == [(0, 1, 2, 1), (0, 4, 2, 9), (1, 1, 2, 5)]
    found = events(run, tmp_path)
    slices = [e for e in found if e["ph"] == "X"]

    def around(event):
        mine = (s for s in slices if s["tid"] == event["tid"])
        return next(s for s in mine if s["ts"] < event["ts"] < s["ts"] + s["dur"])

    starts, ends = ({e["id"]: e for e in found if e["ph"] == phase} for phase in "sf")
    assert starts.keys() == ends.keys() and len(starts) == 3
    for number, start in starts.items():
        sent, updated = around(start), around(ends[number])
        assert (sent["cat"], updated["cat"]) == ("send", "update")
        assert updated["args"]["peer"] == start["tid"]


def test_gradients_without_an_update_in_the_record_have_no_arrow():
    run = two_workers_and_a_server()
    run.spans[2] = run.spans[2][:3]
    assert list(gradients(run)) == [(0, 1, 2, 1)]
    run.spans[0] = run.spans[0][:1]
    assert list(gradients(run)) == []


def test_a_trace_that_cannot_be_written_is_one_error(tmp_path):
    with pytest.raises(UserError, match=r"cannot write the timeline: No such file"):
        write_trace(slow_rank_in_sync(), tmp_path / "nowhere" / "trace.json")


@pytest.mark.parametrize("make", [slow_rank_in_sync, two_workers_and_a_server])
def test_a_picture_is_drawn(tmp_path, make):
    draw_timeline(make(), tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").read_bytes()[:4] == b"\x89PNG"


def test_the_picture_leaves_out_the_first_iteration_unless_it_is_the_only_one():
    def worker(iterations, length):
        return spans(
            *(
                ("compute", length * i, length * (i + 1), {"iteration": i + 1})
                for i in range(iterations)
            )
        )

    assert window(record([0], worker(9, 1.0)), 3) == (1, 4)
    assert window(record([0], worker(2, 1.0)), 3) == (1, 2)
    assert window(record([0], worker(1, 1.0)), 3) == (0, 1)
    # A rank that is much slower does not shrink the others.
    mixed = record([0, 1, 2], worker(9, 1.0), worker(9, 1.25), worker(9, 100.0))
    assert window(mixed, 3) == (1, 5)


def test_rows_are_named_by_group_where_groups_have_several_ranks():
    assert labels([0, 0]) == ["rank 0", "rank 1"]
    assert labels([0, 1, -1]) == ["rank 0", "rank 1", "server, rank 2"]
    assert labels([0, 0, 1, 1, -1])[2:] == ["group 1, rank 2", "group 1, rank 3", "server, rank 4"]
    np.testing.assert_allclose(place_rows([0, 0, 1, 1, -1, -1]), [0, 1, 2.5, 3.5, 5, 6])


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(UserError, match="no iteration in the record"):
        draw_timeline(record([0], np.zeros(0, SPAN)), tmp_path / "timeline.png")
    with pytest.raises(UserError, match=r"unknown kind of picture.*--trace"):
        draw_timeline(slow_rank_in_sync(), tmp_path / "timeline.json")
