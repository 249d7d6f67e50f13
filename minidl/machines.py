"""Machines by name, each figure with its source; and those that a file describes.

A node's rate is what it reached alone on one network: kernels, and with them rates, differ from
network to network. Nothing here was fitted to runs on many nodes but ``jitter``; see there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .parallel.virtual import CORI, Machine

ANY = "any"


@dataclass(frozen=True)
class Rate:
    """How fast one node trains one network, alone: see ``Machine`` for the parameters."""

    flops: float
    half_batch: float = 0.0

    @classmethod
    def measured(cls, flops: float, batch: float, fixed: float) -> Rate:
        """From a rate at a batch size, and the share of the time that does not grow with it."""
        return cls(flops / (1 - fixed), batch * fixed / (1 - fixed))


@dataclass(frozen=True)
class Description:
    """A machine as it is published.

    Parameters
    ----------
    nodes : int
        How many there are; a rank is one of them.
    rates : dict of str to Rate
        By the names of networks; of all others, ``ANY``.
    latency, bandwidth, eager, memory, jitter
        See ``Machine``.
    sources : dict of str to str
        Where the figures come from.
    """

    name: str
    nodes: int
    rates: Mapping[str, Rate]
    latency: float
    bandwidth: float
    eager: int
    memory: float
    jitter: float
    sources: Mapping[str, str]

    def machine(self, network: str) -> Machine:
        """Return the machine as this network finds it."""
        rate = self.rates.get(network, self.rates[ANY])
        return Machine(
            self.name,
            rate.flops,
            self.latency,
            self.bandwidth,
            self.eager,
            half_batch=rate.half_batch,
            memory=self.memory,
            jitter=self.jitter,
        )


HEP_ON_KNL = Rate.measured(CORI.flops, batch=8, fixed=0.125)
JITTER = 0.144

DESCRIPTIONS = {
    "cori-knl": Description(
        name="Cori, phase II",
        nodes=9688,
        rates={
            "hep": HEP_ON_KNL,
            "climate": Rate.measured(2.09e12, batch=8, fixed=0.02),
            ANY: HEP_ON_KNL,
        },
        latency=CORI.latency,
        bandwidth=CORI.bandwidth,
        eager=CORI.eager,
        memory=CORI.memory,
        jitter=JITTER,
        sources={
            "nodes": "NERSC, Cori configuration: Intel Xeon Phi 7250, one processor a node",
            "rates": (
                "Deep Learning at 15PF, figure 5: one node with 8 images. Its solver took 12.5 % "
                "(HEP) and less than 2 % (climate) of the time, which is the same for any batch"
            ),
            "latency": "NERSC, Cori interconnect (Aries): 0.25 to 3.7 microseconds; between them",
            "bandwidth": "NERSC, Cori interconnect (Aries): about 8 GB/s between two ranks",
            "eager": "not published; 8 KiB is usual",
            "memory": "six channels of DDR4, about 100 GB/s",
            "jitter": (
                "fitted to one number, the 11.41 PFLOP/s that HEP sustained on 9,594 nodes: "
                "benchmarks/ledger.py --fit"
            ),
        },
    ),
    "perlmutter-gpu": Description(
        name="Perlmutter, GPU partition",
        nodes=4 * 1792,
        rates={ANY: Rate(23.0e12, half_batch=6)},
        latency=2e-6,
        bandwidth=25e9,
        eager=8192,
        memory=1555e9,
        jitter=JITTER,
        sources={
            "nodes": (
                "NERSC, Perlmutter architecture: 1,792 nodes with four A100 and four network "
                "interfaces each; a rank is one A100 with one interface"
            ),
            "rates": (
                "NVIDIA DeepLearningExamples, PyTorch ResNet-50 v1.5: 938 images/s on one A100 "
                "(80 GB) in TF32, 24.5 GFLOP each to train. Of small batches the same page has a "
                "V100's inference in FP32: at 8 images 709 a second, of 1,261 at 256"
            ),
            "latency": "an assumption: as on Cori",
            "bandwidth": "Slingshot 11: 200 Gbit/s an interface",
            "eager": "an assumption: as on Cori",
            "memory": "NVIDIA A100 40 GB, as most of these nodes have: 1,555 GB/s",
            "jitter": "an assumption: as on Cori",
        },
    ),
    "frontier-gpu": Description(
        name="Frontier",
        nodes=8 * 9856,
        rates={ANY: Rate(7.1e12, half_batch=6)},
        latency=2e-6,
        bandwidth=12.5e9,
        eager=8192,
        memory=1600e9,
        jitter=JITTER,
        sources={
            "nodes": (
                "OLCF, Frontier user guide: 9,856 nodes with four MI250X each, which are eight "
                "GPUs; a rank is one of these"
            ),
            "rates": (
                "an assumption: the share of the peak that the A100 of perlmutter-gpu reaches, "
                "23.0 of 156 TFLOP/s in TF32, of an MI250X's 95.7 TFLOP/s (AMD: FP32, matrix), "
                "half of them a GPU's. Of small batches: as there"
            ),
            "latency": "an assumption: as on Cori",
            "bandwidth": (
                "OLCF, Frontier user guide: four interfaces of 25 GB/s a node, one for two GPUs"
            ),
            "eager": "an assumption: as on Cori",
            "memory": "OLCF, Frontier user guide: 1.6 TB/s a GPU",
            "jitter": "an assumption: as on Cori",
        },
    ),
}


def read_machine(name: str, network: str = ANY) -> Machine:
    """Find a machine by its name, or in the file of this name, as a network finds it.

    A file has what ``Machine`` takes, as JSON, which ``minidl bench machine --out`` writes; or what
    ``Description`` takes.

    Raises
    ------
    UserError
        If there is neither, or the file does not describe a machine.
    """
    if not Path(name).is_file():
        if name in DESCRIPTIONS:
            return DESCRIPTIONS[name].machine(network)
        raise UserError(
            f"--machine {name}: no such machine, and no such file; known are "
            f"{', '.join(DESCRIPTIONS)}, and minidl bench machine --out FILE describes this one"
        )
    try:
        machine = from_json(Path(name).read_text(), network)
        whole = (
            0 < machine.flops < math.inf
            and 0 < machine.bandwidth < math.inf
            and 0 <= machine.latency < math.inf
            and 0 <= machine.half_batch < math.inf
            and 0 <= machine.jitter < math.inf
            and machine.memory > 0
            and machine.eager >= 0
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise UserError(
            f"--machine {name}: does not describe a machine; expected a file as minidl bench "
            "machine --out writes, with flops, latency (seconds), bandwidth (bytes/s) and eager "
            "(bytes)"
        )
    return machine


def from_json(text: str, network: str) -> Machine:
    """Read a ``Machine``, or a ``Description``."""
    values = json.loads(text)
    if "rates" not in values:
        return Machine(**values)
    rates = {name: Rate(**rate) for name, rate in values.pop("rates").items()}
    return Description(rates=rates, **values).machine(network)
