"""The versions of all that a run's numbers depend on."""

from __future__ import annotations

import platform

import h5py
import mpi4py
import numpy as np

from . import __version__


def versions() -> dict[str, str]:
    """Of minidl, Python and the libraries; for a run's log and its checkpoints."""
    libraries = {"numpy": np, "h5py": h5py, "mpi4py": mpi4py}
    found = {name: library.__version__ for name, library in libraries.items()}
    return {"minidl": __version__, "python": platform.python_version(), **found}
