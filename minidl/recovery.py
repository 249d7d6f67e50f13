"""A run goes on after a setback: in the same processes, but as ``--resume`` does in new ones.

After a death nobody looks at the disk: what the run goes on from is what the others have. Roles are
dealt anew. Workers stay workers and servers servers, except that the last worker becomes the server
where none is left; the layers are dealt to the servers that there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from . import checkpoint
from .data import Batches
from .errors import AgreedError, DivergedError, UserError
from .parallel.failure import DeathError, end_without_the_dead, is_death, left_of, meet
from .roles import Roles
from .salvage import salvage
from .settings import Settings
from .tables import counted
from .train import Training

TIMES = 5  # that a run goes back; a learning rate 32 times smaller has not helped either


def persevere(training: Training, folder: Path, train: Callable[[Training], None]) -> None:
    """Train; start once more where numbers have stopped being finite, or ranks have died.

    Parameters
    ----------
    training : Training
    folder : Path
        Of the run.
    train : function (training)
        Trains to the end and writes the run's folder.

    Raises
    ------
    DivergedError
        If the run shall not go back, or has done so too often.
    AgreedError
        If too few ranks are left.
    """
    backs = 0
    setback: Exception | None = None
    while True:
        try:
            if isinstance(setback, DivergedError):
                training = go_back(training, folder, setback)
            elif setback:
                training = go_on_without_the_dead(training, setback)
            setback = None
            train(training)
            with training.stopwatch("idle"):
                # Should the first rank die before all is written, others write it.
                meet(training.comm)
            return end_without_the_dead()
        except DivergedError as error:
            if training.settings.on_divergence == "stop" or backs == TIMES:
                raise
            backs, setback = backs + 1, error
        except (MPI.Exception, DeathError) as error:
            if not is_death(training.comm, error):
                raise
            setback = error


def made_ready(comm: Any, kind: type[Training], **what: Any) -> Training:
    """Return a training of this kind, made of ``what``.

    Raises
    ------
    UserError
        If a rank dies meanwhile: there is nothing yet to go on with.
    """
    try:
        return kind(comm=comm, **what)
    except MPI.Exception as error:
        if not is_death(comm, error):
            raise
        raise UserError("a rank died before training had begun; start again") from None


def go_back(training: Training, folder: Path, error: DivergedError) -> Training:
    """Return a training that goes on from the last checkpoint, at half the learning rate.

    Parameters
    ----------
    training : Training
        That has diverged; all ranks call.
    folder : Path
        Of the run.
    error : DivergedError
        Says why.

    Raises
    ------
    UserError
        If there is no whole checkpoint.
    DeathError
        If a rank has died meanwhile.
    """
    training.comm.Barrier()  # rank 0 has written all that was begun
    state, _, _ = checkpoint.newest(folder / "checkpoint.h5")
    rate = training.settings.learning_rate / 2
    why = f"back at iteration {state.iterations[0]}, with --learning-rate {rate:g}: {error}"
    settings = replace(training.settings, learning_rate=rate)
    ready = replace(
        training, model=training.model.module, settings=settings, state=state, setback=why, lost=[]
    )
    meet(training.comm)  # all are ready, or none is
    return ready


def go_on_without_the_dead(training: Training, error: Exception) -> Training:
    """Return a training of those who are left; each of them calls, wherever it was interrupted.

    Parameters
    ----------
    training : Training
    error : MPI.Exception or DeathError
        By which it was interrupted.

    Raises
    ------
    AgreedError
        If too few are left.
    """
    training.log.hear_the_rest()
    if not isinstance(error, DeathError):  # by which all have met already
        for comm in (training.strategy.group, training.log.comm):
            comm.Revoke()  # whoever waits for others there comes here, too
    comm = training.comm
    while True:
        comm = left_of(comm, error)
        training.log.comm.Revoke()  # all that could be heard has been
        try:
            ready = _of_those_who_are_left(training, comm)
            meet(comm)  # all are, or none is: another may have died meanwhile
            return ready
        except (MPI.Exception, DeathError) as another:
            if not is_death(comm, another):
                raise
            error = another


def _of_those_who_are_left(training: Training, comm: Any) -> Training:
    before, watch = training.roles, training.stopwatch
    ranks = np.empty(comm.size, np.int64)
    comm.Allgather(np.array(training.comm.rank), ranks)
    known = np.array([watch.now(), training.log.samples, not training.begun])
    comm.Allreduce(MPI.IN_PLACE, known, MPI.MAX)
    seconds, samples, not_begun = known.tolist()
    roles = dealt_anew(before, ranks.tolist())
    if roles is None:
        raise AgreedError(
            f"{counted(comm.size, 'rank')} of {before.ranks} left, too few to go on; "
            "minidl train --resume goes on with others"
            if comm.rank == 0
            else ""
        )
    state = training.state
    if not not_begun:
        progress = (training.group, training.made)
        make_optimizer, per_epoch = training.make_optimizer(), training.batches.per_epoch
        state = salvage(comm, training.strategy, make_optimizer, progress, per_epoch)
        state.seconds, state.samples = seconds, int(samples)
        state.asked = {"measured": training.model.measured}
    dead = sorted({*range(before.ranks)} - {*ranks.tolist()})
    after = min(state.iterations) if state else 0
    why = f"lost {named(dead, before)}; the other {comm.size} go on after iteration {after}"
    if not_begun and training.setback:  # nobody may have been told of that
        why = f"{training.setback}; then {why}"
        dead = training.lost + dead
    return replace(
        training,
        comm=comm,
        settings=as_long(training, roles.workers),
        model=training.model.module,
        state=state,
        setback=why,
        dealt=roles,
        lost=dead,
    )


def as_long(training: Training, workers: int) -> Settings:
    """A run's settings, so that with other workers it sees as many samples."""
    settings, before = training.settings, training.batches
    if settings.iterations is None:
        return settings
    now = Batches(before.samples, before.batch_size, 0, workers, before.seed).per_epoch
    return replace(settings, iterations=-(-settings.iterations * now // before.per_epoch))


def dealt_anew(before: Roles, left: list[int]) -> Roles | None:
    """The roles of those who are left of the ranks that had ``before``; None if it takes more."""
    servers = sum(before.group(rank) < 0 for rank in left)
    if before.servers:
        servers = max(servers, 1)
    workers = len(left) - servers
    if workers < 1:
        return None
    groups = {before.group(rank) for rank in left} - {-1}
    return Roles(len(left), min(len(groups), workers), servers)


def named(dead: list[int], roles: Roles) -> str:
    """Ranks in words, with what they were."""
    words = []
    for rank in dead:
        group = roles.group(rank)
        role = "a server" if group < 0 else f"of group {group}" if roles.groups > 1 else "a worker"
        words.append(f"rank {rank} ({role})")
    return ", ".join(words)
