"""Simulated training: closed forms in small cases, and what must grow with what."""

from dataclasses import replace

import numpy as np
import pytest

from minidl.parallel import async_ps, hybrid, sync
from minidl.parallel.virtual import Machine
from minidl.roles import Roles
from minidl.simulate.explanation import explain
from minidl.simulate.outcome import iteration_times, run
from minidl.simulate.scaling import Way, scale
from minidl.simulate.simulation import Scenario, simulate
from minidl.simulate.work import Work, work_of

# 8 samples: forward 0.1 and 0.2 s, backward 0.3 and 0.4 s; gradients of 80 and 40 bytes.
WORK = Work("two layers", ["first", "second"], [20, 10], [125, 250], [375, 500])
MACHINE = Machine("slow", flops=1e4, latency=1e-3, bandwidth=1e5, memory=1e6)
JITTERY = replace(MACHINE, jitter=0.2)
COMPUTE = 1.0
UPDATE = 7 * 80 / 1e6, 7 * 40 / 1e6


def scenario(strategy, workers, groups=1, machine=MACHINE, iterations=4):
    servers = 0 if strategy == "sync" else 2
    return Scenario(
        WORK, machine, strategy, Roles(workers + servers, groups, servers), 8, iterations
    )


def steady(case):
    """Seconds of an iteration of every group, where all are alike."""
    times, _ = simulate(case)
    seconds = iteration_times(times.ends)
    assert np.ptp(seconds) < 1e-12
    return seconds[0, 0]


def test_one_node_computes_and_updates():
    case = scenario("sync", 1)
    assert steady(case) == pytest.approx(COMPUTE + sum(UPDATE), rel=1e-12)
    assert WORK.alone(MACHINE, 8) == pytest.approx(steady(case), rel=1e-12)


def test_sync_waits_for_the_sum_that_nothing_hides():
    """The second layer's travels while backward computes the first; that of the first does not."""
    exposed = MACHINE.collective_time("Allreduce", 4, 80)
    assert steady(scenario("sync", 4)) == pytest.approx(COMPUTE + sum(UPDATE) + exposed, rel=1e-12)


def test_a_worker_of_async_waits_for_the_first_layer_s_round_trip():
    """There and back, 8 bytes longer than the layer, and the update in between."""
    exposed = 2 * MACHINE.message_time(88) + UPDATE[0]
    assert steady(scenario("async", 1)) == pytest.approx(COMPUTE + exposed, rel=1e-12)


def test_a_group_of_hybrid_sums_and_broadcasts_around_that():
    around = sum(MACHINE.collective_time(kind, 4, 80) for kind in ("Reduce", "Bcast"))
    exposed = around + 2 * MACHINE.message_time(88) + UPDATE[0]
    times, _ = simulate(scenario("hybrid", 4))
    ends = times.ends.max(axis=0)
    assert np.diff(ends)[1:-1] == pytest.approx(2 * [COMPUTE + exposed], rel=1e-3)


@pytest.mark.parametrize(
    ("strategy", "module", "groups"),
    [("sync", sync, 1), ("async", async_ps, 4), ("hybrid", hybrid, 2)],
)
def test_the_strategies_own_code_runs(strategy, module, groups, monkeypatch):
    steps, step = [], module.Strategy.step

    def counted(self, batches):
        steps.extend(np.ravel(self.comm.ranks))
        return step(self, batches)

    monkeypatch.setattr(module.Strategy, "step", counted)
    simulate(scenario(strategy, 4, groups, iterations=3))
    assert sorted(steps) == sorted(3 * [0, 1, 2, 3])


@pytest.mark.parametrize(("strategy", "groups"), [("sync", 1), ("async", 4), ("hybrid", 2)])
def test_parts_add_up(strategy, groups):
    outcome = run(scenario(strategy, 4, groups, JITTERY, iterations=20))
    parts = (outcome.reduce, outcome.server, outcome.broadcast, outcome.wait, outcome.compute)
    assert sum(parts) == pytest.approx(outcome.iteration, rel=1e-12)
    assert min(parts) > -1e-9
    assert outcome.compute == pytest.approx(COMPUTE, rel=0.1)


def test_alike_nodes_lose_nothing_to_stragglers():
    outcome = run(scenario("hybrid", 4, 2))
    assert outcome.straggler_loss == pytest.approx(0, abs=1e-3)
    assert outcome.peak == pytest.approx(outcome.sustained, rel=1e-3)


def test_flops_are_those_of_all_samples_in_the_time():
    case = scenario("sync", 4, machine=JITTERY)
    outcome = run(case)
    assert outcome.sustained == pytest.approx(4 * 8 * WORK.operations / outcome.iteration)
    assert outcome.speedup == pytest.approx(4 * outcome.alone / outcome.iteration)
    assert outcome.efficiency == pytest.approx(outcome.speedup / 4)
    assert outcome.peak >= outcome.sustained


def test_more_jitter_is_slower():
    times = [
        run(scenario("sync", 16, machine=replace(MACHINE, jitter=jitter), iterations=10)).iteration
        for jitter in (0.0, 0.05, 0.1, 0.2)
    ]
    assert times == sorted(times)
    assert times[-1] > 1.1 * times[0]


def test_more_groups_wait_less_for_slower_nodes():
    losses = [
        run(scenario("hybrid", 16, groups, JITTERY, 20)).straggler_loss for groups in (1, 2, 4, 16)
    ]
    assert losses == sorted(losses, reverse=True)


def test_a_slower_network_is_slower():
    times = [
        run(scenario("sync", 4, machine=replace(MACHINE, bandwidth=bandwidth))).iteration
        for bandwidth in (1e6, 1e5, 1e4, 1e3)
    ]
    assert times == sorted(times)
    assert times[-1] > 1.1 * times[0]


def test_the_same_seed_is_the_same_run():
    case = scenario("hybrid", 8, 2, JITTERY)
    assert run(case) == run(case)
    assert run(case) != run(replace(case, seed=2))


def test_weak_scaling_of_equal_nodes_is_ideal_but_for_messages():
    points = list(scale("weak", WORK, MACHINE, [Way("sync", 1)], [1, 4, 16], 8, 3, 1))
    assert [point.samples for point in points] == [8, 8, 8]
    assert [point.speedup for point in points] == pytest.approx([1, 4, 16], rel=0.01)


def test_strong_scaling_shares_the_batch_of_a_group():
    ways = [Way("sync", 1), Way("hybrid", 2)]
    points = list(scale("strong", WORK, MACHINE, ways, [1, 4, 6, 32, 64], 32, 3, 1))
    seen = [(str(point.way), point.nodes, point.samples) for point in points]
    assert seen == [
        ("sync", 1, 32), ("sync", 4, 8), ("sync", 6, pytest.approx(32 / 6)), ("sync", 32, 1),
        ("hybrid-2", 4, 16), ("hybrid-2", 6, pytest.approx(64 / 6)), ("hybrid-2", 32, 2),
        ("hybrid-2", 64, 1),
    ]  # fmt: skip
    assert points[0].speedup == pytest.approx(1)


def test_small_batches_scale_worse():
    falling = replace(MACHINE, half_batch=4.0)
    even, uneven = (
        next(scale("strong", WORK, machine, [Way("sync", 1)], [8], 16, 3, 1)).speedup
        for machine in (MACHINE, falling)
    )
    # 2 samples a node of 16: each takes 6 times a sample's time, one node takes 20 times.
    assert uneven / even == pytest.approx((20 / 6) / 8, rel=0.02)


def test_an_explanation_tells_when_gradients_are_announced_and_what_is_hidden():
    first, second = explain(scenario("async", 1))
    assert (first.server, second.server) == (1, 2)
    assert second.announced == pytest.approx(first.announced - 0.3, abs=1e-9)
    assert first.exposed == pytest.approx(first.takes, rel=1e-9)
    assert (second.exposed, second.hidden) == (0, pytest.approx(second.takes))
    assert second.takes == pytest.approx(2 * MACHINE.message_time(48) + UPDATE[1])


def test_the_work_of_hep_is_the_paper_s():
    work = work_of("hep")
    assert sum(work.sizes) == 594_178
    assert work.operations == pytest.approx(15.43e9, rel=1e-3)
    assert [name for name in work.names if "conv" in name] == [f"conv{n}" for n in range(1, 6)]
