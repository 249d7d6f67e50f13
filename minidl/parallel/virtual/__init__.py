"""A cluster that is not there: the very strategies on any number of ranks, in one process."""

from .cluster import VirtualCluster
from .cohort import cohorts_of
from .explore import explore
from .failure import DEAD, Death
from .machine import CORI, INSTANT, Machine, Stragglers
from .rank import Option, VirtualError

__all__ = [
    "CORI",
    "DEAD",
    "INSTANT",
    "Death",
    "Machine",
    "Option",
    "Stragglers",
    "VirtualCluster",
    "VirtualError",
    "cohorts_of",
    "explore",
]
