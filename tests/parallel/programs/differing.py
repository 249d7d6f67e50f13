"""All ranks have the same layers, but for one bit on the rank that is named."""

import sys

import numpy as np
from mpi4py import MPI

import minidl.parallel  # noqa: F401  (ends all ranks if one fails)
from minidl.errors import AgreedError
from minidl.health import check_alike
from minidl.layers import Linear

comm, liar = MPI.COMM_WORLD, int(sys.argv[1])
generator = np.random.default_rng(0)
layers = [Linear(3, 2, generator=generator) for _ in range(2)]
for number, layer in enumerate(layers):
    layer.name = f"linear{number}"
check_alike(comm, layers)
if comm.rank == liar:
    layers[1].parameters.view(np.uint8)[5] ^= 1
try:
    check_alike(comm, layers)
except AgreedError as error:
    if str(error):
        print(error)
else:
    raise AssertionError("not noticed")
