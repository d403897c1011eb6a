"""What notebook 07 says of retries is computed: it follows the goodput that the data have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.events import store
from harness.plan import PLANS, load_plan
from harness.thought import runs as results
from tests.notebooks.test_notebooks import execute, words_of

NOTEBOOK = "07-mitigations"
PLAN = load_plan(PLANS / "07-retries.toml")
LOAD = PLAN.trials[0].load
assert LOAD.rate is not None
SECONDS = int(LOAD.planned / LOAD.rate)
WELL = np.full(SECONDS, int(LOAD.rate), np.int32)
DOWN = np.where(np.arange(SECONDS) < PLAN.trials[0].faults.stall_at_s, WELL, 0).astype(np.int32)


def answer(goodput: dict[str, np.ndarray], folder: Path) -> str:
    """The line on retries, where every storm of a policy had this goodput."""
    runs = results.read(store.REFERENCE / results.RUNS)
    policies = dict(zip((trial.plan_hash for trial in PLAN.trials), PLAN.variants, strict=True))
    policy = runs["plan_hash"].map(policies)
    if policy.dropna().empty:
        pytest.skip("the reference data has no storms of plans/07-retries.toml; record them with `stormlab run --plan`")
    planted = [goodput.get(name, found) for name, found in zip(policy, runs["goodput_per_s"], strict=True)]
    copy = shutil.copytree(store.REFERENCE, folder / "reference")
    results.write(runs.assign(goodput_per_s=pd.Series(planted, index=runs.index)), copy / results.RUNS)
    done = execute(folder, NOTEBOOK, environment={"STORMLAB_REFERENCE": str(copy)})
    assert done.returncode == 0, done.stderr
    said = (json.dumps(words, ensure_ascii=False) for words in words_of(folder / "report" / f"{NOTEBOOK}.ipynb"))
    (text,) = (text for text in said if "**Retries** on" in text and "goodput stayed" in text)
    (line,) = (line for line in text.split("\\n") if line.startswith("- **Retries** on"))
    return line


def test_where_every_storm_recovers_no_policy_is_blamed(tmp_path: Path) -> None:
    said = answer(dict.fromkeys(PLAN.variants, WELL), tmp_path)
    assert "in all storms of –;" in said
    assert all(f"*{name}*" in said for name in PLAN.variants)


def test_the_policy_that_kept_the_server_down_is_named(tmp_path: Path) -> None:
    said = answer({**dict.fromkeys(PLAN.variants, WELL), "backoff": DOWN}, tmp_path)
    assert "in all storms of *backoff*;" in said
    assert "*at once*" in said.partition(";")[2]
