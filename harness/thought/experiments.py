"""The experiments of the collection, those of searches among them, and the one machine that tells of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.events import store
from harness.events.store import Run, counts
from harness.plan import PLANS, Plan, load_plan
from harness.plan.search import SEARCHES, load_search


def plans() -> list[Plan]:
    """In reading order, searches last."""
    return [*_measured(), *_searches()]


def recorded(folder: Path, say: Callable[[str], None]) -> list[Run]:
    """The runs in a folder that tell of one of them; of a search also those that were a miss without a storm.

    Of one that cannot be read ``say`` is told why.
    """
    searched = {trial for plan in _searches() for trial in hashes(plan)}
    known = searched.union(*map(hashes, _measured()))
    return [run for run in store.runs(folder, say) if counts(run, searched) and run.identity[0] in known]


def searched(path: Path) -> Plan:
    """All candidates of a search."""
    return load_search(path).plan


def hashes(plan: Plan) -> list[str]:
    """Of its trials."""
    return [trial.plan_hash for trial in plan.trials]


def of_one_host(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the host that has most of them, and of the engine; of equally many those of the one used last.

    Runs of different hosts are never pooled, nor are those of different engines where no engine was asked for.
    ``runs`` has ``host_id`` and ``run_id``, which begins with a date; where it has ``engine``, also ``plan``.
    """
    runs = _most(runs, "host_id")
    if "engine" not in runs or runs.empty:
        return runs
    is_asked = np.array([plan["load"].get("engine", "auto") != "auto" for plan in runs["plan"]], bool)
    return runs[is_asked | runs.index.isin(_most(runs[~is_asked], "engine").index)]


def _most(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """The runs whose value in a column most of them have, of equally many the one that came last."""
    if runs.empty:
        return runs
    values = runs.groupby(column)["run_id"].agg(["size", "max"]).sort_values(["size", "max"])
    return runs[runs[column].eq(values.index[-1])]


def a_host_for_each(runs: pd.DataFrame, experiments: Iterable[Iterable[str]]) -> pd.DataFrame:
    """What is left of runs if each experiment, the hashes of its trials, is told of by one host; in their order."""
    told: set[Any] = set()
    for trials in experiments:
        told.update(of_one_host(runs[runs["plan_hash"].isin(list(trials))]).index)
    return runs[runs.index.isin(told)]


def _measured() -> list[Plan]:
    return [load_plan(path) for path in sorted(PLANS.glob("*.toml"))]


def _searches() -> list[Plan]:
    return [searched(path) for path in sorted(SEARCHES.glob("*.toml"))]
