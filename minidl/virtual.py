"""Ranks that are not there, as a user asks for them: more flags of ``minidl train``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError


@dataclass(frozen=True, kw_only=True)
class Virtual:
    """How many virtual ranks, and on which machine; none unless ``virtual_ranks`` is given.

    Parameters
    ----------
    virtual_ranks
        So many ranks, in place of those that mpiexec starts.
    machine
        cori-knl, perlmutter-gpu, frontier-gpu, or a file that minidl bench machine --out has
        written (cori-knl unless given).
    jitter
        Each iteration of each rank takes exp(JITTER * z) times as long, z standard normal.
    slow_share
        So many of the ranks, drawn once, are slow all the time.
    slow_factor
        So many times as long they take.
    death
        RANK@SECONDS: that rank dies when so many virtual seconds have passed, and others go on as
        under an MPI that tolerates deaths. The cluster's clock starts a little before the log's.
        May be given several times.
    """

    virtual_ranks: int | None = None
    machine: str | None = None
    jitter: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    death: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.virtual_ranks is None:
            if any(getattr(self, field.name) != field.default for field in fields(self)):
                raise UserError(
                    "--machine, --jitter, --slow-share, --slow-factor and --death are about virtual"
                    " ranks; say how many there are: --virtual-ranks"
                )
        elif self.virtual_ranks < 1:
            raise UserError(f"--virtual-ranks must be at least 1, got {self.virtual_ranks}")
        if not 0 <= self.jitter < np.inf:
            raise UserError(f"--jitter must not be negative, got {self.jitter}")
        if not 0 <= self.slow_share <= 1:
            raise UserError(f"--slow-share must lie in [0, 1], got {self.slow_share}")
        if not 0 < self.slow_factor < np.inf:
            raise UserError(f"--slow-factor must be a positive number, got {self.slow_factor}")
        for rank in self.deaths():
            if rank >= (self.virtual_ranks or 0):
                raise UserError(
                    f"--death: there is no rank {rank} among {self.virtual_ranks} virtual ranks, "
                    "of which the first is 0"
                )

    def deaths(self) -> dict[int, float]:
        """When ranks die, in virtual seconds.

        Raises
        ------
        UserError
            If that is not said clearly.
        """
        times = {}
        for text in self.death:
            rank, _, seconds = text.partition("@")
            try:
                times[int(rank)] = float(seconds)
                understood = int(rank) >= 0 <= float(seconds)
            except ValueError:
                understood = False
            if not understood:
                raise UserError(f"--death {text}: expected RANK@SECONDS, such as 3@12.5")
        return times

    def to_json(self) -> dict[str, Any]:
        """As plain values, under one name; nothing for real ranks."""
        if self.virtual_ranks is None:
            return {}
        values = asdict(self)
        if self.machine and Path(self.machine).is_file():
            values["machine"] = str(Path(self.machine).resolve())
        return {"virtual": values}
