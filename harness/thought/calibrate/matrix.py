"""The confusion matrix: what was true against what was concluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.thought.calibrate.fault import Fault
from harness.thought.calibrate.truth import UNSCORED, Witness, expected
from harness.thought.summary import Summary


def score(fault: Fault, runs: Iterable[Summary]) -> dict[str, Any]:
    """One row of the matrix: connections scored, and of these right, unknown and wrong; the same of its episodes.

    Beside them how many the truth says nothing of, and for how many it allows several causes.
    """
    confusion: dict[str, Counter[str]] = {}
    drivers: Counter[str] = Counter()
    run_ids, unscored = [], 0
    for summary in runs:
        run_ids.append(summary.run.run_id)
        concluded = zip(*(summary.causes[name].to_pylist() for name in ("cause", "detail")), strict=True)
        for words, (cause, detail) in zip(fault.truth(Witness(summary)), concluded, strict=True):
            if words == UNSCORED:
                unscored += 1
                continue
            answer = f"{cause}/{detail}" if "/" in words else cause
            answer = "unknown" if detail.startswith("not known") else answer
            confusion.setdefault(words, Counter())[answer] += 1
        drivers.update(episode.driver for episode in summary.episodes if fault.drivers)
    right = sum(counts[cause] for words, counts in confusion.items() for cause in expected(words))
    unknown = sum(counts["unknown"] for counts in confusion.values())
    rows = sum(counts.total() for counts in confusion.values())
    return {
        "fault": fault.name,
        "adversarial": fault.adversarial,
        "truth_source": fault.truth_source,
        "rows": rows,
        "right": right,
        "unknown": unknown,
        "wrong": rows - right - unknown,
        "unknown_because": fault.unknown_because,
        "unscored": unscored,
        "either_or": sum(counts.total() for words, counts in confusion.items() if len(expected(words)) > 1),
        "drivers": {
            "right": sum(drivers[driver] for driver in fault.drivers),
            "unknown": drivers["unknown"],
            "wrong": {driver: n for driver, n in drivers.items() if driver not in (*fault.drivers, "unknown")},
        },
        "confusion": {words: dict(counts) for words, counts in confusion.items()},
        "run_ids": run_ids,
    }


def drivers_told(drivers: Mapping[str, Any]) -> str:
    """Of the episodes of a full queue how many were driven as they should be; empty where nothing is asked of them."""
    counted = {word: drivers[word] for word in ("right", "unknown") if drivers[word]}
    parts = [f"{count} {word}" for word, count in counted.items()]
    parts += [f"{count} wrong: {driver}" for driver, count in drivers["wrong"].items()]
    return ", ".join(parts)
