"""Groups that run freely, the first of them after a late start, under a bound on staleness or none.

Arguments: strategy, groups, servers, bound (-1: none). Checks the recorded versions, that the sum
of all gradients arrived, and that nothing is left; prints the largest staleness.
"""

import random
import sys
import time
from functools import partial

import numpy as np
from common import (
    build,
    check_nothing_is_left,
    check_updates,
    comm,
    given_network,
    roles_of,
    updates_of,
)

from minidl.optim import SGD

name, groups, servers, bound = sys.argv[1], *map(int, sys.argv[2:])
ITERATIONS = 30
bound = None if bound < 0 else bound
roles = roles_of(name, groups, servers)
delay = random.Random(comm.rank)


def loss(output, target):
    late = roles.group(comm.rank) == 0 and step == 0
    time.sleep(0.5 if late else delay.random() * 0.002)
    return 0.0, 1.0


strategy = build(
    name, roles, given_network(), loss, partial(SGD, learning_rate=1.0), staleness_bound=bound
)
strategy.start()
if roles.group(comm.rank) < 0:
    strategy.serve()
else:
    for step in range(ITERATIONS):  # noqa: B007  (the loss above takes it from here)
        strategy.step([(np.empty(1), None)])
    strategy.stop()
if roles.servers:
    strategy.finish()
for layer in strategy.layers:
    assert (layer.parameters == -layer.number * ITERATIONS * roles.groups).all()
updates = updates_of(strategy)
if comm.rank == 0:
    check_updates(updates, roles.groups, ITERATIONS, len(strategy.layers), bound)
    print("largest staleness:", (updates["made"] - 1 - updates["read"]).max())
check_nothing_is_left(comm, strategy.group)
