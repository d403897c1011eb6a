"""The confusion matrix: what was true against what was concluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from harness.thought.calibrate.faults import Fault
from harness.thought.calibrate.truth import UNSCORED, Witness, expected
from harness.thought.summary import Summary


def score(fault: Fault, runs: Iterable[Summary]) -> dict[str, Any]:
    """One row of the matrix: connections scored, and of these right, unknown and wrong."""
    confusion: dict[str, Counter[str]] = {}
    run_ids = []
    for summary in runs:
        run_ids.append(summary.run.run_id)
        concluded = zip(*(summary.causes[name].to_pylist() for name in ("cause", "detail")), strict=True)
        for words, (cause, detail) in zip(fault.truth(Witness(summary)), concluded, strict=True):
            if words != UNSCORED:
                answer = f"{cause}/{detail}" if "/" in words else cause
                confusion.setdefault(words, Counter())[answer] += 1
    right = sum(counts[cause] for words, counts in confusion.items() for cause in expected(words))
    unknown = sum(counts["unknown"] for counts in confusion.values())
    rows = sum(counts.total() for counts in confusion.values())
    return {
        "fault": fault.name,
        "truth_source": fault.truth_source,
        "rows": rows,
        "right": right,
        "unknown": unknown,
        "wrong": rows - right - unknown,
        "confusion": {words: dict(counts) for words, counts in confusion.items()},
        "run_ids": run_ids,
    }
