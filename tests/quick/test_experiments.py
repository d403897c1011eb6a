"""Each experiment is told of by one machine."""

from __future__ import annotations

import pandas as pd

from harness.plan import PLANS
from harness.thought import experiments


def runs_of(*lines: tuple[str, str]) -> pd.DataFrame:
    """Runs named by their order, of (plan hash, host id)."""
    hashes, hosts = zip(*lines, strict=True)
    return pd.DataFrame({"run_id": [f"2026-{n}" for n in range(len(lines))], "plan_hash": hashes, "host_id": hosts})


def test_the_host_with_most_runs_tells_of_them() -> None:
    found = experiments.of_one_host(runs_of(("a", "one"), ("a", "one"), ("a", "other")))
    assert found["host_id"].to_list() == ["one", "one"]


def test_of_equally_many_the_later_ones_are_taken() -> None:
    found = experiments.of_one_host(runs_of(("a", "one"), ("a", "other"), ("b", "other"), ("b", "one")))
    assert found["run_id"].to_list() == ["2026-0", "2026-3"]
    found = experiments.of_one_host(runs_of(("a", "other"), ("a", "one"), ("b", "one"), ("b", "other")))
    assert found["run_id"].to_list() == ["2026-0", "2026-3"], "not by the name of the host"


def test_runs_of_two_engines_are_not_pooled_unless_they_were_asked_for() -> None:
    runs = runs_of(("a", "one"), ("a", "one"), ("a", "one"), ("b", "one"))
    auto, asked = {"load": {}}, {"load": {"engine": "python"}}
    runs = runs.assign(engine=["python", "native", "native", "python"], plan=[auto, auto, auto, asked])
    assert experiments.of_one_host(runs)["run_id"].to_list() == ["2026-1", "2026-2", "2026-3"]
    assert experiments.a_host_for_each(runs, [["a"]])["engine"].to_list() == ["native", "native"]


def test_no_runs_are_of_no_host() -> None:
    assert experiments.of_one_host(runs_of(("a", "one")).iloc[:0]).empty


def test_hosts_share_the_work_by_experiments_and_never_one_of_them() -> None:
    runs = runs_of(("a", "one"), ("b", "one"), ("c", "other"), ("b", "other"), ("d", "one"))
    found = experiments.a_host_for_each(runs, [["a", "b"], ["c"]])
    assert found["run_id"].to_list() == ["2026-0", "2026-1", "2026-2"], "of no experiment: left out"


def test_a_trial_of_two_experiments_may_be_told_of_by_two_hosts() -> None:
    runs = runs_of(("a", "one"), ("b", "one"), ("b", "other"), ("c", "other"))
    assert len(experiments.a_host_for_each(runs, [["a", "b"], ["b", "c"]])) == 4


def test_all_plans_are_there_and_the_searches_last() -> None:
    names = [plan.name for plan in experiments.plans()]
    assert set(names) >= {path.stem for path in PLANS.glob("*.toml")}
    assert names[-1] == "09-cheapest"
