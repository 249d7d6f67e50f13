"""Records of runs made by hand, from lines that say what a rank did."""

import numpy as np

from minidl.parallel.served import UPDATE
from minidl.record import Record
from minidl.stopwatch import ACTIVITIES, SPAN


def spans(*rows):
    """Each row: activity, start, end, and what is known of layer, peer, iteration."""
    made = np.zeros(len(rows), SPAN)
    for span, (activity, start, end, *known) in zip(made, rows, strict=True):
        facts = {"layer": -1, "peer": -1, "iteration": 1, **(known[0] if known else {})}
        span["activity"], span["start"], span["end"] = ACTIVITIES.index(activity), start, end
        for name, value in facts.items():
            span[name] = value
    return made


def record(groups, *ranks, layers=("conv", "linear")):
    return Record(list(layers), list(groups), list(ranks), np.zeros(0, UPDATE))


def slow_rank_in_sync():
    """Four ranks sum two layers; rank 2 computes until 5 where the others take until 3."""

    def member(slow):
        late = 2 * slow
        return spans(
            ("compute", 0, 2 + late / 2),
            ("send", 2 + late / 2, 2 + late / 2, {"layer": 1}),
            ("compute", 2 + late / 2, 3 + late),
            ("send", 3 + late, 3 + late, {"layer": 0}),
            ("wait", 3 + late, 5.5, {"layer": 0}),
            ("compute", 5.5, 6),
            ("wait", 6, 6.25, {"layer": 1}),
            ("compute", 6.25, 7),
        )

    return record([0] * 4, *(member(rank == 2) for rank in range(4)))


def two_workers_and_a_server():
    """Worker 0 gets its answers after a long update, sent amid it; worker 1 comes later."""
    to_server, from_0, from_1 = {"peer": 2}, {"layer": 0, "peer": 0}, {"layer": 0, "peer": 1}
    return record(
        [0, 1, -1],
        spans(
            ("compute", 0, 1),
            ("send", 1, 1.25, {"layer": 0, **to_server}),
            ("wait", 1.25, 5, {"layer": 0, **to_server}),
            ("compute", 5, 6, {"iteration": 2}),
            ("send", 6, 6.25, {"layer": 0, **to_server, "iteration": 2}),
            ("wait", 6.25, 7, {"layer": 0, **to_server, "iteration": 2}),
        ),
        spans(
            ("compute", 0, 5),
            ("send", 5, 5.25, {"layer": 0, **to_server}),
            ("wait", 5.25, 5.75, {"layer": 0, **to_server}),
        ),
        spans(
            ("idle", 0, 1.5),
            ("update", 1.5, 4.5, from_0),
            ("send", 4.5, 4.75, from_0),
            ("update", 4.75, 4.75, from_0),
            ("idle", 4.75, 5.25),
            ("update", 5.25, 5.5, from_1),
            ("send", 5.5, 5.5, from_1),
            ("update", 5.5, 5.5, from_1),
            ("idle", 5.5, 6.25),
            ("update", 6.25, 6.5, from_0),
            ("idle", 6.5, 7),
        ),
        layers=["conv"],
    )
