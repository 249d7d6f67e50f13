"""How long a job takes in which nodes die: drawn at random, and by formula.

Times are in seconds. Deaths come one by one and independent of each other, at a rate that does not
change: exponentially distributed times between them.

Two kinds of job. One *ends* with the first death and resumes from its last checkpoint. The other
*survives*: only the group that lost a member stops, until all groups meet, which they do at every
checkpoint; then they go on with a node less, from what they remember. With a single group all stop,
so that they meet at once: that is ``sync``. With groups of one node nearly nobody stops: that is
``async``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Job:
    """A job on nodes that die.

    Parameters
    ----------
    work : float
        How long it takes where nobody dies, checkpoints not counted.
    nodes : int
    mtbf : float
        Mean time between failures of one node.
    checkpoint : float
        What a checkpoint costs.
    restart : float
        From a death until the job has been started again.
    pause : float
        From a death until those who are left go on without the dead.
    iteration : float
        The one that a death interrupts is lost.
    """

    work: float
    nodes: int
    mtbf: float
    checkpoint: float
    restart: float
    pause: float
    iteration: float = 0.0

    @property
    def system_mtbf(self) -> float:
        """Of any of the nodes."""
        return self.mtbf / self.nodes


def interval_that_ends(job: Job) -> float:
    """Time between checkpoints of a job that ends with a death.

    Source: J. Young, A First Order Approximation to the Optimum Checkpoint Interval (1974).
    """
    return math.sqrt(2 * job.checkpoint * job.system_mtbf)


def interval_that_survives(job: Job, groups: int) -> float:
    """Time between meetings of groups of which some wait for the next one.

    As above, where a death costs half an interval of one group of many. A single group waits for
    nobody, and needs checkpoints for nothing but the end of its time on the machine: every hour.
    """
    if groups == 1:
        return 3600.0
    return math.sqrt(2 * job.checkpoint * job.system_mtbf * groups)


def expected(job: Job, interval: float) -> float:
    """Expected time of a job that ends with a death.

    Source: J. Daly, A Higher Order Estimate of the Optimum Checkpoint Interval for Restart Dumps
    (2006), the complete model: M exp(R/M) (exp((tau + delta)/M) - 1) times work/tau.
    """
    mtbf = job.system_mtbf
    block = math.expm1((interval + job.checkpoint) / mtbf)
    return mtbf * math.exp(job.restart / mtbf) * block * job.work / interval


def ends_and_resumes(job: Job, interval: float, generator: np.random.Generator) -> float:
    """Draw how long a job takes that ends with a death. A new node takes the place of the dead."""
    clock = done = 0.0
    while done < job.work:
        block = min(interval, job.work - done)
        death = generator.exponential(job.system_mtbf)
        if death >= block + job.checkpoint:
            clock, done = clock + block + job.checkpoint, done + block
            continue
        clock += death
        while (death := generator.exponential(job.system_mtbf)) < job.restart:
            clock += death
        clock += job.restart
    return clock


def survives(job: Job, groups: int, interval: float, generator: np.random.Generator) -> float:
    """Draw how long a job takes that outlives deaths: infinitely long, if nobody is left.

    Nobody takes the place of the dead.
    """
    clock, left, nodes = 0.0, job.work * job.nodes, job.nodes  # left: seconds of all nodes
    while left > 0:
        groups = min(groups, nodes)
        if groups == 0:
            return math.inf
        deaths = np.sort(
            generator.uniform(0, interval, generator.poisson(interval * nodes / job.mtbf))
        )
        interrupted = np.full(groups, interval)
        for death in deaths:
            group = generator.integers(groups)
            interrupted[group] = min(interrupted[group], death)
            if interrupted.max() < interval:
                break  # nobody is left who goes on
        lasted = interrupted.max()
        hit = interrupted < interval
        useful = interrupted - hit * np.minimum(job.iteration / 2, interrupted)
        done = useful.sum() * nodes / groups
        if done >= left:
            lasted *= left / done
        left, clock = left - done, clock + lasted + (job.pause if hit.any() else job.checkpoint)
        nodes -= int((deaths <= lasted).sum())
    return clock
