"""The experiments of the collection, those of searches among them, and the one machine that tells of each."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from harness.plan import PLANS, Plan, load_plan
from harness.search import SEARCHES, load_search


def plans() -> list[Plan]:
    """In reading order, searches last."""
    searches = [load_search(path).plan for path in sorted(SEARCHES.glob("*.toml"))]
    return [*(load_plan(path) for path in sorted(PLANS.glob("*.toml"))), *searches]


def hashes(plan: Plan) -> list[str]:
    """Of its trials."""
    return [trial.plan_hash for trial in plan.trials]


def of_one_host(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the host that has most of them, of equally many the one that was at it last.

    Runs of different hosts are never pooled. ``runs`` has ``host_id`` and ``run_id``, which begins with a date.
    """
    if runs.empty:
        return runs
    hosts = runs.groupby("host_id")["run_id"].agg(["size", "max"]).sort_values(["size", "max"])
    return runs[runs["host_id"].eq(hosts.index[-1])]


def a_host_for_each(runs: pd.DataFrame, experiments: Iterable[Iterable[str]]) -> pd.DataFrame:
    """What is left of runs if each experiment, the hashes of its trials, is told of by one host; in their order."""
    told: set[tuple[str, str]] = set()
    for trials in experiments:
        one = of_one_host(runs[runs["plan_hash"].isin(list(trials))])
        told.update(zip(one["plan_hash"], one["host_id"], strict=True))
    pairs = zip(runs["plan_hash"], runs["host_id"], strict=True)
    return runs[[pair in told for pair in pairs]]
