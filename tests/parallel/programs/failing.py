"""One rank fails while the others wait for it. Arguments: the rank, and how it fails."""

import os
import sys
import threading

import numpy as np
from mpi4py import MPI

import minidl.parallel  # noqa: F401  (its import is what is tested)
from minidl.errors import UserError
from minidl.parallel.agreement import together

comm = MPI.COMM_WORLD
rank, how = int(sys.argv[1]), sys.argv[2]
threading.Thread(target=threading.Event().wait, daemon=True).start()
if how == "agree":
    try:
        with together(comm):
            if comm.rank >= rank:
                raise UserError(f"rank {comm.rank} cannot")
    except UserError as error:
        said = comm.gather(str(error))
        if comm.rank == 0:
            assert said == [f"rank {rank} cannot" if r == rank else "" for r in range(comm.size)]
        sys.exit(0)
elif comm.rank == rank:
    if how == "raise":
        raise RuntimeError("on purpose")
    os.kill(os.getpid(), 9)
comm.Allreduce(MPI.IN_PLACE, np.zeros(1))
