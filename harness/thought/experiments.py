"""The experiments of the collection, those of searches among them, and the one machine that tells of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

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
    pairs = pd.MultiIndex.from_frame(runs[["plan_hash", "host_id"]])
    return runs[pairs.isin(list(told))]


def _measured() -> list[Plan]:
    return [load_plan(path) for path in sorted(PLANS.glob("*.toml"))]


def _searches() -> list[Plan]:
    return [load_search(path).plan for path in sorted(SEARCHES.glob("*.toml"))]
