"""Propositions: true, false, or null with a reason; from literal runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage
from harness.thought.comparing import difference, gain, gains, increases, reduces
from harness.thought.deciding import FEWEST_TO_DECIDE, decide_ratio, decide_share, exact_p, fewest
from harness.thought.inference import Difference, apart, combined, mean_of_runs, paired_difference, paired_ratio

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


def stacks(**gains: float) -> pd.DataFrame:
    """Six storms of each stack at each backlog: half answered with the small one, and what it gains with the large."""
    random = np.random.default_rng(1)
    return pd.DataFrame(
        [
            {"server": server, "backlog": backlog, "share": 0.5 + gained * (backlog == 4096) + random.normal(0, 0.005)}
            for server, gained in gains.items()
            for backlog in (128, 4096)
            for _ in range(6)
        ]
    )


def across(**gains: float) -> Difference:
    found = difference(stacks(**gains), "share", "backlog", 4096, 128, ["server"])
    assert found is not None
    return found


def test_stacks_that_agree_are_decided_together_and_their_runs_are_not_pooled() -> None:
    found = across(go=0.4, hyper=0.2)
    assert found.mean.value == pytest.approx(0.3, abs=0.01)
    assert found.mean.high - found.mean.low < 0.02, "what differs between stacks is no spread of runs"
    assert (found.mean.runs, len(found.strata)) == (6, 2), "12 pairs are no 12 repeats"
    assert gains(found) is True


def test_stacks_that_differ_are_not_averaged_away() -> None:
    """One that gains nothing is no third of a gain: 18 pairs pooled were once decided as one."""
    found = gain(across(go=0.4, hyper=0.2, node=0.0))
    assert found.holds is None
    assert "differ" in found.why_null
    assert gains(across(go=0.3, hyper=-0.3)) is None


def test_the_rule_of_claims_leaves_open_what_the_ceiling_hides_and_refutes_a_loss() -> None:
    near = [0.99, 0.98, 0.99, 1.0, 0.99, 0.99]
    assert gain(paired_difference(HIGH, near)).why_null.startswith("there is no room")
    assert gains(paired_difference(HALF, near)) is False, "a loss that matters needs no room"
    assert gains(paired_difference(HALF, [share + 0.001 for share in HALF])) is False
    assert gains(paired_difference(HIGH, LOW)) is True


@pytest.mark.parametrize("runs", [3, 5])
def test_by_the_rule_of_the_contract_no_claim_is_decided_by_a_few_runs(
    runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.thought.comparing.TOLD_BY", FEWEST_TO_DECIDE)
    assert gain(paired_difference(HIGH[:runs], LOW[:runs])).why_null == f"{runs} runs a side; it takes 6"
    doubled = paired_ratio([2.0, 2.1, 1.9, 2.0, 2.05, 1.95][:runs], [1.0] * runs)
    assert increases(doubled) is None
    assert reduces(doubled) is None


def test_the_range_of_five_long_runs_decides() -> None:
    found = decide_share(HIGH[:5], LOW[:5], 0.05, run_s=90)
    assert (found.found.kind, found.found.ends) == ("range", (pytest.approx(0.34), pytest.approx(0.58)))
    assert found.holds is True


def test_no_spread_is_no_interval() -> None:
    assert decide_share([1.0] * 8, [0.5] * 8, 0.05).found.kind == "none"


def test_the_same_source_twice_is_called_different_as_rarely_as_it_says() -> None:
    assert 0.02 <= coverage.false_alarms(6, repeats=300) <= 0.08


def test_apart() -> None:
    assert apart([1, 2], [3, 4])
    assert apart([3, 4], [1, 2])
    assert not apart([1, 3], [2, 4])
    assert np.isclose(exact_p([1, 3], [1, 3]), 1)


def test_what_is_combined_of_stacks_contains_the_mean_of_their_truths_as_often_as_it_says() -> None:
    """Three stacks of six runs, as unlike in mean and spread as stacks are; 1,000 draws of known seed."""
    random = np.random.default_rng(11)
    means, spreads = np.array([0.1, 0.4, 0.0]), np.array([0.02, 0.1, 0.05])
    held = 0
    for _ in range(1_000):
        found = combined([mean_of_runs(one) for one in random.normal(means, spreads, (6, 3)).T.tolist()])
        held += found.low <= means.mean() <= found.high
    assert 0.93 <= held / 1_000 <= 0.98
