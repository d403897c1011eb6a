"""``python -m analysis.reference``: make the committed reference data from runs recorded here.

Every run of the collection's plans that was held to its end becomes a line of ``data/reference/runs.parquet``. Lines of
plans that were not run here stay; those of no plan any more go, and those of a plan that another machine has more of,
or as much and later. Where a plan says so, the rows of a few runs are kept too. What other generators said
(:mod:`harness.trial.foreign`) becomes lines of ``attacks.jsonl``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd

from analysis import attacks
from analysis.pages.datacard import card
from harness.events import store
from harness.events.manifest import MANIFEST
from harness.events.store import CONNECTIONS, REQUESTS, SAMPLES, Run, write_whole
from harness.thought import experiments
from harness.thought import runs as results
from harness.thought.readable import readable

_KEPT = (MANIFEST, CONNECTIONS, REQUESTS, SAMPLES)
"""Causes can be made again, and a log may name paths of the machine."""
CARD = "README.md"
"""The data card, beside the data."""


def publish(data: Path, reference: Path = store.REFERENCE) -> pd.DataFrame:
    """Put the runs in ``data`` that belong to a plan of the collection in place of older ones; returns all lines."""
    plans = experiments.plans()
    rows_wanted = {trial.plan_hash: plan.rows_kept(trial) for plan in plans for trial in plan.trials}
    chosen = experiments.recorded(data, print)
    lines = results.frame(readable(chosen, print))
    path = reference / results.RUNS
    if path.exists():
        older = results.read(path)
        measured_again = older["plan_hash"].isin(lines["plan_hash"]) & older["host_id"].isin(lines["host_id"])
        lines = pd.concat([older[~measured_again], lines])
        told = experiments.a_host_for_each(lines, map(experiments.hashes, plans))
        lines = told.sort_values("run_id", ignore_index=True)
        for run_id in set(older["run_id"]) - set(lines["run_id"]):
            shutil.rmtree(reference / run_id, ignore_errors=True)
    told_of = set(lines["run_id"])
    for plan_hash, number in rows_wanted.items():
        for run in [run for run in chosen if run.identity[0] == plan_hash and run.run_id in told_of][:number]:
            _keep_rows(run, reference)
    results.write(lines, path)
    attacks.publish(data, reference)
    write_whole(reference / CARD, card(lines, plans, reference))
    return lines


def _keep_rows(run: Run, reference: Path) -> None:
    folder = reference / run.run_id
    folder.mkdir(parents=True, exist_ok=True)
    for name in _KEPT:
        if (run.path / name).exists():
            shutil.copyfile(run.path / name, folder / name)


if __name__ == "__main__":
    published = publish(Path(sys.argv[1]) if len(sys.argv) > 1 else store.default_data())
    print(f"{len(published)} runs in {store.REFERENCE / results.RUNS}")
