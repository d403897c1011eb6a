"""Storms whose measures are known, for rules to judge: lines of ``runs.parquet``, made of one that was recorded."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from analysis.claims.evidence import Evidence

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
    return evidence.runs["run_id"].isin(evidence.of_plan(name, **equal)["run_id"])
