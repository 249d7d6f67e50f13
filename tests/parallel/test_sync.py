"""Synchronous training: what many ranks make of a batch is what one rank makes of it."""

import numpy as np
import pytest
from running import steps

SHARES = {
    1: [[6], [6], [5]],
    2: [[3, 3], [3, 3], [3, 2]],
    3: [[2, 2, 2], [2, 2, 2], [2, 2, 1]],
    4: [[2, 2, 1, 1], [2, 2, 1, 1], [2, 1, 1, 1]],
    6: [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]],
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6])
def test_ranks_make_the_update_of_one_rank_with_all_samples(tmp_path, ranks, optimizer):
    alone = steps(tmp_path, 1, SHARES[1], optimizer=optimizer)
    shared = steps(tmp_path, ranks, SHARES[ranks], optimizer=optimizer)
    for rank in range(ranks):
        np.testing.assert_allclose(
            shared.parameters[rank], alone.parameters[0], rtol=1e-10, atol=1e-13
        )
        np.testing.assert_allclose(shared.losses[rank], alone.losses[0], rtol=1e-12)


@pytest.mark.parametrize("shares", [[[5, 1, 0], [1, 0, 5]], [[0, 0, 6], [6, 0, 0]]])
def test_however_unevenly_the_samples_are_dealt(tmp_path, shares):
    alone = steps(tmp_path, 1, [[6], [6]])
    shared = steps(tmp_path, 3, shares)
    expected = np.repeat(alone.parameters, 3, axis=0)
    np.testing.assert_allclose(shared.parameters, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_all_ranks_hold_the_same_bits(tmp_path, ranks, normalise):
    done = steps(tmp_path, ranks, SHARES[ranks], optimizer="adam", normalise=normalise)
    assert {row.tobytes() for row in done.parameters} == {done.parameters[0].tobytes()}
    assert {row.tobytes() for row in done.losses} == {done.losses[0].tobytes()}


def test_the_same_run_twice_gives_the_same_bits(tmp_path):
    first = steps(tmp_path, 3, SHARES[3], optimizer="adam")
    again = steps(tmp_path, 3, SHARES[3], optimizer="adam")
    assert first.parameters.tobytes() == again.parameters.tobytes()
