"""Ways to scale one network over MPI, a file each, to be read side by side.

Each strategy is a class ``Strategy`` with the same methods in the same order:

``start()``
    All ranks begin with the same parameters.
``step(batches) -> loss``
    One iteration of a worker: forward, which *requires* each layer's parameters, and backward,
    which *announces* each layer's gradient. ``_parameters_needed`` and ``_gradient_ready`` are
    what the strategy makes of that. Returns the mean loss over all samples of the update.
``gather()``
    Complete what is under way in a group, so that its network can be evaluated or saved.
``stop()``
    A worker has made its last step, or the last one before a checkpoint.
``serve()``, ``finish()``
    Where there are servers: be one until all workers have stopped; and then, on all ranks, take
    the network that the servers have made. From there all may go on.
``survive(error)``
    A rank has died, where that is tolerated. Wait, where others can do without this group, until
    all meet; and raise the error again.

``group`` is the communicator of the ranks that make updates together.

The communicator is mpi4py's and is used through its upper-case methods only, which send buffers
and never pickle: ``Split``, ``Bcast``, ``Ibcast``, ``Allreduce``, ``Iallreduce``, ``Ireduce``,
``Send``, ``Recv``, ``Isend``, ``Irecv``, ``Probe``, ``Revoke``, and ``Wait`` and ``Test`` of
requests. The package ``virtual`` has another one, on which the same strategies run in one process.

Importing this package starts MPI and makes sure that nobody is left waiting: an exception that
nobody catches ends every rank of the job, however it was launched.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import TracebackType

from minidl.errors import UserError

try:
    from mpi4py import rc

    rc.initialize, rc.finalize = False, True  # MPI starts below, if mpiexec belongs to it
    from mpi4py import MPI
except (ImportError, RuntimeError) as error:
    raise UserError(
        f"no MPI library can be loaded ({str(error).splitlines()[0]}); "
        "pip install 'minidl[mpich]', or load the MPI module of your cluster"
    ) from None

from .patience import PatientComm


def start() -> None:
    """Start MPI, unless mpiexec belongs to another one than mpi4py has loaded.

    Raises
    ------
    UserError
        If it does: ranks would not find each other. Each would train alone, or MPI end them with a
        stack of its own errors.
    """
    name = " ".join(MPI.Get_library_version().strip("\0").splitlines()[0].split(",")[0].split())
    # Variables that only these launchers set.
    launchers = {"Open MPI": "OMPI_COMM_WORLD_SIZE", "MPICH": "HYDI_CONTROL_FD"}
    launched_by = {kin for kin, variable in launchers.items() if variable in os.environ}
    strange = launched_by and ("Open MPI" in name) != ("Open MPI" in launched_by)
    if not strange and not MPI.Is_initialized():
        MPI.Init_thread()
    if strange or int(os.environ.get("PMI_SIZE", 1)) > MPI.COMM_WORLD.size == 1:
        raise UserError(
            f"mpiexec does not belong to the MPI that was loaded, {name}: every rank would be "
            "alone; start ranks with its own mpiexec (minidl info says which)"
        )


start()


def abort(status: int) -> None:
    """End every rank of the job at once, with ``status``. What is to be said was said before."""
    sys.stdout.flush()
    sys.stderr.flush()
    if MPI.COMM_WORLD.size == 1:
        os._exit(status)
    if PatientComm.tolerant:  # there MPI would end this rank alone, and others go on without it
        os.kill(_launcher(), signal.SIGTERM)
        time.sleep(5)
    time.sleep(0.2)  # for mpiexec to pass that on: of a job that aborts it drops what it has not
    # The MPI library would add lines of its own to the one clear message.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    MPI.COMM_WORLD.Abort(status)


def _launcher() -> int:
    """The process of Open MPI's mpiexec; elsewhere than on its computer, of its deputy."""
    place, _, number = os.environ.get("PMIX_NAMESPACE", "").partition("@")[0].rpartition("-")
    on_this_computer = place == f"prterun-{os.uname().nodename}"
    return int(number) if on_this_computer and number.isdigit() else os.getppid()


def _end_all_on_exception(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if MPI.COMM_WORLD.rank > 0:
        time.sleep(1)  # where all ranks fail alike, rank 0 has spoken and ended them by then
    sys.__excepthook__(kind, error, traceback)
    if MPI.COMM_WORLD.size > 1:
        print(f"rank {MPI.COMM_WORLD.rank} failed; all ranks end", file=sys.stderr)
        abort(1)


sys.excepthook = _end_all_on_exception
