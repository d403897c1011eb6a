"""The conclusion on allocators is computed: an effect that is planted is found, and where there is none, none is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import results, store
from harness.plan import PLANS, load_plan
from tests.notebooks.test_notebooks import execute, words_of

NOTEBOOK = "03-allocator-comparison"
PLANNED = [load_plan(PLANS / f"03-allocators-{kind}.toml") for kind in ("speed", "memory", "large")]
MEASURED = ["server_cpu_s", "throughput_per_s", "p99_ms", "peak_rss_bytes", "settled_rss_bytes"]
SPREAD = 0.03


def without_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Every storm with the measures of an average one of its server and load, but for noise."""
    trials = {trial.plan_hash: trial for plan in PLANNED for trial in plan.trials}
    compared = runs[runs["plan_hash"].isin(list(trials))]
    if compared.empty:
        pytest.skip("the reference data has no storms of the allocators' plans; record them with `stormlab run --plan`")
    random = np.random.default_rng(3)
    kind = compared["plan_hash"].map(
        {one: f"{trial.server.name} {trial.load} {trial.server.body_bytes}" for one, trial in trials.items()}
    )
    for measure in MEASURED:
        average = compared[measure].groupby(kind).transform("median")
        values = average * random.lognormal(0, SPREAD, len(compared))
        runs.loc[compared.index, measure] = values.round() if measure.endswith("_bytes") else values
    runs.loc[compared.index, "generator"] = "ok"
    return runs


def answer(runs: pd.DataFrame, folder: Path) -> str:
    """What the notebook says in the end of these runs."""
    copy = shutil.copytree(store.REFERENCE, folder / "reference")
    results.write(runs, copy / results.RUNS)
    done = execute(folder, NOTEBOOK, environment={"STORMLAB_REFERENCE": str(copy)})
    assert done.returncode == 0, done.stderr
    said = (json.dumps(words, ensure_ascii=False) for words in words_of(folder / "report" / f"{NOTEBOOK}.ipynb"))
    (last,) = (text for text in said if "When to change the allocator**" in text)
    return last


def test_where_there_is_no_effect_it_says_so(tmp_path: Path) -> None:
    said = answer(without_effects(results.read(store.REFERENCE / results.RUNS)), tmp_path)
    assert "an effect in" not in said
    assert said.count("no effect in any of") == len(MEASURED)
    assert "nothing measured here is a reason to" in said


def test_a_planted_effect_of_ten_percent_is_found(tmp_path: Path) -> None:
    runs = without_effects(results.read(store.REFERENCE / results.RUNS))
    hyper = {
        trial.plan_hash
        for plan in PLANNED
        for trial in plan.trials
        if (trial.server.name, trial.server.allocator) == ("hyper", "jemalloc")
    }
    runs.loc[runs["plan_hash"].isin(hyper), "server_cpu_s"] *= 1.1
    said = answer(runs, tmp_path)
    assert "CPU time per answer**: an effect in 4 of" in said
    assert "0 for the better: jemalloc" in said
    assert "What it costs: CPU time per answer with jemalloc" in said
    assert said.count("no effect in any of") == len(MEASURED) - 1
