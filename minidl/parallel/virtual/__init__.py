"""A cluster that is not there: the very strategies on any number of ranks, in one process."""

from .cluster import Option, VirtualCluster, VirtualError
from .explore import explore
from .machine import INSTANT, Machine

__all__ = ["INSTANT", "Machine", "Option", "VirtualCluster", "VirtualError", "explore"]
