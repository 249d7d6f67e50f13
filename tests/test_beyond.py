"""What backup workers and the bound on staleness promise, whoever is slow, and by how much."""

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import mpiexec
from mpi4py import MPI

from minidl.layers import Linear, ReLU, Sequential
from minidl.losses import softmax_cross_entropy
from minidl.objective import Objective
from minidl.optim import SGD
from minidl.parallel import sync
from minidl.parallel.virtual import Machine, Stragglers, VirtualCluster
from minidl.parallel.virtual.ghost import (
    GhostLayer,
    GhostNetwork,
    GhostObjective,
    GhostOptimizer,
    NoStopwatch,
)
from minidl.roles import Roles

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "beyond"))

import backup_workers
import stale_synchronous
import stragglers

MACHINE = Machine("slow", latency=1e-3, bandwidth=1e5)
SIZES = (40, 10, 20)  # messages that take a good part of an iteration
ITERATIONS = 6


class Diary:
    """When each iteration of each worker began to compute, and when it had computed."""

    def __init__(self, comm):
        self.comm, self.began, self.ended = comm, [], []

    def begin(self):
        self.began.append(None)
        self.ended.append(None)

    def compute(self, seconds):
        if self.began[-1] is None:
            self.began[-1] = self.comm.clock()
        self.comm.compute(seconds)
        self.ended[-1] = self.comm.clock()


def ghosts(make, roles, jitter, seed, comm):
    """Be a rank; return its diary and what its layers were updated with."""
    diary, slow = Diary(comm), Stragglers(jitter, 0.3, 4.0, seed).of(comm.rank)
    network = GhostNetwork([GhostLayer(f"layer {size}", size) for size in SIZES])
    seconds = [1e-3] * len(SIZES)
    strategy = make(
        comm,
        roles,
        GhostObjective(diary.compute, network, seconds, seconds, slow),
        lambda parameters: GhostOptimizer(parameters, comm.compute, 1e-4),
        NoStopwatch(),
    )
    train(strategy, roles, comm, diary)
    return diary, [list(layer.updates) for layer in strategy.served.values()]


def train(strategy, roles, comm, diary):
    strategy.start()
    if comm.rank >= roles.workers:
        strategy.serve()
    else:
        for _ in range(ITERATIONS):
            diary.begin()
            strategy.step(1)
        strategy.stop()
    strategy.finish()


def check_updates(updates, workers, backups):
    """Of a layer: returns how many there were."""
    counted, dropped = Counter(), Counter()
    left = Counter()
    for _, group, read, made in updates:
        left[group] += 1
        if made == backup_workers.DROPPED:
            dropped[read] += 1
            continue
        assert read == made - 1  # nothing is stale
        counted[made] += 1
        if max(left.values()) < ITERATIONS:
            assert counted[made] <= workers - backups
    assert sum(left.values()) == workers * ITERATIONS
    assert set(counted) == set(range(1, len(counted) + 1))
    del dropped[backup_workers.MIXED]
    assert max(dropped.values(), default=0) <= backups
    whole = [group for _, group, _, made in updates if made == 1]
    assert len(set(whole)) == len(whole) == workers - backups
    return len(counted)


CASES = {
    "workers": st.integers(1, 6),
    "servers": st.integers(1, 3),
    "spare": st.integers(0, 5),
    "jitter": st.floats(0, 1.5),
    "seed": st.integers(0, 99),
}


@given(**CASES)
@settings(max_examples=60)
def test_an_update_is_of_the_first_gradients_and_at_most_the_backups_are_dropped(
    workers, servers, spare, jitter, seed
):
    backups, roles = min(spare, workers - 1), Roles(workers + servers, workers, servers)
    make = partial(backup_workers.Strategy, backups=backups)
    found = VirtualCluster(roles.ranks, MACHINE).run(partial(ghosts, make, roles, jitter, seed))
    layers = [updates for _, held in found for updates in held]
    assert len({check_updates(updates, workers, backups) for updates in layers}) == 1


@given(**CASES)
@settings(max_examples=60)
def test_nobody_is_further_ahead_than_the_bound(workers, servers, spare, jitter, seed):
    bound, roles = spare, Roles(workers + servers, workers, servers)
    make = partial(stale_synchronous.Strategy, bound=bound)
    found = VirtualCluster(roles.ranks, MACHINE).run(partial(ghosts, make, roles, jitter, seed))
    diaries = [diary for diary, _ in found[:workers]]
    for mine in diaries:
        for number in range(bound + 1, ITERATIONS):
            for other in diaries:
                assert mine.began[number] >= other.ended[number - bound - 1]
    for updates in (updates for _, held in found for updates in held):
        assert sorted(made for *_, made in updates) == [*range(1, workers * ITERATIONS + 1)]


def test_the_bound_is_made_use_of():
    roles = Roles(5, 4, 1)
    make = partial(stale_synchronous.Strategy, bound=2)
    found = VirtualCluster(5, MACHINE).run(partial(ghosts, make, roles, 0.1, 9))
    diaries = [diary for diary, _ in found[:4]]
    ahead = [
        sum(began < end for end in slow.ended[:number])
        for fast in diaries
        for slow in diaries
        for number, began in enumerate(fast.began)
    ]
    assert max(ahead) == 2


def real(make, roles, slow, comm):
    """Train a small network; return its losses, and what it ends with."""
    generator = np.random.default_rng(1)
    network = Sequential(
        Linear(4, 3, generator=generator, dtype=np.float64),
        ReLU(),
        Linear(3, 2, generator=generator, dtype=np.float64),
    )
    strategy = make(
        comm,
        roles,
        Objective(network, softmax_cross_entropy),
        partial(SGD, learning_rate=0.1, momentum=0.9),
        NoStopwatch(),
    )
    data, parameters = np.random.default_rng([2, comm.rank]), []
    strategy.start()
    if comm.rank >= roles.workers:
        strategy.serve()
    else:
        for _ in range(ITERATIONS):
            if slow == comm.rank:
                comm.compute(1e3)
            strategy.step([(data.standard_normal((2, 4)), data.integers(0, 2, 2))])
            strategy.gather()
            parameters.append(np.concatenate([layer.parameters for layer in strategy.layers]))
        strategy.stop()
    if roles.servers:
        strategy.finish()
    return np.array(parameters)


def parameters_of(make, workers, servers, slow=None, **how):
    roles = Roles(workers + servers, workers if servers else 1, servers)
    return VirtualCluster(roles.ranks, MACHINE, **how).run(partial(real, make, roles, slow))


@pytest.mark.parametrize("servers", [1, 2])
def test_without_backups_it_is_sync(servers):
    expected = parameters_of(sync.Strategy, 3, 0)[0]
    for found in parameters_of(partial(backup_workers.Strategy, backups=0), 3, servers)[:3]:
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_without_a_bound_to_spare_everybody_waits_for_everybody():
    """Each makes an update of its own, and all go on from what they made together."""
    found = parameters_of(partial(stale_synchronous.Strategy, bound=0), 3, 1)
    assert len({row.tobytes() for row in found[:3]}) == 1


def test_a_slow_backup_is_as_if_it_were_not_there():
    expected = parameters_of(sync.Strategy, 2, 0)[0]
    found = parameters_of(partial(backup_workers.Strategy, backups=1), 3, 1, slow=2)
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_under_mpiexec_they_are_the_same():
    done = mpiexec(5, sys.executable, __file__)
    assert done.returncode == 0, done.stdout + done.stderr


def under_mpiexec(comm):
    """Be a rank of three workers and two servers."""
    roles = Roles(5, 3, 2)
    expected = parameters_of(sync.Strategy, 3, 0)[0]
    found = real(partial(backup_workers.Strategy, backups=0), roles, None, comm)
    assert comm.rank >= 3 or np.allclose(found, expected, rtol=1e-12)
    assert np.isfinite(real(partial(backup_workers.Strategy, backups=1), roles, None, comm)).all()
    found = real(partial(stale_synchronous.Strategy, bound=0), roles, None, comm)
    workers, everyones = comm.Split(int(comm.rank < 3)), np.empty((3, *found.shape))
    if comm.rank < 3:
        workers.Allgather(found, everyones)
        assert (everyones == found).all()


@given(seed=st.integers(0, 2**32), servers=st.integers(1, 2), spare=st.integers(0, 2))
@settings(max_examples=30)
@pytest.mark.parametrize("kind", ["backups", "bound"])
def test_whatever_comes_first_nobody_waits_for_ever(kind, seed, servers, spare):
    module = backup_workers if kind == "backups" else stale_synchronous
    make, generator = partial(module.Strategy, **{kind: spare}), Random(seed)
    found = parameters_of(
        make, 3, servers, choose=lambda options: generator.randrange(len(options))
    )
    assert all(np.isfinite(row).all() for row in found)


def test_what_counts_is_counted():
    """Looked at are seconds 2 to 4: in them are 2 iterations of worker 0, and 1 of worker 1."""
    ends = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 5.0, 6.0]])
    dropped = backup_workers.DROPPED
    rows = [(0, 0, n, n + 1) for n in range(4)] + [(0, 1, 0, 1), (0, 1, 0, dropped)]
    rows += [(0, 1, 1, 3), (0, 1, 3, dropped)]
    seen = stragglers.count(Roles(3, 2, 1), ends, rows, layers=1)
    assert seen.samples == 2.5 * stragglers.SAMPLES / 2
    assert seen.iteration == np.median([1, 2])
    assert seen.dropped == pytest.approx(0.5 / 3)
    assert (seen.staleness, seen.stalest) == (1 / 3, 1)


@pytest.mark.parametrize("way", stragglers.ways(16), ids=lambda way: way.name)
def test_where_all_nodes_are_alike_all_but_backups_count(way):
    seen = stragglers.see(way, 16, Stragglers(), 8)
    backups = int(way.name.split()[1]) if "backups" in way.name else 0
    assert seen.dropped == pytest.approx(backups / 16, abs=0.02)
    assert seen.samples * seen.iteration / stragglers.SAMPLES == pytest.approx(
        16 - backups, rel=0.03
    )


if __name__ == "__main__":
    under_mpiexec(MPI.COMM_WORLD)
