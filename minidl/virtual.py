"""Ranks that are not there, as a user asks for them: more flags of ``minidl train``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
        cori-knl, perlmutter-gpu, or a file that minidl bench machine --out has written (cori-knl
        unless given).
    jitter
        Each iteration of each rank takes exp(JITTER * z) times as long, z standard normal.
    slow_share
        So many of the ranks, drawn once, are slow all the time.
    slow_factor
        So many times as long they take.
    """

    virtual_ranks: int | None = None
    machine: str | None = None
    jitter: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0

    def __post_init__(self) -> None:
        if self.virtual_ranks is None:
            if (self.machine, self.jitter, self.slow_share, self.slow_factor) != (None, 0, 0, 1):
                raise UserError(
                    "--machine, --jitter, --slow-share and --slow-factor are about virtual ranks; "
                    "say how many there are: --virtual-ranks"
                )
        elif self.virtual_ranks < 1:
            raise UserError(f"--virtual-ranks must be at least 1, got {self.virtual_ranks}")
        if not 0 <= self.jitter < np.inf:
            raise UserError(f"--jitter must not be negative, got {self.jitter}")
        if not 0 <= self.slow_share <= 1:
            raise UserError(f"--slow-share must lie in [0, 1], got {self.slow_share}")
        if not 0 < self.slow_factor < np.inf:
            raise UserError(f"--slow-factor must be a positive number, got {self.slow_factor}")

    def to_json(self) -> dict[str, Any]:
        """As plain values, under one name; nothing for real ranks."""
        if self.virtual_ranks is None:
            return {}
        values = asdict(self)
        if self.machine and Path(self.machine).is_file():
            values["machine"] = str(Path(self.machine).resolve())
        return {"virtual": values}
