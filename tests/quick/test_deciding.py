"""Propositions: true, false, or null with a reason; from literal runs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import coverage
from harness.thought.deciding import apart, decide_over_strata, decide_ratio, decide_share, exact_p, fewest

LOW, HIGH = [0.42, 0.5, 0.55, 0.6, 0.66, 0.71], [1.0] * 6
HALF = [0.50, 0.49, 0.51, 0.50, 0.52, 0.48]


def test_whole_interval_on_one_side_of_the_margin_decides() -> None:
    assert decide_share(HIGH, LOW, 0.05).holds is True
    assert decide_share(LOW, HALF, 0.5).holds is False
    within = decide_share([0.55, 0.5, 0.6, 0.53, 0.58, 0.52], HALF, 0.05)
    assert within.holds is None
    assert "margin" in within.why_null


def test_groups_that_are_apart_altogether_have_no_p() -> None:
    """42 to 71 % against 100 %, six of six, was once told with p = 0.23."""
    found = decide_share(HIGH, LOW, 0.05)
    assert (found.apart, found.p) == (True, None)
    assert exact_p(HIGH, LOW) == pytest.approx(2 / 924), "the least there is for six of each"


@pytest.mark.parametrize("runs", [3, 5])
def test_too_few_runs_decide_nothing_however_far_apart(runs: int) -> None:
    found = decide_share(HIGH[:runs], LOW[:runs], 0.05)
    assert found.holds is None
    assert "6" in found.why_null
    assert fewest(90.0) == 5
    assert (decide_share(HIGH[:runs], LOW[:runs], 0.05, run_s=90).holds is None) == (runs < 5)


def test_a_gain_for_which_there_is_no_room_is_not_seen_and_not_refuted() -> None:
    near = [0.99, 0.98, 0.99, 1.0, 0.99, 0.99]
    found = decide_share(HIGH, near, 0.05)
    assert found.holds is None
    assert "room" in found.why_null
    assert decide_share(near, HIGH, -0.05).holds is True, "that it is not lower by as much, can be"


def test_ratios_are_decided_on_their_own_scale() -> None:
    slow, fast = [900.0, 1_100, 1_000, 950, 1_050, 1_000], [100.0, 110, 90, 105, 95, 100]
    found = decide_ratio(slow, fast, 2.0)
    assert found.holds is True
    assert found.found.value == pytest.approx(10, rel=0.05)
    with pytest.raises(ValueError, match="positive"):
        decide_ratio([0.0] * 6, fast, 1.0)


def test_stacks_are_decided_by_themselves_and_never_pooled() -> None:
    """One that gains and one that loses are no stack that does nothing."""
    gains, loses = (HIGH, LOW), (LOW, HIGH)
    assert decide_over_strata({"go": gains, "hyper": gains}, 0.05).holds is True
    split = decide_over_strata({"go": gains, "hyper": loses}, -0.05)
    assert split.holds is None
    assert "differ" in split.why_null


def test_no_spread_is_no_interval() -> None:
    assert decide_share([1.0] * 8, [0.5] * 8, 0.05).found.kind == "none"


def test_the_same_source_twice_is_called_different_as_rarely_as_it_says() -> None:
    assert 0.02 <= coverage.false_alarms(6, repeats=300) <= 0.08


def test_apart() -> None:
    assert apart([1, 2], [3, 4])
    assert apart([3, 4], [1, 2])
    assert not apart([1, 3], [2, 4])
    assert np.isclose(exact_p([1, 3], [1, 3]), 1)
