"""What notebooks read off a run's line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.events import store
from harness.plan import load_plan, trial_from_options
from harness.thought import runs as results
from harness.thought.cause import CAUSES
from tests.lines import run as line

PLAN = """
repeats = 2
[base]
clients = 100
stall_ms = 50
[variant."as it is"]
[variant.calm]
stall_ms = "default"
"""


@pytest.fixture
def runs() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "causes": [dict.fromkeys(CAUSES, 0) | {"clean": 3, "ghost": 1}, None, np.nan],
            "counters": [{"ListenOverflows": 7}, {}, {}],
        }
    )


def test_causes_are_shares_and_unknown_where_nobody_asked(runs: pd.DataFrame) -> None:
    found = results.with_causes(runs)
    assert (found.clean[0], found.ghost[0], found.syn_dropped[0]) == (0.75, 0.25, 0)
    assert found.loc[[1, 2], ["clean", "unknown"]].isna().all(axis=None)


def test_a_counter_that_did_not_move_is_zero(runs: pd.DataFrame) -> None:
    assert results.with_counters(runs, "ListenOverflows").ListenOverflows.to_list() == [7, 0, 0]


def test_runs_are_named_by_the_scenarios_of_their_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    plan = load_plan(tmp_path / "plan.toml")
    stormy, calm = plan.trials
    assert (stormy.faults.stall_ms, calm.faults.stall_ms) == (50, None)
    runs = pd.DataFrame({"plan_hash": [calm.plan_hash, stormy.plan_hash]})
    assert results.with_variants(runs, plan).variant.to_list() == ["as it is", "calm"]


def test_an_older_file_lacks_columns_and_can_be_read_and_written(tmp_path: Path) -> None:
    added = ["allocator", "server_cpu_s", "settled_rss_bytes", "rss_per_step"]
    table = pq.read_table(store.REFERENCE / results.RUNS)
    pq.write_table(table.drop_columns([name for name in added if name in table.column_names]), tmp_path / "old.parquet")
    runs = results.read(tmp_path / "old.parquet")
    assert list(runs) == [column.name for column in results.COLUMNS]
    assert runs[added].isna().all(axis=None)
    results.write(runs, tmp_path / "new.parquet")
    pd.testing.assert_frame_equal(results.read(tmp_path / "new.parquet"), runs)


def test_an_option_that_is_newer_than_a_run_is_at_its_default() -> None:
    older = trial_from_options({"server": "go"}).to_json()
    del older["load"]["spread_ms"], older["host_sysctls"], older["settle_s"]
    found = results.with_options(pd.DataFrame({"plan": [older]}), "spread_ms", "host_sysctl", "settle_s", "server")
    assert found[["spread_ms", "host_sysctl", "settle_s", "server"]].to_numpy().tolist() == [[0.0, (), 0.0, "go"]]


@pytest.mark.parametrize(
    ("options", "used_s", "verdict"),
    [
        ({"server": "python"}, 9.6, "ok"),
        ({"server": "python", "workers": 2}, 9.6, "limiting"),
        ({"server": "hyper"}, 9.6, "limiting"),
        ({"server": "hyper"}, 19.2, "ok"),
        ({"server": "hyper", "cpu": "disjoint"}, 9.6, "ok"),
        ({"server": "hyper"}, np.nan, "unknown"),
    ],
    ids=["one thread", "two workers", "a thread a CPU", "both CPUs", "one CPU of its own", "not recorded"],
)
def test_a_busy_agent_limits_a_server_that_has_a_cpu_to_spare(
    tmp_path: Path, options: dict[str, object], used_s: float, verdict: str
) -> None:
    told = "limiting: an agent was busy 99% of its time; no verdict on the server's speed from this run"
    check = {"name": "generator", "status": "unknown", "detail": told}
    recorded = line(options, generator="limiting", server_cpu_s=used_s, wall_s=10.0, host={"cpus": 2}, checks=[check])
    nothing = dict.fromkeys(column.name for column in results.COLUMNS)
    kept = pd.DataFrame([nothing | recorded | {"cpu": options.get("cpu", "shared")}])
    results.write(kept, tmp_path / "runs.parquet")
    assert results.read(tmp_path / "runs.parquet")["generator"].to_list() == [verdict]
