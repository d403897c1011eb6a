"""What is decided of retries follows the goodput that the data have."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.mitigations.policies import aftermaths
from harness.plan import PLANS, load_plan
from harness.thought.runs import with_options, with_variants

PLAN = load_plan(PLANS / "08-retries.toml")
LOAD = PLAN.trials[0].load
assert LOAD.rate is not None
SECONDS = int(LOAD.planned / LOAD.rate)
WELL = np.full(SECONDS, int(LOAD.rate), np.int32)
DOWN = np.where(np.arange(SECONDS) < PLAN.trials[0].faults.stall_at_s, WELL, 0).astype(np.int32)


def aftermath(table: pd.DataFrame, goodput: dict[str, np.ndarray]) -> pd.DataFrame:
    """Of the storms of the plan, had every storm of a policy had this goodput."""
    runs = with_variants(table[table["plan_hash"].isin([trial.plan_hash for trial in PLAN.trials])], PLAN)
    planted = pd.Series([goodput[name] for name in runs["variant"]], runs.index)
    return aftermaths(with_options(runs.assign(goodput_per_s=planted), "stall_at_s", "rate"))


def test_where_every_storm_recovers_no_policy_keeps_its_server_down(table: pd.DataFrame) -> None:
    found = aftermath(table, dict.fromkeys(PLAN.variants, WELL))
    assert len(found)
    assert found["recovered"].all()
    assert not found["kept_down"].any()


def test_the_policy_that_keeps_it_down_is_found(table: pd.DataFrame) -> None:
    found = aftermath(table, {**dict.fromkeys(PLAN.variants, WELL), "backoff": DOWN})
    assert set(found.loc[found["kept_down"], "variant"]) == {"backoff"}
    assert not found.loc[found["variant"] == "backoff", "recovered"].any()
