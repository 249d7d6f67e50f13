"""The equal terms of a comparison: which runs it consists of, and with which settings.

Equal are the data, the seed, the workers, the samples of each pass and the number of passes, so
that every strategy sees as many samples in all. Parameter servers come on top of the workers.

The serial run, where there is one, makes the updates of the synchronous one: one rank computes in
turn what the workers compute at once, in passes of the same size. So speed-ups over it tell what
more ranks bring, and not what larger batches cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from ..settings import Settings


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The flags of ``minidl compare`` that are not settings of its runs.

    Parameters
    ----------
    ranks
        Workers of each run; async and hybrid have --servers more ranks.
    serial
        Train on one rank, too, which makes the updates of sync by itself. Speed-ups are over this
        run then, else over sync.
    seeds
        Train everything once from each of these, in place of --seed: figures are medians then,
        with their range.
    target_loss
        Training loss, a mean over the last updates, to say when each run reached it; unless given,
        the lowest that all reach.
    target_accuracy
        Accuracy on --validation, to say when each run reached it.
    """

    ranks: int = 4
    serial: bool = False
    seeds: tuple[int, ...] = ()
    target_loss: float | None = None
    target_accuracy: float | None = None

    def __post_init__(self) -> None:
        if min(self.seeds, default=0) < 0:
            raise UserError(f"--seeds must not be negative, got {min(self.seeds)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"--seeds {' '.join(map(str, self.seeds))}: expected each once")
        if self.target_loss is not None and not math.isfinite(self.target_loss):
            raise UserError(f"--target-loss must be a number, got {self.target_loss}")
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            raise UserError(f"--target-accuracy must lie in (0, 1], got {self.target_accuracy}")


@dataclass(frozen=True)
class Trial:
    """A run of a comparison."""

    settings: Settings
    ranks: int
    folder: Path
    label: str


def trials_of(settings: Settings, terms: Terms, out: Path) -> list[Trial]:
    """All runs of a comparison, in their order.

    ::

        OUT/sync                   of one seed
        OUT/seed-1/sync            of several

    Parameters
    ----------
    settings : Settings
        Of the hybrid run; the others leave out what they do not have.
    terms : Terms
    out : Path
        The comparison's folder.

    Raises
    ------
    UserError
        If so many workers cannot be dealt so, or the terms are not those of these settings.
    """
    if terms.target_accuracy is not None and not settings.validation:
        raise UserError("--target-accuracy is that of data not trained on; name some: --validation")
    runs = []
    for seed in terms.seeds or (settings.seed,):
        for own in settings_of_each(replace(settings, seed=seed), terms).values():
            several = len(terms.seeds) > 1
            folder = out / f"seed-{seed}" if several else out
            label = f"{own.strategy}, seed {seed}" if several else own.strategy
            workers = 1 if own.strategy == "serial" else terms.ranks
            ranks = workers + (own.servers or 0)
            runs.append(Trial(own, ranks, folder / own.strategy, label))
    return runs


def settings_of_each(settings: Settings, terms: Terms) -> dict[str, Settings]:
    """Derive the settings of all runs of a seed, by strategy, from those of the hybrid one."""
    groups, servers, ranks = settings.groups or 2, settings.servers or 1, terms.ranks
    if ranks < 1 or ranks % groups:
        raise UserError(
            f"--ranks {ranks} workers cannot be dealt to {groups} equal groups; "
            "change --ranks or --groups"
        )
    hybrid = replace(settings, strategy="hybrid", groups=groups, servers=servers)
    asynchronous = replace(hybrid, strategy="async", groups=None)
    synchronous = replace(
        asynchronous,
        strategy="sync",
        servers=None,
        staleness_bound=None,
        scale_by_staleness=False,
    )
    for each in (hybrid, asynchronous):
        each.roles(ranks + servers)
    runs = {"sync": synchronous, "async": asynchronous, "hybrid": hybrid}
    if not terms.serial:
        return runs
    if settings.scale_by_ranks:
        raise UserError(
            "--scale-by-ranks has no ranks to scale by in the --serial run, which would learn at "
            "another rate; leave one of them"
        )
    if settings.clip is not None:
        raise UserError(
            "--clip shortens the gradient of every worker, and of the --serial run that of them "
            "all: its updates would be others; leave one of them"
        )
    passes = ranks * settings.accumulate
    return {"serial": replace(synchronous, strategy="serial", accumulate=passes), **runs}
