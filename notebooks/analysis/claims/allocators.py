"""The allocator as the cause, C3, and as the fix, F2: from the comparisons in blocks of notebook 03."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from analysis.allocators.effects import AGAIN, UNTOUCHED, in_blocks
from analysis.allocators.told import MEASURES, compare, where
from analysis.claims.evidence import Evidence
from analysis.claims.telling import PACED, decided, pending, title, undecided
from analysis.claims.verdict import Finding, Verdict, of_gain, told
from harness.page.notebook import percent
from harness.plan import PLANS, load_plan
from harness.thought.comparing import DECIDED, difference
from harness.thought.inference import Interval

PLANNED = ("03-allocators-speed", "03-allocators-memory", "03-allocators-large")
"""Without the pilot, which compares nothing."""
SPEEDS = ("cpu_us_per_answer", "throughput_per_s", "p99_ms")
"""What the claims are about. Memory is notebook 03's own question."""
MATTERS = 0.05
"""The smallest effect that is a reason for anything, the default of notebook 03."""
CALM = ("long",)
"""Loads without high concurrency, which C3 does not speak of."""
RUST = ("hyper", "hyper-std", "tokio", "tokio-std", "actix")
OWN = {"server": "hyper", "variant": "jemalloc", "measure": "cpu_us_per_answer"}
"""What is told as the number: the article's server and allocator, and the server's own CPU time, which is measured
also where the generator was the limit, though at the pace of its clients: equal for both allocators of a block."""


def c3(evidence: Evidence) -> Verdict:
    """Under high concurrency: is a server better off with another allocator than with the one that it comes with?"""
    runs = _in_blocks(evidence)
    return _verdict("C3", runs[~runs["load"].isin(CALM)], "another allocator than the default")


def f2(evidence: Evidence) -> Verdict:
    """Are Rust's servers better off with jemalloc?"""
    runs = _in_blocks(evidence)
    return _verdict("F2", runs[runs["server"].isin(RUST) & (runs["compared"] != "mimalloc")], "jemalloc")


def _in_blocks(evidence: Evidence) -> pd.DataFrame:
    blocks = [in_blocks(evidence.of_plan(name), load_plan(PLANS / f"{name}.toml")) for name in PLANNED]
    return pd.concat(blocks, ignore_index=True)


def _verdict(name: str, runs: pd.DataFrame, what: str) -> Verdict:
    """From who is answered, and from speeds, compared as notebook 03 does, and corrected within the claim's core."""
    if runs.empty:
        return pending(name)
    found = _core(compare(runs))
    speeds, findings = list(_speeds(found)), list(_answers(runs))
    findings += speeds
    if not any(finding.holds is not None for finding in findings):
        return undecided(name, "There are too few blocks of storms to tell one allocator from another.", runs)
    tested = found[found["seen"].isin(DECIDED)]
    better = tested[[_better(row) for row in tested.to_dict("records")]]
    # What decides leads: the number is Hyper's, whatever the verdict rests on.
    statement = f"An improvement of {MATTERS:.0%} or more is shown in {len(better) or 'none'} of {len(tested)} "
    statement += f"comparisons of speed with {what}{f': {where(better)}' if len(better) else ''}. "
    answered = runs.groupby("compared")["success_rate"].min().drop(AGAIN, errors="ignore")
    statement += "Answered, in the worst storm: "
    statement += f"{', '.join(f'{percent(share)} with {allocator}' for allocator, share in answered.items())}."
    statement += f" It holds for: {told(findings, True)}." if told(findings, True) else ""
    if left := sum(finding.holds is None for finding in speeds):
        statement += f" For {left} of {len(speeds)} servers and loads one is neither shown nor excluded."
    paced = int((runs["generator"] == "limiting").sum())
    statement += f" The generator was the limit in {paced:,} of {len(runs):,} storms. {PACED}" if paced else ""
    own = found[(found[list(OWN)] == pd.Series(OWN)).all(axis=1)]  # of its loads together first
    loads = ", ".join(runs.loc[runs["server"] == OWN["server"], "load"].unique())
    measure = f"Hyper's CPU time per answer with jemalloc, over that with the default, in: {loads}"
    number = Interval(*own.iloc[0][["ratio", "low", "high", "blocks", "kind"]]) if len(own) else None
    behind = runs[(runs["server"] == OWN["server"]) & runs["compared"].isin([OWN["variant"], UNTOUCHED])]["run_id"]
    return decided(name, findings, statement, (measure, "ratio"), number, runs, name_open=False, value_runs=behind)


def _core(found: pd.DataFrame) -> pd.DataFrame:
    """Each server as a whole, over all its loads of an experiment, in each measure of speed: what the claim asks."""
    return found[found["measure"].isin(SPEEDS) & found["core"].notna()]


def _answers(runs: pd.DataFrame) -> Iterator[Finding]:
    """Of each server and allocator: whether more clients are answered with it than with the default."""
    for server, storms in runs.groupby("server", sort=False):
        for variant in sorted(set(storms["compared"]) - {UNTOUCHED, AGAIN}):
            more = difference(storms, "success_rate", "compared", variant, UNTOUCHED, ("experiment", "load"))
            condition = f"{title(str(server))} answers more with {variant}"
            yield Finding(condition, None) if more is None else of_gain(condition, more)


def _speeds(found: pd.DataFrame) -> Iterator[Finding]:
    """Whether any speed is better by what matters; not, where all intervals exclude that."""
    for (_, server, load), rows in found.groupby(["experiment", "server", "load"], sort=False):
        known = rows[rows["seen"].isin(DECIDED)].to_dict("records")
        holds: bool | None = None
        if any(map(_better, known)):
            holds = True
        elif known and all(map(_excluded, known)):
            holds = False
        yield Finding(f"speed of {title(str(server))}, {load}", holds)


def _better(row: Mapping[Any, Any]) -> bool:
    """Seen, and as large as matters."""
    return bool(row["seen"] == MEASURES[row["measure"]][1]) and abs(math.log(row["ratio"])) >= math.log(1 + MATTERS)


def _excluded(row: Mapping[Any, Any]) -> bool:
    """Whether an improvement that matters lies outside the interval."""
    if MEASURES[row["measure"]][1] == "more":
        return bool(row["high"] < 1 + MATTERS)
    return bool(row["low"] > 1 / (1 + MATTERS))
