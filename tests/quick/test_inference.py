"""Statistics over runs, on synthetic data whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import coverage
from harness.thought import inference

EXPERIMENTS = 1_000
BLOCKS = 10
SPREAD = 0.1
# Three standard deviations of a share of 5 % over 1,000 experiments.
NOMINAL = (0.05 - 0.021, 0.05 + 0.021)


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "RESAMPLES", 499)


def experiments(effect: float, number: int = EXPERIMENTS) -> list[inference.Effect]:
    """Blocks that differ much from each other, variants within them by ``effect``, and noise."""
    random = np.random.default_rng(7)
    found = []
    for _ in range(number):
        block = random.lognormal(0, 0.5, BLOCKS)
        noise = random.normal(0, SPREAD / np.sqrt(2), (2, BLOCKS))
        found.append(inference.paired_ratio(effect * block * np.exp(noise[0]), block * np.exp(noise[1])))
    return found


def test_without_a_difference_it_finds_one_as_rarely_as_it_says() -> None:
    without = experiments(effect=1.0)
    assert NOMINAL[0] <= np.mean([one.p < 0.05 for one in without]) <= NOMINAL[1]
    assert NOMINAL[0] <= np.mean([one.ratio.excludes_one for one in without]) <= NOMINAL[1]


def test_a_known_ratio_lies_in_the_interval_as_often_as_it_says() -> None:
    outside = [not one.ratio.low <= 1.3 <= one.ratio.high for one in experiments(effect=1.3)]
    assert NOMINAL[0] <= np.mean(outside) <= NOMINAL[1]


def test_blocks_take_out_what_they_share() -> None:
    (found,) = experiments(effect=1.3, number=1)
    assert found.ratio.value == pytest.approx(1.3, rel=4 * SPREAD / np.sqrt(BLOCKS))
    assert found.p < 0.05


def test_the_smallest_detectable_effect_is_detected_as_often_as_it_says() -> None:
    effect = inference.smallest_detectable_ratio(SPREAD, BLOCKS)
    detected = np.mean([one.p < 0.05 for one in experiments(effect)])
    # The test that is used has nearly the power of the t-test that is calculated with.
    assert inference.POWER - 0.06 <= detected <= inference.POWER + 0.04


def test_more_blocks_and_less_spread_detect_smaller_effects() -> None:
    smallest = inference.smallest_detectable_ratio
    assert smallest(0.1, 20) < smallest(0.1, 10) < smallest(0.1, 3)
    assert smallest(0.05, 10) < smallest(0.1, 10)
    assert smallest(0.0, 10) == 1.0


def test_a_difference_of_shares_is_taken_within_blocks() -> None:
    baseline = [0.0, 0.2, 0.4, 0.6, 0.8, 0.85]
    found = inference.paired_difference([share + 0.1 + share / 100 for share in baseline], baseline)
    assert found.mean.value == pytest.approx(0.1 + np.mean(baseline) / 100)
    assert found.mean.low < found.mean.value < found.mean.high
    assert found.p < 0.05
    nothing = inference.paired_difference(baseline, baseline)
    assert (nothing.mean.ends, nothing.p) == ((0, 0), 1)
    with pytest.raises(ValueError, match="blocks are the fewest"):
        inference.paired_difference(baseline[:2], baseline[:2])


def test_holm_on_a_worked_example() -> None:
    assert inference.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert inference.holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_mean_of_runs_that_are_all_alike_has_no_spread() -> None:
    assert inference.mean_of_runs([1.0, 1.0, 1.0]) == inference.Interval(1.0, 1.0, 1.0, 3, "none")


@pytest.mark.parametrize("kind", coverage.KINDS)
@pytest.mark.parametrize("runs", [6, 10])
def test_what_is_called_95_percent_contains_the_truth_as_often(kind: str, runs: int) -> None:
    """1,000 draws of known seed: normal, skewed and bounded data."""
    assert 0.93 <= coverage.coverage(kind, runs, repeats=1_000) <= 0.97


@pytest.mark.parametrize("runs", [3, 5])
def test_of_fewer_runs_the_range_is_told_and_called_so(runs: int) -> None:
    values = np.random.default_rng(runs).random(runs).tolist()
    for found in (inference.mean_of_runs(values), inference.mean_share(values)):
        assert (found.kind, found.ends) == ("range", (min(values), max(values)))


def test_a_share_stays_between_none_and_all() -> None:
    found = inference.mean_share([0.999, 1.0, 0.97, 1.0, 0.995, 1.0])
    assert found.kind == "t"
    assert 0 < found.low < found.value < found.high < 1


def test_a_mean_of_two_runs_has_no_interval() -> None:
    found = inference.mean_of_runs([1.0, 3.0])
    assert found.value == 2.0
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_a_mean_of_runs_lies_in_its_interval() -> None:
    found = inference.mean_of_runs(np.random.default_rng(1).normal(5, 1, 12))
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("measured", "why"), [([1.0, 2.0], "3 blocks"), ([1.0, 0.0, 2.0], "positive")])
def test_what_has_no_ratio_is_refused(measured: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        inference.paired_ratio(measured, [1.0] * len(measured))


def test_a_difference_that_never_varies_is_no_coincidence_and_none_is_none() -> None:
    queue = [129.0] * 6
    always, never = inference.paired_ratio([4000.0] * 6, queue), inference.paired_ratio(queue, queue)
    assert (always.apart, always.ratio.kind, always.p) == (True, "none", 2 / 2**6)
    assert (never.apart, never.ratio.kind, never.p) == (False, "none", 1)


def test_kinds_are_as_heavy_whatever_their_runs_and_their_distance_is_no_spread() -> None:
    few, many = [0.1, 0.1, 0.1], [0.89, 0.9, 0.91] * 4
    found = inference.stratified_mean([few, many], shares=True)
    assert found.value == pytest.approx(0.5)
    assert found.high - found.low < 0.02
    assert inference.stratified_mean([many], shares=True) == inference.mean_share(many)


def test_the_geometric_means_of_two_groups_have_the_ratio_that_is_told() -> None:
    one, other = [2.0, 8.0, 3.0], [1.0, 5.0, 9.0]
    found = inference.paired_ratio(one, other).ratio.value
    assert found == pytest.approx(inference.geometric_mean(one) / inference.geometric_mean(other))
