"""What was recorded means today what it meant then: the same plans, and the same causes of the same rows."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest

from harness.events import store
from harness.plan import Trial
from harness.thought import cause
from harness.thought.summary import Summary
from tests.calling import at_length

KEPT = list(store.runs(store.REFERENCE))
"""The runs of the reference data with rows, two million of them."""


def test_every_line_has_the_hash_of_its_plan(table: pd.DataFrame) -> None:
    hashes = [Trial.from_json(plan).plan_hash for plan in table["plan"]]
    assert hashes == table["plan_hash"].tolist()


@pytest.mark.parametrize("run", KEPT[:: at_length(5, 1)], ids=lambda run: run.run_id)
def test_causes_made_afresh_are_counted_as_the_table_has_them(run: store.Run, table: pd.DataFrame) -> None:
    summary = Summary(run)
    made = cause.causes(summary.connections, summary.samples, summary.circumstances)
    (known,) = table.loc[table["run_id"] == run.run_id, "causes"]
    assert Counter(made["cause"].to_pylist()) == Counter({name: count for name, count in known.items() if count})
