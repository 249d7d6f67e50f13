"""The figures of the physics result, against their definitions spelt out in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl_models.hep.evaluation import area, compare, efficiency_at, roc, working_point
from minidl_models.hep.selection import features, select


@st.composite
def events(draw):
    count = draw(st.integers(4, 30))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    scores = generator.integers(0, draw(st.sampled_from([3, 1000])), count).astype(float)
    labels = generator.permutation(np.arange(count) % 2)
    return scores, labels, generator.exponential(1, count)


@given(events())
def test_the_curve_is_what_each_threshold_keeps(events):
    scores, labels, weights = events
    rates, efficiencies = roc(*events)
    assert (rates[0], efficiencies[0]) == (0, 0)
    for place, threshold in enumerate(sorted(set(scores), reverse=True), start=1):
        rate, efficiency = working_point(scores >= threshold, labels, weights)
        assert rates[place] == pytest.approx(rate)
        assert efficiencies[place] == pytest.approx(efficiency)
    assert len(rates) == len(set(scores)) + 1


@given(events(), st.randoms())
def test_the_order_of_events_does_not_matter(events, random):
    order = list(range(len(events[0])))
    random.shuffle(order)
    shuffled = [array[order] for array in events]
    np.testing.assert_allclose(roc(*shuffled), roc(*events), atol=1e-12)


@given(events())
def test_the_area_is_the_probability_that_signal_scores_higher(events):
    scores, labels, weights = events
    won = total = 0.0
    for s, w in zip(scores[labels == 1], weights[labels == 1], strict=True):
        for b, v in zip(scores[labels == 0], weights[labels == 0], strict=True):
            won += w * v * ((s > b) + (s == b) / 2)
            total += w * v
    assert area(*roc(*events)) == pytest.approx(won / total)


@given(events(), st.floats(0, 1))
def test_the_efficiency_at_a_rate_is_the_best_that_keeps_to_it(events, rate):
    best = 0.0
    rates, efficiencies = roc(*events)
    for r, e in zip(rates, efficiencies, strict=True):
        best = max(best, e) if r <= rate else best
    assert efficiency_at(rate, rates, efficiencies) == pytest.approx(best)


def test_a_network_that_copies_the_cuts_is_no_better_than_they():
    generator = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    selected = generator.random(4000) < np.where(labels == 1, 0.4, 0.05)
    figures = compare(selected.astype(float), labels, np.ones(4000), selected, generator)
    assert figures["ratio"] == pytest.approx([1, 0], abs=1e-12)
    assert figures["cuts"][0] == pytest.approx(0.4, abs=0.03)
    # 2000 signal events: the binomial error is sqrt(0.4 * 0.6 / 2000).
    assert figures["cuts"][1] == pytest.approx(np.sqrt(0.24 / 2000), rel=0.25)
    assert figures["background_events"] == (selected & (labels == 0)).sum()


def jets(*masses, eta=0.0):
    return np.array([[500.0 - 50 * n, eta * (n == 1), 0.0, mass] for n, mass in enumerate(masses)])


@pytest.mark.parametrize(
    ("event", "regions"),
    [
        (jets(300, 300, 150, 100), {"SR4J"}),
        (jets(300, 300, 150, 40), set()),
        (jets(300, 300, 150, 100, eta=1.5), set()),
        (jets(400, 400, 400), set()),
        (jets(200, 200, 150, 100, 1), {"SR5J"}),
        (jets(300, 300, 150, 100, 1), {"SR4J", "SR5J"}),
        (jets(100, 100, 100, 100, 500), set()),
    ],
)
def test_the_cuts_are_those_of_the_paper(event, regions):
    values = {name: np.array([value]) for name, value in features(event).items()}
    passed = select(values)
    assert {name for name in ("SR4J", "SR5J") if passed[name][0]} == regions
    assert passed["SR"][0] == bool(regions)
