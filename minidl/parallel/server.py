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

from minidl.parallel.served import ServedLayer
from minidl.roles import Roles
from minidl.stopwatch import Stopwatch

LEAVING = 32767  # tag of a group's last message; every other tag is the number of a layer
NOTHING = np.empty(0, np.uint8)


def serve(
    comm: MPI.Intracomm, roles: Roles, held: dict[int, ServedLayer], stopwatch: Stopwatch
) -> None:
    """Update and answer, first come first served, until every group has left.

    Parameters
    ----------
    held : dict of int to ServedLayer
        The layers that are held here, by number.
    """
    present, status = set(range(roles.groups)), MPI.Status()
    sent: dict[tuple[int, int], MPI.Request] = {}  # the last answer, by layer and group
    while present:
        with stopwatch("idle"):
            comm.Probe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        source, tag = status.Get_source(), status.Get_tag()
        group = roles.group(source)
        if tag == LEAVING:
            comm.Recv(NOTHING, source, LEAVING)
            present.remove(group)
            answers = {number: held[number].leave(group) for number in held}
        else:
            # Its answer to the last gradient has arrived: this one was computed on it.
            sent.get((tag, group), MPI.REQUEST_NULL).Wait()
            with stopwatch("wait", tag, source):
                comm.Recv(held[tag].parcels[group].message, source, tag)
            with stopwatch("update", tag, source):
                answers = {tag: held[tag].receive(group)}
        for number, groups in answers.items():
            for other in groups:
                root = roles.root(other)
                with stopwatch("send", number, root):
                    parcel = held[number].parcels[other]
                    sent[number, other] = comm.Isend(parcel.message, root, number)
    for request in sent.values():
        request.Wait()


def leave(comm: MPI.Intracomm, roles: Roles) -> None:
    """Tell every server that this group, which has all its answers, sends nothing more."""
    for server in range(roles.workers, roles.ranks):
        comm.Send(NOTHING, server, LEAVING)
