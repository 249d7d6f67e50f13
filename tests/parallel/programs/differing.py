"""All ranks have the same layers, but for one bit on the rank that is named."""

import sys

import numpy as np
from mpi4py import MPI

import minidl.parallel  # noqa: F401  (ends all ranks if one fails)
from minidl.health import differing
from minidl.layers import Linear

comm, liar = MPI.COMM_WORLD, int(sys.argv[1])
generator = np.random.default_rng(0)
layers = [Linear(3, 2, generator=generator) for _ in range(2)]
for number, layer in enumerate(layers):
    layer.name = f"linear{number}"
assert differing(comm, layers) == ""
if comm.rank == liar:
    layers[1].parameters.view(np.uint8)[5] ^= 1
told = differing(comm, layers)
assert told, "not noticed"
if comm.rank == 0:
    print(told)
