"""The ``minidl`` command: every subcommand's flags, help and examples; the work is elsewhere."""

from . import datasets, elsewhere, machine, network, runs, training, virtual
from .app import app

__all__ = ["app", "datasets", "elsewhere", "machine", "network", "runs", "training", "virtual"]
