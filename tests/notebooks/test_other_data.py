"""Other data give other answers: nothing that a notebook says of results is typed by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import PROJECT
from harness.events import store
from harness.events.records import REFERENCE, published
from harness.plan import PLANS, load_plan
from harness.thought import runs as results
from tests.notebooks.test_notebooks import execute, words_of

RETRIES = load_plan(PLANS / "08-retries.toml")
BACKOFF = dict(zip(RETRIES.variants, RETRIES.trials, strict=True))["backoff"]
DOWN = [100] * int(BACKOFF.faults.stall_at_s) + [0] * 60
CHANGED: dict[str, list[tuple[str, dict[str, Any], str, object, str]]] = {
    "01-stack-comparison": [
        ("01-stack-comparison", {"scenario": "short", "server": "go"}, "success_rate", 0.1234, "12.34%"),
    ],
    "02-backlog-sweep": [("02-backlog-plane", {}, "first_try_share", 0.4321, "at least 43.2% came through")],
    "03-allocator-comparison": [
        ("03-allocators-memory", {"server": "node"}, "settled_rss_bytes", int(2**20 * 43.2), "43.2")
    ],
    "04-queue-overflow-root-cause": [("04-root-cause", {"backlog_effective": 128}, "success_rate", 0.1234, "12.3%")],
    "05-file-descriptor-limit": [
        ("05-files-recovery", {"server": "python"}, "success_rate", 0.1234, "12.3%"),
        ("05-files-usual", {"server": "go"}, "out_of_files_lines", 7, "`go` ran out in"),
    ],
    "06-kernel-tuning": [("06-kernel-settings", {"backlog_effective": 4096}, "first_try_share", 0.1234, "12.34%")],
    "07-fewer-connections": [
        ("07-pools", {"server": "go"}, "wanted_p99_ms", 4_321.0, "4.32 s"),
        ("07-few-connections", {"server": "go"}, "success_rate", 0.4567, "45.7%"),
        ("07-held-connection", {}, "p50_ms", 7.654, "7.65 ms"),
        ("07-cold-pool", {}, "wanted_p99_ms", 9_876.0, "9.88 s"),
    ],
    "08-retries": [
        ("08-retries", {"plan_hash": BACKOFF.plan_hash}, "goodput_per_s", DOWN, "*backoff* (12% answered)"),
        ("08-retries", {"plan_hash": BACKOFF.plan_hash}, "success_rate", 0.1234, "*backoff* (12% answered)"),
    ],
    "09-load-balancers": [
        ("09-accept-loops", {"server": "go"}, "first_try_share", 0.1234, "12.3%"),
        ("09-mitigations", {"server": "node"}, "wanted_p99_ms", 8_760.0, "8.76 s"),
        ("09-loops-or-room", {"listeners": 2}, "success_rate", 0.5, "*two queues of 4,096* 0 of 20"),
    ],
    "10-published-benchmark": [("10-timeouts", {}, "success_rate", 0.2345, "23.45%")],
}
"""Of some runs of a plan another value in a column, and what the notebook then says that it did not."""


def other_words(copy: Path) -> None:
    """A generator that finds its server is no longer the cause of anything."""
    kept = published(copy)
    for attack in kept:
        attack["said"] |= {"answered": attack["said"]["requests"], "errors": {}, "kinds": {}}
    assert kept
    (copy / REFERENCE).write_text("".join(json.dumps(attack) + "\n" for attack in kept))


@pytest.mark.parametrize("notebook", CHANGED)
def test_other_data_gives_another_answer(notebook: str, tmp_path: Path) -> None:
    copy = shutil.copytree(store.REFERENCE, tmp_path / "reference")
    runs = results.read(copy / results.RUNS)
    for plan, chosen, column, value, _ in CHANGED[notebook]:
        changed = runs["plan_hash"].isin([trial.plan_hash for trial in load_plan(PLANS / f"{plan}.toml").trials])
        for name, wanted in chosen.items():
            changed &= runs[name].eq(wanted)
        assert changed.any()
        runs.loc[changed, column] = pd.Series([value] * int(changed.sum()), runs.index[changed])
    results.write(runs, copy / results.RUNS)
    other_words(copy)
    done = execute(tmp_path, notebook, environment={"STORMLAB_REFERENCE": str(copy)})
    assert done.returncode == 0, done.stderr
    text = json.dumps(words_of(tmp_path / "report" / f"{notebook}.ipynb"))
    committed = json.dumps(words_of(PROJECT / "notebooks" / f"{notebook}.ipynb"))
    for *_, said in CHANGED[notebook]:
        assert said in text
        assert said not in committed
    if notebook == "10-published-benchmark":
        assert "100% is answered by servers that listen on 127.0.0.1" in text
