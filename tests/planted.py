"""Storms whose measures are known, for rules to judge: lines of ``runs.parquet``, made of one that was recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.evidence import Evidence
from harness.plan import Plan, Trial

EXACT = ("generator", "success_rate")
"""Planted without noise."""


def with_runs(evidence: Evidence, runs: pd.DataFrame) -> Evidence:
    return dataclasses.replace(evidence, runs=runs.reset_index(drop=True))


def changed(evidence: Evidence, chosen: pd.Series, **values: Any) -> Evidence:
    """The evidence with other values in the chosen runs; a number gets noise, so that no two storms are equal."""
    assert chosen.any()
    runs, random = evidence.runs.copy(), np.random.default_rng(7)
    for name, value in values.items():
        noise = random.uniform(1, 1.01, int(chosen.sum())) if isinstance(value, float) and value not in (0, 1) else 1
        if isinstance(value, dict):
            value = pd.Series([value] * int(chosen.sum()), chosen[chosen].index)
        runs.loc[chosen, name] = value * noise if isinstance(value, float) else value
    return with_runs(evidence, runs)


def of_plan(evidence: Evidence, name: str, **equal: Any) -> pd.Series:
    """Which of the runs are of a plan, and have these values in its columns and options."""
    options = [option for option in equal if option in ("backlog", "stall_ms", "timeout_s", "server")]
    runs = evidence.of_plan(name, *options)
    for column, value in equal.items():
        runs = runs[runs[column].isin(value if isinstance(value, list) else [value])]
    return evidence.runs["run_id"].isin(runs["run_id"])


def recorded(
    plan: Plan, blocks: int, like: pd.Series, measured: Callable[[Trial, str], dict[str, Any]]
) -> pd.DataFrame:
    """Runs of a plan in blocks, with ``like`` for what ``measured`` does not say of a trial and its scenario."""
    names = dict(zip((trial.plan_hash for trial in plan.trials), plan.variants, strict=True))
    random, rows = np.random.default_rng(5), []
    for block in range(blocks):
        for place, index in enumerate(random.permutation(len(plan.block))):
            trial = plan.block[index]
            about = {
                "run_id": f"{plan.name}-{block:03d}-{place:03d}",
                "plan_hash": trial.plan_hash,
                "plan": trial.to_json(),
                "server": trial.server.name,
                "clients": trial.load.clients,
                "cpu": trial.placement.cpu,
            }
            values = measured(trial, names[trial.plan_hash])
            numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
            noisy = {name: value * random.lognormal(0, 0.01) for name, value in numbers.items() if name not in EXACT}
            rows.append({**like.to_dict(), **about, **values, **noisy})
    return pd.DataFrame(rows)
