"""What notebooks say in words and tables, computed from the runs."""

from __future__ import annotations

import json

import pandas as pd

from harness.host import Host
from harness.report.tables import NO_VALUE, quantile


def host_caption(runs: pd.DataFrame) -> str:
    """The machine or machines the runs were measured on, and when, for captions."""
    hosts = [Host.from_json(json.loads(text)).caption for text in dict.fromkeys(runs["host"])]
    first, last = min(runs["begun"])[:10], max(runs["begun"])[:10]
    return f"Measured on {'; '.join(hosts)}; {first if first == last else f'{first} to {last}'}."


def overview(runs: pd.DataFrame) -> pd.DataFrame:
    """A line for each trial: how many runs, and the range of each measure over them."""
    by_trial = runs.groupby(["scenario", "cpu", "server"], sort=False)
    return by_trial.apply(_one_line, include_groups=False).reset_index()


def failed_or_unknown_checks(runs: pd.DataFrame) -> pd.DataFrame:
    """How many runs of each trial did not pass a check, failures first."""
    rows = [
        {"status": check["status"], "check": check["name"], "scenario": run.scenario, "cpu": run.cpu, "server": run.server}
        for run in runs.itertuples()
        for check in json.loads(run.checks)
        if check["status"] != "pass"
    ]
    if not rows:
        return pd.DataFrame(columns=["status", "check", "scenario", "cpu", "runs"])
    checks = pd.DataFrame(rows).groupby(["status", "check", "scenario", "cpu"])["server"]
    counted = checks.agg(runs="size", servers=lambda names: ", ".join(dict.fromkeys(names)))
    return counted.reset_index().sort_values("status", kind="stable", ignore_index=True)


def span(values: pd.Series, form: str) -> str:
    """``3 % to 9 %``, or one value where all are the same; null values (beyond the answered) are named as such."""
    known = values.dropna()
    if known.empty:
        return NO_VALUE
    low, high = format(known.min(), form), format(known.max(), form)
    return low if low == high else f"{low} to {high}"


def _one_line(runs: pd.DataFrame) -> pd.Series:
    return pd.Series(
        {
            "runs": len(runs),
            "backlog": span(runs["backlog_effective"], ".0f"),
            "answered": span(runs["success_rate"], ".1%"),
            "first try": span(runs["first_try_share"], ".1%"),
            "p50": _latencies(runs["p50_ms"]),
            "p99": _latencies(runs["p99_ms"]),
            "answers/s": span(runs["throughput_per_s"], ",.0f"),
            "lost in input queue": span(runs["lo_rx_dropped"], ",.0f"),
            "generator": ", ".join(sorted(set(runs["generator"]))),
        }
    )


def _latencies(values: pd.Series) -> str:
    """Smallest to largest; a null is larger than any."""
    ordered = [None if pd.isna(value) else value for value in values.sort_values()]
    low, high = quantile(ordered[0]), quantile(ordered[-1])
    return low if low == high else f"{low} to {high}"
