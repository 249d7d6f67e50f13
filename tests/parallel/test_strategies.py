"""What the three strategies promise alike, and where they are the same."""

import numpy as np
import pytest
from launch import python
from running import steps

# ranks, strategy, groups, servers
LAYOUTS = [
    (1, "sync", 1, 0),
    (2, "sync", 1, 0),
    (3, "sync", 1, 0),
    (4, "sync", 1, 0),
    (6, "sync", 1, 0),
    (2, "async", 1, 1),
    (3, "async", 2, 1),
    (4, "async", 3, 1),
    (4, "async", 2, 2),
    (6, "async", 5, 1),
    (6, "async", 3, 3),
    (2, "hybrid", 1, 1),
    (3, "hybrid", 1, 1),
    (3, "hybrid", 2, 1),
    (4, "hybrid", 1, 2),
    (6, "hybrid", 2, 2),
    (6, "hybrid", 4, 2),
    (6, "hybrid", 1, 3),
]


@pytest.mark.parametrize(("ranks", "strategy", "groups", "servers"), LAYOUTS)
def test_every_gradient_makes_one_update_of_its_own_layer(ranks, strategy, groups, servers):
    python(ranks, "closed_form.py", strategy, groups, servers)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("ranks", "servers"), [(2, 1), (3, 2)])
def test_async_with_one_worker_is_serial_to_the_bit(tmp_path, ranks, servers, optimizer):
    shares, how = [[5], [3], [7]], {"optimizer": optimizer, "dtype": "float32"}
    serial = steps(tmp_path, 1, shares, **how)
    alone = steps(tmp_path, ranks, shares, strategy="async", servers=servers, **how)
    assert {row.tobytes() for row in alone.parameters} == {serial.parameters[0].tobytes()}
    assert alone.losses[0].tobytes() == serial.losses[0].tobytes()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("workers", "servers"), [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_hybrid_with_one_group_is_sync(tmp_path, workers, servers, optimizer):
    shares = {1: [[6], [5], [4]], 2: [[4, 2], [5, 0], [2, 2]], 4: [[2, 2, 1, 1], [5, 0, 0, 0]]}
    sync = steps(tmp_path, workers, shares[workers], optimizer=optimizer)
    hybrid = steps(
        tmp_path,
        workers + servers,
        shares[workers],
        strategy="hybrid",
        groups=1,
        servers=servers,
        optimizer=optimizer,
    )
    for row in hybrid.parameters:
        np.testing.assert_allclose(row, sync.parameters[0], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(hybrid.losses[:workers], sync.losses, rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("groups", "servers"), [(1, 1), (2, 1), (3, 1), (4, 2)])
def test_hybrid_with_groups_of_one_is_async_to_the_bit(tmp_path, groups, servers, optimizer):
    shares = [[4] * groups, [3] * groups, [5] * groups]
    how = {"servers": servers, "optimizer": optimizer, "dtype": "float32", "turns": True}
    asynchronous = steps(tmp_path, groups + servers, shares, strategy="async", **how)
    hybrid = steps(tmp_path, groups + servers, shares, strategy="hybrid", groups=groups, **how)
    assert hybrid.parameters.tobytes() == asynchronous.parameters.tobytes()
    assert hybrid.losses.tobytes() == asynchronous.losses.tobytes()
    # One after the other, each computes on what it took at its last turn.
    first_round, later = list(range(groups)), [groups - 1] * (2 * groups)
    for layer in (0, 1):
        assert hybrid.staleness(layer) == asynchronous.staleness(layer) == first_round + later


@pytest.mark.parametrize(
    ("ranks", "strategy", "groups", "servers"),
    [(2, "sync", 1, 0), (3, "async", 2, 1), (5, "hybrid", 2, 1), (6, "hybrid", 2, 2)],
)
def test_all_ranks_end_with_the_same_network(tmp_path, ranks, strategy, groups, servers):
    shares = [[2] * (ranks - servers)] * 4
    done = steps(
        tmp_path,
        ranks,
        shares,
        strategy=strategy,
        groups=groups,
        servers=servers,
        normalise=True,
        optimizer="adam",
    )
    assert {row.tobytes() for row in done.parameters} == {done.parameters[0].tobytes()}


@pytest.mark.parametrize(
    ("ranks", "strategy", "groups", "servers"),
    [(1, "sync", 1, 0), (2, "sync", 1, 0), (3, "async", 2, 1), (5, "hybrid", 2, 1)],
)
def test_gradients_of_several_passes_make_the_update_of_one(
    tmp_path, ranks, strategy, groups, servers
):
    shares = [[5] * (ranks - servers), [4] * (ranks - servers)]
    how = {"strategy": strategy, "groups": groups, "servers": servers, "turns": True}
    whole = steps(tmp_path, ranks, shares, **how)
    for parts in (2, 3):
        passes = steps(tmp_path, ranks, shares, **how, parts=parts)
        np.testing.assert_allclose(passes.parameters, whole.parameters, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(passes.losses, whole.losses, rtol=1e-12)


@pytest.mark.parametrize(
    ("ranks", "strategy", "groups", "servers"),
    [(2, "sync", 1, 0), (3, "async", 2, 1), (5, "hybrid", 2, 1)],
)
def test_a_clip_that_is_wide_enough_changes_no_bit(tmp_path, ranks, strategy, groups, servers):
    shares = [[3] * (ranks - servers)] * 2
    how = {"strategy": strategy, "groups": groups, "servers": servers, "turns": True}
    free = steps(tmp_path, ranks, shares, **how)
    wide = steps(tmp_path, ranks, shares, **how, clip=1e6)
    narrow = steps(tmp_path, ranks, shares, **how, clip=1e-3)
    assert wide.parameters.tobytes() == free.parameters.tobytes()
    assert narrow.parameters.tobytes() != free.parameters.tobytes()
