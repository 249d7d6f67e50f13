"""What was published of a model's speed-ups, for a comparison with what is predicted."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A speed-up that was published: of a kind ("strong" or "weak"), from ``low`` to ``high``.

    ``certain`` is what a text states; not so what is only read off, or remembered of, a curve.
    """

    kind: str
    way: str
    nodes: int
    low: float
    high: float
    certain: bool = False
