"""A parameter server: what happens where the layers are held. The same for async and hybrid.

::

    a group's root                                    the server of a layer
      | --- gradient, computed on version 7 ----------> |  others have made it version 9 meanwhile:
      |                                                 |  an update of staleness 2
      | <-- the layer's parameters, version 10 -------- |
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from minidl.parallel.failure import acknowledge, unless_dead
from minidl.parallel.served import ServedLayer
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch

LEAVING = 32767  # tag of a group's last message; every other tag is the number of a layer
NOTHING = np.empty(0, np.uint8)


def serve(
    comm: MPI.Intracomm, roles: Roles, held: dict[int, ServedLayer], stopwatch: Stopwatch
) -> None:
    """Update and answer, first come first served, until every group has left, or its root died.

    Parameters
    ----------
    held : dict of int to ServedLayer
        The layers that are held here, by number.
    """
    present = set(range(roles.groups))
    sent: dict[tuple[int, int], MPI.Request] = {}  # the last answer, by layer and group
    while present:
        try:
            left, answers = _hear(comm, roles, held, sent, stopwatch)
        except MPI.Exception as error:
            left = {roles.group(rank) for rank in acknowledge(comm, error) if roles.is_root(rank)}
            answers = {}
        for group in left & present:
            present.remove(group)
            for number, layer in held.items():
                answers.setdefault(number, []).extend(layer.leave(group))
        for number, groups in answers.items():
            for other in groups:
                root = roles.root(other)
                with stopwatch("send", number, root), unless_dead(comm):
                    parcel = held[number].parcels[other]
                    sent[number, other] = comm.Isend(parcel.message, root, number)
    for request in sent.values():
        with unless_dead(comm):
            request.Wait()


def _hear(
    comm: MPI.Intracomm,
    roles: Roles,
    held: dict[int, ServedLayer],
    sent: dict[tuple[int, int], MPI.Request],
    stopwatch: Stopwatch,
) -> tuple[set[int], dict[int, list[int]]]:
    """Receive a message. Returns a group that leaves, and whom to answer for which layer."""
    status = MPI.Status()
    with stopwatch("idle"):
        comm.Probe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
    source, tag = status.Get_source(), status.Get_tag()
    group = roles.group(source)
    if tag == LEAVING:
        comm.Recv(NOTHING, source, LEAVING)
        return {group}, {}
    # Its answer to the last gradient has arrived: this one was computed on it.
    sent.get((tag, group), MPI.REQUEST_NULL).Wait()
    with stopwatch("wait", tag, source):
        comm.Recv(held[tag].parcels[group].message, source, tag)
    if group not in held[tag].reading:  # sent before its root's death, which was heard of first
        return set(), {}
    with stopwatch("update", tag, source):
        return set(), {tag: held[tag].receive(group)}


def leave(comm: MPI.Intracomm, roles: Roles) -> None:
    """Tell every server that this group, which has all its answers, sends nothing more."""
    for server in range(roles.workers, roles.ranks):
        comm.Send(NOTHING, server, LEAVING)
