"""``python -m harness.reference``: make the committed reference data from runs recorded here.

Every complete run of the collection's plans becomes a line of ``data/reference/runs.parquet``; lines of other plans
and of other machines stay.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from harness import results, store
from harness.plan import PLANS, load_plan
from harness.summary import Summary


def publish(data: Path, reference: Path = store.REFERENCE) -> pd.DataFrame:
    """Put the runs in ``data`` that belong to a plan of the collection in place of older ones; returns all lines."""
    planned = {trial.plan_hash for path in sorted(PLANS.glob("*.toml")) for trial in load_plan(path).trials}
    chosen = [run for run in store.runs(data) if run.manifest["status"] == "complete" and run.identity[0] in planned]
    lines = results.frame(Summary(run) for run in chosen)
    path = reference / results.RUNS
    if path.exists():
        older = results.read(path)
        replaced = older["plan_hash"].isin(lines["plan_hash"]) & older["host_id"].isin(lines["host_id"])
        lines = pd.concat([older[~replaced], lines]).sort_values("run_id", ignore_index=True)
    results.write(lines, path)
    return lines


if __name__ == "__main__":
    published = publish(Path(sys.argv[1]) if len(sys.argv) > 1 else store.default_data())
    print(f"{len(published)} runs in {store.REFERENCE / results.RUNS}")
