"""A rank of a long training that watches itself: memory, file handles and threads as it goes on.

Its arguments: a folder, in which it finds ``settings.json`` and leaves what it saw, and the run.
"""

import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from mpi4py import MPI
from rich.console import Console

from minidl.cli.training_command import train
from minidl.layers import Conv2d, GlobalAvgPool2d, Linear, Sequential
from minidl.parallel.patience import PatientComm
from minidl.settings import Settings
from minidl.train import Training
from minidl_models import hep

EVERY = 0.1  # seconds between two looks
WIDTH = 4

SAMPLE = np.dtype([("updates", "i8"), ("memory", "i8"), ("handles", "i8"), ("threads", "i8")])


def network(shape, generator, *, dtype=np.float32):
    """As large as it must be for an update to have all its parts, and no larger."""
    return Sequential(
        conv1=Conv2d(shape[2], WIDTH, 3, padding=1, generator=generator, dtype=dtype),
        mean=GlobalAvgPool2d(),
        linear=Linear(WIDTH, 2, generator=generator, dtype=dtype),
    )


TINY = SimpleNamespace(
    __name__="tiny", FIELDS=hep.FIELDS, shape=hep.shape, prepare=hep.prepare, loss=hep.loss,
    network=network,
)  # fmt: skip


class Remembering(PatientComm):
    """Knows every communicator that was made of it."""

    made: list[MPI.Intracomm] = []  # noqa: RUF012

    def Dup(self, *arguments):  # noqa: N802
        self.made.append(super().Dup(*arguments))
        return self.made[-1]

    def Split(self, *arguments):  # noqa: N802
        self.made.append(super().Split(*arguments))
        return self.made[-1]


class Watch(threading.Thread):
    """Looks every so often until the training is done; its record and pictures take more."""

    def __init__(self, training):
        super().__init__(name="watch", daemon=True)
        self.training, self.samples = training, []

    def run(self):
        over = threading.Event()
        while True:
            saw = self.look()
            if self.samples and min(self.training.done) == self.training.iterations:
                break
            self.samples.append(saw)
            over.wait(EVERY)

    def look(self):
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        # A checkpoint may be on its way to the disk.
        lasting = sum(thread.name != "checkpoint" for thread in threading.enumerate())
        return self.updates(), memory, len(handles()), lasting

    def updates(self):
        """Of one layer so far: a server knows, a worker supposes that all groups are as far."""
        served = getattr(self.training.strategy, "served", {})
        if served:
            return max(layer.version for layer in served.values())
        return self.training.stopwatch.iteration * self.training.roles.groups


def handles():
    """What this process has open, but for the checkpoint that is being written."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{entry}"))
        except OSError:  # it was closed meanwhile, as the list's own is
            continue
    return [name for name in found if not name.endswith(".part")]


def main(folder):
    asked = json.loads((folder / "settings.json").read_text())
    comm = Remembering(MPI.COMM_WORLD)
    training = Training(comm, Settings.from_json(asked), TINY)
    watch = Watch(training)
    watch.start()
    console = Console(file=sys.stdout if comm.rank == 0 else open(os.devnull, "w"))  # noqa: SIM115
    train(training, {"model": "tiny", **asked}, folder / "run", False, None, console)
    watch.join()
    comm.Barrier()
    left = [
        number
        for number, made in enumerate((comm, *comm.made))
        if made.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG)
    ]
    np.save(folder / f"rank{comm.rank}.npy", np.array(watch.samples, SAMPLE))
    (folder / f"rank{comm.rank}.json").write_text(json.dumps({"left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
