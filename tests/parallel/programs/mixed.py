"""A script of mixed calls, drawn from a seed: what every rank receives, as one digest.

All ranks draw the same script. What is sent are integers, so that sums are exact in any order; no
result depends on which message comes first. Under mpiexec, rank 0 prints the digests of all ranks
in hexadecimal, a line for each seed. Arguments: the seeds.
"""

import hashlib
import random

import numpy as np
from mpi4py import MPI

DTYPES = ("float64", "float32", "int64", "uint8")
OPS = (MPI.SUM, MPI.MAX, MPI.MIN)
LONGEST = 3000  # more bytes than travel without being asked for
CALLS = 12


def program(comm, seed):
    """Make the calls; return the digest of what this rank has received."""
    digest = hashlib.sha256()
    Mix(comm, f"seed {seed}", digest).run(CALLS)
    comm.Barrier()  # the next script has the same tags
    return digest.digest()


class Mix:
    """One rank's part of a script, on one communicator.

    Attributes
    ----------
    draw, own : random.Random
        Draws the same on every rank: what is called. Draws for this rank alone: when it waits.
    pending : list of (request, what it receives into or None)
    kept : list of arrays
        What was given to sums: unlike other requests, mpi4py's do not keep it from being deleted.
    """

    def __init__(self, comm, script, digest):
        self.comm, self.script, self.digest = comm, script, digest
        self.draw, self.own = random.Random(script), random.Random(f"{script}, rank {comm.rank}")
        self.pending, self.kept, self.tag = [], [], 0

    def run(self, calls):
        kinds = [
            self.bcast, self.reduce, self.allreduce, self.gather, self.allgather, self.barrier,
            self.split, self.dup, self.ring, self.pairs, self.any_tag, self.first_come, self.probe,
            self.to_itself, self.as_they_complete,
        ]  # fmt: skip
        for number in range(calls):
            self.draw.choice(kinds)(f"{self.script}, call {number}")
            if self.own.random() < 0.4:
                self.wait_for(self.own.randint(0, len(self.pending)))
        self.wait_for(len(self.pending))

    def contents(self, *what, dtype, count):
        """Small integers that depend on what they are for."""
        drawn = random.Random(f"{self.script} {what}")
        return np.array([drawn.randrange(40) for _ in range(count)], dtype)

    def drawn_kind(self):
        return self.draw.choice(DTYPES), self.draw.choice([0, 1, 2, 7, LONGEST])

    def received(self, array):
        self.digest.update(array.tobytes())

    def tags(self, count):
        """Tags that no other call uses."""
        self.tag += count
        return list(range(self.tag - count, self.tag))

    def later_or_now(self, request, array):
        """Wait now, test until it is there, or leave it for later."""
        how = self.own.choice(["now", "test", "later"])
        if how == "later":
            self.pending.append((request, array))
            return
        if how == "now":
            request.Wait()
        else:
            while not request.Test():
                pass
        if array is not None:
            self.received(array)

    def wait_for(self, count):
        """In another order than they began, one by one or all at once."""
        self.own.shuffle(self.pending)
        if count and self.own.random() < 0.5:
            requests = [request for request, _ in self.pending[:count]]
            type(requests[0]).Waitall(requests)
        for request, array in self.pending[:count]:
            request.Wait()
            if array is not None:
                self.received(array)
        del self.pending[:count]

    def bcast(self, what):
        dtype, count = self.drawn_kind()
        root, later = self.draw.randrange(self.comm.size), self.draw.random() < 0.5
        buffer = self.contents(what, dtype=dtype, count=count)
        if self.comm.rank != root:
            buffer = np.zeros_like(buffer)
        if later:
            self.later_or_now(self.comm.Ibcast(buffer, root), buffer)
        else:
            self.comm.Bcast(buffer, root=root)
            self.received(buffer)

    def reduce(self, what):
        dtype, count = self.drawn_kind()
        root, op = self.draw.randrange(self.comm.size), self.draw.choice(OPS)
        in_place, later = self.draw.random() < 0.5, self.draw.random() < 0.5
        send = self.contents(what, self.comm.rank, dtype=dtype, count=count)
        self.kept.append(send)
        receive = send.copy() if self.comm.rank == root else None
        if in_place and self.comm.rank == root:
            send = MPI.IN_PLACE
        if later:
            self.later_or_now(self.comm.Ireduce(send, receive, op, root), receive)
        else:
            self.comm.Reduce(send, receive, op=op, root=root)
            if receive is not None:
                self.received(receive)

    def allreduce(self, what):
        dtype, count = self.drawn_kind()
        op = self.draw.choice(OPS)
        in_place, later = self.draw.random() < 0.5, self.draw.random() < 0.5
        send = self.contents(what, self.comm.rank, dtype=dtype, count=count)
        self.kept.append(send)
        receive = send.copy()
        if in_place:
            send = MPI.IN_PLACE
        if later:
            self.later_or_now(self.comm.Iallreduce(send, receive, op), receive)
        else:
            self.comm.Allreduce(send, receive, op)
            self.received(receive)

    def gather(self, what):
        dtype, count = self.drawn_kind()
        root = self.draw.randrange(self.comm.size)
        send = self.contents(what, self.comm.rank, dtype=dtype, count=count)
        receive = np.zeros((self.comm.size, count), dtype) if self.comm.rank == root else None
        self.comm.Gather(send, receive, root=root)
        if receive is not None:
            self.received(receive)

    def allgather(self, what):
        dtype, count = self.drawn_kind()
        receive = np.zeros((self.comm.size, count), dtype)
        self.comm.Allgather(self.contents(what, self.comm.rank, dtype=dtype, count=count), receive)
        self.received(receive)

    def barrier(self, what):
        self.comm.Barrier()

    def split(self, what):
        colors = [self.draw.choice([0, 1, 5, MPI.UNDEFINED]) for _ in range(self.comm.size)]
        keys = [self.draw.choice([-1, 0, 3]) for _ in range(self.comm.size)]
        color, calls = colors[self.comm.rank], self.draw.randint(0, 3)
        part = self.comm.Split(color, keys[self.comm.rank])
        if color == MPI.UNDEFINED:
            assert part == MPI.COMM_NULL
        else:
            self.inside(part, f"{what}, part {color}", calls)

    def dup(self, what):
        self.inside(self.comm.Dup(), what, self.draw.randint(0, 3))

    def inside(self, part, script, calls):
        self.received(np.array([part.rank, part.size]))
        Mix(part, script, self.digest).run(calls)

    def ring(self, what):
        """To the right and from the left, several messages at once, received last sent first."""
        dtype, count = self.drawn_kind()
        comm, tags, step = self.comm, self.tags(3), self.draw.randrange(1, 4)
        right, left = (comm.rank + step) % comm.size, (comm.rank - step) % comm.size
        for tag in tags:
            send = self.contents(what, comm.rank, tag, dtype=dtype, count=count)
            self.pending.append((comm.Isend(send, right, tag), None))
        for tag in reversed(tags):
            receive = np.zeros(count, dtype)
            self.later_or_now(comm.Irecv(receive, left, tag), receive)

    def partner(self):
        """Neighbours, two by two; the last of an odd number has none."""
        partner = self.comm.rank ^ 1
        return partner if partner < self.comm.size else None

    def pairs(self, what):
        """One sends and then receives, the other the other way round."""
        (tag,), partner = self.tags(1), self.partner()
        dtype, count = self.drawn_kind()
        first = self.draw.randrange(2)
        if partner is None:
            return
        status = MPI.Status()
        for sender in (first, 1 - first):
            if self.comm.rank % 2 == sender:
                self.comm.Send(
                    self.contents(what, self.comm.rank, dtype=dtype, count=count), partner, tag
                )
            else:
                receive = np.zeros(LONGEST, dtype)  # more room than the message needs
                self.comm.Recv(receive, partner, tag, status)
                self.received(receive[:count])
                self.noted(status)

    def any_tag(self, what):
        """Of one sender's messages, the first sent is the first received."""
        tags, partner = self.tags(3), self.partner()
        self.draw.shuffle(tags)
        dtype, count = self.drawn_kind()
        if partner is None:
            return
        sent = [
            self.comm.Isend(
                self.contents(what, self.comm.rank, tag, dtype=dtype, count=count), partner, tag
            )
            for tag in tags
        ]
        for _ in tags:
            receive, status = np.zeros(count, dtype), MPI.Status()
            self.comm.Recv(receive, partner, MPI.ANY_TAG, status)
            self.received(receive)
            self.noted(status)
        for request in sent:
            request.Wait()

    def first_come(self, what):
        """Everyone to one of them, who adds up what comes in any order."""
        (tag,), root = self.tags(1), self.draw.randrange(self.comm.size)
        dtype, count = self.drawn_kind()
        if self.comm.rank != root:
            self.comm.Send(self.contents(what, self.comm.rank, dtype=dtype, count=count), root, tag)
            return
        total, receive = np.zeros(count, dtype), np.zeros(count, dtype)
        for _ in range(self.comm.size - 1):
            self.comm.Recv(receive, MPI.ANY_SOURCE, tag)
            total += receive
        self.received(total)

    def probe(self, what):
        """Messages of any length from everyone, each announced before it is received."""
        (tag,), root = self.tags(1), self.draw.randrange(self.comm.size)
        dtype = self.draw.choice(DTYPES)
        counts = [self.draw.choice([0, 3, LONGEST]) for _ in range(self.comm.size)]
        if self.comm.rank != root:
            send = self.contents(what, self.comm.rank, dtype=dtype, count=counts[self.comm.rank])
            self.later_or_now(self.comm.Isend(send, root, tag), None)
            return
        said = {}
        for _ in range(self.comm.size - 1):
            status = MPI.Status()
            self.comm.Probe(MPI.ANY_SOURCE, tag, status)
            source, length = status.Get_source(), status.Get_count(TYPES[dtype])
            assert length == counts[source] and status.Get_tag() == tag
            said[source] = np.zeros(length, dtype)
            request = self.comm.Irecv(said[source], source, tag)
            request.Wait(status)
            assert status.Get_source() == source and status.Get_tag() == tag
        for source in sorted(said):
            self.received(said[source])

    def to_itself(self, what):
        (tag,) = self.tags(1)
        dtype, count = self.drawn_kind()
        receive = np.zeros(count, dtype)
        self.pending.append((self.comm.Irecv(receive, self.comm.rank, tag), receive))
        send = self.contents(what, self.comm.rank, dtype=dtype, count=count)
        self.comm.Send(send, self.comm.rank, tag)

    def as_they_complete(self, what):
        """To the right and from the left, several at once, taken as they complete."""
        dtype, count = self.drawn_kind()
        comm, tags, arrays, requests = self.comm, self.tags(2), [], []
        right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        for tag in tags:
            arrays.append(np.zeros(count, dtype))
            requests.append(comm.Irecv(arrays[-1], left, tag))
        for tag in tags:
            send = self.contents(what, comm.rank, tag, dtype=dtype, count=count)
            requests.append(comm.Isend(send, right, tag))
        kind, came = type(requests[0]), []
        call = self.own.choice(["Waitany", "Waitsome", "Testany", "Testsome", "Testall"])
        while len(came) < len(requests):
            status = MPI.Status()
            if call == "Waitany":
                place = kind.Waitany(requests, status)
                came.append(place)
                if place < len(arrays):
                    assert (status.Get_source(), status.Get_tag()) == (left, tags[place])
            elif call == "Testany":
                place, found = kind.Testany(requests)
                came += [place] * found
            elif call == "Testall":
                came += list(range(len(requests))) * kind.Testall(requests)
            else:
                came += getattr(kind, call)(requests)
        assert sorted(came) == list(range(len(requests)))
        for array in arrays:
            self.received(array)

    def noted(self, status):
        """What a status says is received, too."""
        said = [status.Get_source(), status.Get_tag(), status.Get_count(MPI.BYTE)]
        self.received(np.array(said))


TYPES = {
    "float64": MPI.DOUBLE,
    "float32": MPI.FLOAT,
    "int64": MPI.INT64_T,
    "uint8": MPI.UINT8_T,
}


if __name__ == "__main__":
    import sys

    world = MPI.COMM_WORLD
    for number in sys.argv[1:]:
        digests = world.gather(program(world, int(number)))
        if world.rank == 0:
            print(*(digest.hex() for digest in digests))
