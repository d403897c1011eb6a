"""What notebook 07 says of retries is computed: it follows the goodput that the data have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.mitigations.aftermath import retry_verdict
from analysis.mitigations.policies import aftermaths
from harness.plan import PLANS, load_plan
from harness.thought.runs import with_options, with_variants

PLAN = load_plan(PLANS / "07-retries.toml")
LOAD = PLAN.trials[0].load
assert LOAD.rate is not None
SECONDS = int(LOAD.planned / LOAD.rate)
WELL = np.full(SECONDS, int(LOAD.rate), np.int32)
DOWN = np.where(np.arange(SECONDS) < PLAN.trials[0].faults.stall_at_s, WELL, 0).astype(np.int32)


def said(table: pd.DataFrame, goodput: dict[str, np.ndarray]) -> str:
    """The line on retries, as the notebook makes it, where every storm of a policy had this goodput."""
    runs = with_variants(table[table["plan_hash"].isin([trial.plan_hash for trial in PLAN.trials])], PLAN)
    if runs.empty:
        pytest.skip("the reference data has no storms of plans/07-retries.toml; record them with `stormlab run --plan`")
    planted = pd.Series([goodput[name] for name in runs["variant"]], runs.index)
    retries = aftermaths(with_options(runs.assign(goodput_per_s=planted), "stall_at_s", "rate"))
    return retry_verdict(retries, "variant")


def test_where_every_storm_recovers_no_policy_is_blamed(table: pd.DataFrame) -> None:
    line = said(table, dict.fromkeys(PLAN.variants, WELL))
    assert "in all storms of –;" in line
    assert all(f"*{name}*" in line for name in PLAN.variants)


def test_the_policy_that_kept_the_server_down_is_named(table: pd.DataFrame) -> None:
    line = said(table, {**dict.fromkeys(PLAN.variants, WELL), "backoff": DOWN})
    assert "in all storms of *backoff*;" in line
    assert "*at once*" in line.partition(";")[2]
