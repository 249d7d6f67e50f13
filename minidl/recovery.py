"""A run goes on after a setback: in the same processes, but as ``--resume`` does in new ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import checkpoint
from .train import DivergedError, Training

TIMES = 5  # that a run goes back; a learning rate 32 times smaller has not helped either


def go_back(training: Training, folder: Path, error: DivergedError) -> Training:
    """Return a training that goes on from the last checkpoint, at half the learning rate.

    Parameters
    ----------
    training : Training
        That has diverged; all ranks call.
    folder : Path
        Of the run.
    error : DivergedError
        Is raised again, if no checkpoint is to be had.
    """
    training.comm.Barrier()  # rank 0 has written all that was begun
    state, _, _ = checkpoint.newest(folder / "checkpoint.h5")
    settings = replace(training.settings, learning_rate=training.settings.learning_rate / 2)
    return replace(
        training, model=training.model.module, settings=settings, state=state, setback=str(error)
    )
