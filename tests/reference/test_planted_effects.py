"""The conclusion on allocators is computed: an effect that is planted is found, and where there is none, none is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.allocators import told as tell
from analysis.allocators.effects import in_blocks
from harness.plan import PLANS, load_plan

PLANNED = [load_plan(PLANS / f"03-allocators-{kind}.toml") for kind in ("speed", "memory", "large")]
MATTERS = 0.05
"""As the notebook has it."""
MEASURED = ["server_cpu_s", "throughput_per_s", "p99_ms", "peak_rss_bytes", "settled_rss_bytes", "generator"]


def without_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """What was measured, dealt anew: within each block chance says which of its storms had which allocator.

    Noise stays what it is on a real machine, and whatever an allocator did belongs to none of them.
    """
    random = np.random.default_rng(3)
    dealt = runs.set_index("run_id")
    for plan in PLANNED:
        hashes = [trial.plan_hash for trial in plan.trials]
        storms = in_blocks(runs[runs["plan_hash"].isin(hashes)], plan)
        for _, equal in storms.groupby(["server", "load", "block"]):
            dealt.loc[equal["run_id"], MEASURED] = equal[MEASURED].iloc[random.permutation(len(equal))].to_numpy()
    return dealt.reset_index()[runs.columns]


def answer(runs: pd.DataFrame) -> str:
    """What the notebook says in the end of these runs."""
    found = pd.concat(
        [in_blocks(runs[runs["plan_hash"].isin([trial.plan_hash for trial in plan.trials])], plan) for plan in PLANNED],
        ignore_index=True,
    )
    compared = tell.compare(found)
    return "\n".join([*tell.answers(compared), tell.advice(compared, found, MATTERS)])


def test_where_there_is_no_effect_it_says_so(table: pd.DataFrame) -> None:
    said = answer(without_effects(table))
    assert "an effect in" not in said
    assert said.count("no effect in any of") == len(tell.MEASURES)
    assert "nothing measured here is a reason to" in said


def test_a_planted_effect_of_ten_percent_is_found(table: pd.DataFrame) -> None:
    runs = without_effects(table)
    trials = {trial.plan_hash: trial.server for plan in PLANNED for trial in plan.trials}
    jemalloc = runs["plan_hash"].map(lambda one: one in trials and trials[one].allocator == "jemalloc")
    runs.loc[jemalloc, "server_cpu_s"] *= 1.1
    said = answer(runs)
    assert "CPU time per answer**: an effect in" in said
    assert "0 for the better: jemalloc +" in said
    assert "What it costs: CPU time per answer with jemalloc" in said
    assert said.count("no effect in any of") == len(tell.MEASURES) - 1
