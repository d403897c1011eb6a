"""Statistics against values known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.thought.stats import (
    GRID_MS,
    TIMELINE_STEPS,
    Latencies,
    last_per_step,
    median_of_runs,
    peak_overlap,
    pulses,
    recovered_after_s,
    timeline,
    weighted_quantile,
)


def test_quantiles_count_the_unanswered_as_longer_than_any_answer() -> None:
    latencies = Latencies(np.arange(1.0, 76.0), unanswered=25)
    assert latencies.quantile(0.5) == 50.0
    assert latencies.quantile(0.75) == 75.0
    assert latencies.quantile(0.76) is None
    assert latencies.answered_only().quantile(0.99) == 75.0


def test_a_run_whose_quantile_lies_among_the_unanswered_counts_as_slower_than_any() -> None:
    assert median_of_runs([1.0, np.nan, 3.0]) == 3.0
    assert median_of_runs([1.0, np.nan, np.nan]) == median_of_runs([1.0, np.nan]) == np.inf
    assert median_of_runs([1.0, 2.0, 6.0, np.nan]) == 4.0
    assert np.isnan(median_of_runs([]))


@pytest.mark.parametrize("unanswered", [0, 5])
def test_quantiles_of_no_answer_are_none(unanswered: int) -> None:
    assert Latencies(np.array([]), unanswered).quantile(0.5) is None


def test_shares_end_at_the_success_rate() -> None:
    shares = Latencies(np.array([0.1, 1.0, 1.0, 50_000.0]), unanswered=4).shares()
    assert shares.shape == (len(GRID_MS),)
    assert shares[0] == 0
    assert shares[GRID_MS.index(1.0)] == 3 / 8
    assert shares[-1] == 0.5


@pytest.mark.parametrize(
    ("intervals", "peak"),
    [([], 0), ([(0, 5)], 1), ([(0, 5), (5, 9)], 1), ([(0, 5), (4, 9), (4, 5)], 3), ([(3, 3)], 0)],
)
def test_peak_overlap(intervals: list[tuple[int, int]], peak: int) -> None:
    begins = np.array([begin for begin, _ in intervals], dtype=np.int64)
    ends = np.array([end for _, end in intervals], dtype=np.int64)
    assert peak_overlap(begins, ends) == peak


def test_the_timeline_counts_every_answer() -> None:
    counts = timeline(np.array([0, 99_999, 100_000, 10**12]))
    assert counts.shape == (TIMELINE_STEPS,)
    assert list(counts[:2]) == [2, 1]
    assert counts.sum() == 4


def test_weighted_quantiles() -> None:
    assert weighted_quantile([(1.0, 98), (5.0, 1), (9.0, 1)], 0.5) == 1.0
    assert weighted_quantile([(1.0, 98), (5.0, 1), (9.0, 1)], 0.99) == 5.0
    assert weighted_quantile([], 0.5) is None


def test_the_last_value_of_each_step_counts_and_what_was_before_the_start_does_not() -> None:
    times_us = np.array([-5_000, 120_000, 150_000, 320_000])
    assert last_per_step(times_us, np.array([1, 2, 3, 4])) == [None, 3, 3, 4]
    assert last_per_step(times_us[:1], np.array([1])) == []


def test_pulses_are_stretches_with_silence_between_them() -> None:
    assert pulses(np.array([0, 50, 50, 0, 100, 0])) == [(1, 2, 100), (4, 4, 100)]
    assert pulses(np.array([200, 200, 0, 1])) == [(0, 1, 400)], "a straggler is no pulse"
    assert pulses(np.array([0, 0])) == []


@pytest.mark.parametrize(
    ("answers", "after_s"),
    [
        ([0] * 10 + [150] + [10] * 19, 0.0),
        ([0] * 10 + [40, 0, 0, 0, 0, 70, 10] + [10] * 13, 0.5),
        ([0] * 10 + [40, 0, 0, 0, 0] * 4, None),
        ([0] * 30, None),
        ([10] * 30, 0.0),
        ([10] * 29 + [0], None),
    ],
    ids=["at once", "after one rest", "never", "nothing", "never stopped", "stopped again"],
)
def test_recovered_is_who_keeps_up_until_the_end(answers: list[int], after_s: float | None) -> None:
    """A hundred requests a second for three seconds, stopped for the first."""
    steps = np.array(answers + [0] * (TIMELINE_STEPS - 30))
    found = recovered_after_s(steps, 100, 1.0, 3.0)
    assert np.isnan(found) if after_s is None else found == pytest.approx(after_s)
