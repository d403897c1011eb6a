"""What any notebook says in words and tables, computed from the runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from harness.events.host import Host
from harness.page.interval import worded
from harness.page.tables import NO_VALUE, quantile
from harness.thought.inference import FEWEST_RUNS, Interval, mean_of_runs, mean_share, paired_ratio, stratified_mean


def host_caption(runs: pd.DataFrame) -> str:
    """The machine or machines the runs were measured on, and when, for captions."""
    hosts = list(dict.fromkeys(Host.from_json(each).caption for each in runs["host"]))
    first, last = min(runs["begun"])[:10], max(runs["begun"])[:10]
    when = first if first == last else f"{first} to {last}"
    unwatched = all(
        plan.get("probe") is False for plan in runs["plan"]
    )  # of other tools' attacks nothing of it is said
    return f"Measured on {'; '.join(hosts)}; {when}{'; the lab did not watch the servers' if unwatched else ''}."


def overview(runs: pd.DataFrame) -> pd.DataFrame:
    """A line for each trial: how many runs, and the range of each measure over them."""
    names = ["scenario", "cpu", "server"]
    trials = runs.groupby(names, sort=False)
    return pd.DataFrame([dict(zip(names, trial, strict=True)) | _ranges(repeats) for trial, repeats in trials])


def versions(runs: pd.DataFrame) -> pd.DataFrame:
    """What the servers were made of, and the backlog that each asked for by itself, as read back from the kernel."""
    columns = ["server", "version", "backlog_effective"]
    return runs[columns].drop_duplicates().sort_values("server", ignore_index=True)


def typical(runs: pd.DataFrame) -> pd.DataFrame:
    """Of the repeats of each trial, the one with the median success, ties by throughput."""
    ordered = runs.sort_values(["success_rate", "throughput_per_s"], kind="stable")
    chosen = ordered.groupby("plan_hash", sort=False)["run_id"].agg(lambda ids: ids.iloc[len(ids) // 2])
    return runs[runs["run_id"].isin(chosen)]


def paired_ratios(runs: pd.DataFrame, measure: str, one: str, others: Sequence[str]) -> pd.DataFrame:
    """``measure`` of a server against others', paired by block: the i-th storm of each belongs to the i-th block.

    A line for each CPU regime and other server: the ratio of geometric means with its interval or range, and the
    smallest effect that this many blocks could have seen. Pairs with fewer than :data:`FEWEST_RUNS` blocks are left
    out.
    """
    rows = []
    for regime, storms in runs.groupby("cpu", sort=False):
        block = storms.groupby("server").cumcount()
        values = storms.assign(block=block).pivot(index="block", columns="server", values=measure)
        limited = storms.groupby("server")["generator"].agg(lambda verdicts: (verdicts == "limiting").sum())
        for other in others:
            if not {one, other} <= set(values):
                continue
            both = values[[one, other]].dropna()
            if len(both) < FEWEST_RUNS:
                continue
            found = paired_ratio(both[one].to_list(), both[other].to_list())
            rows.append(
                {
                    "CPUs": regime,
                    "ratio": f"{one} ÷ {other}",
                    "found": worded(found.ratio, "{:.2f}".format),
                    "smallest detectable": f"{found.smallest_detectable:.2f}",
                    "blocks": len(both),
                    "generator the limit": f"{limited[one]} and {limited[other]}",
                }
            )
    return pd.DataFrame(rows)


def mean_and_interval(values: pd.Series, form: Callable[[float], str]) -> str:
    """Mean over runs with its interval or range, as :func:`harness.page.interval.worded` puts it; a dash of none."""
    known = values.dropna()
    if known.empty:
        return NO_VALUE
    return worded((mean_share if known.between(0, 1).all() else mean_of_runs)(known.to_list()), form)


def over_kinds(runs: pd.DataFrame, measure: str, kinds: str) -> Interval:
    """The mean over runs and kinds of storm that differ in the column ``kinds``, of a measure that is a share."""
    return stratified_mean([of_kind.to_list() for _, of_kind in runs.groupby(kinds, sort=False)[measure]], shares=True)


def failed_or_unknown_checks(runs: pd.DataFrame) -> pd.DataFrame:
    """How many runs of each trial did not pass a check, failures first."""
    rows = [
        {"status": check["status"], "check": check["name"], "scenario": scenario, "cpu": cpu, "server": server}
        for scenario, cpu, server, checks in runs[["scenario", "cpu", "server", "checks"]].to_numpy()
        for check in checks
        if check["status"] != "pass"
    ]
    if not rows:
        return pd.DataFrame(columns=["status", "check", "scenario", "cpu", "runs"])
    checks = pd.DataFrame(rows).groupby(["status", "check", "scenario", "cpu"])["server"]
    counted = checks.agg(runs="size", servers=lambda names: ", ".join(dict.fromkeys(names)))
    return counted.reset_index().sort_values("status", kind="stable", ignore_index=True)


def percent(share: float) -> str:
    """Rounded down, so that 100.00% is all of them; a dash where there is nothing."""
    return NO_VALUE if math.isnan(share) else f"{math.floor(share * 10_000) / 100:.2f}%"


def span(values: pd.Series, form: Callable[[float], str]) -> str:
    """``3 to 9``, or one value where all look the same."""
    known = values.dropna()
    if known.empty:
        return NO_VALUE
    low, high = form(known.min()), form(known.max())
    return low if low == high else f"{low} to {high}"


def latency_span(values: pd.Series) -> str:
    """As :func:`span` of a quantile of latency: one that lies among the unanswered (null) is larger than any."""
    ordered = [None if pd.isna(value) else value for value in values.sort_values()]
    low, high = quantile(ordered[0]), quantile(ordered[-1])
    return low if low == high else f"{low} to {high}"


def _ranges(runs: pd.DataFrame) -> dict[str, object]:
    return {
        "runs": len(runs),
        "backlog": span(runs["backlog_effective"], "{:.0f}".format),
        "answered": span(runs["success_rate"], percent),
        "first try": span(runs["first_try_share"], "{:.1%}".format),
        "p50": latency_span(runs["p50_ms"]),
        "p99": latency_span(runs["p99_ms"]),
        "answers/s": span(runs["throughput_per_s"], "{:,.0f}".format),
        "lost in input queue": span(runs["lo_rx_dropped"], "{:,.0f}".format),
        "generator": ", ".join(sorted(set(runs["generator"]))),
    }


def counts(values: pd.Series) -> str:
    """As :func:`span`, of whole numbers."""
    return span(values, "{:,.0f}".format)


def of_all(flags: pd.Series) -> str:
    """``3 of 5``: how many are true."""
    return f"{flags.sum()} of {len(flags)}"


def generators(storms: pd.DataFrame) -> str:
    """What the generator was in any of these storms."""
    return ", ".join(sorted(set(storms["generator"])))
