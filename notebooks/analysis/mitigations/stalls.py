"""What is said of one of few connections that stalls, against the same load without a stall, computed from the runs.

Runs are those of :func:`policies.held_or_not` with a column ``slow``, how many requests took longer than a
latency.
"""

from __future__ import annotations

import pandas as pd

from analysis.mitigations.policies import slower_than
from harness.page.tables import quantile
from harness.thought.stats import median_of_runs

LATE = 0.5
"""Share of the time from one request of a connection to its next; what takes longer has waited, as likely as not, for
that next one."""


def caught(runs: pd.DataFrame) -> str:
    """How many requests a connection had at once, and how many were slow, medians, where one stalls."""
    said = ", ".join(
        f"{storms['requests_at_once'].max():.0f} and {storms['slow'].median():.0f} with *{way}*"
        for way, storms in runs[runs["stall"]].groupby("way", sort=False)
    )
    return f"Most requests at once on a connection, and how many were slow, the median: {said}."


def headline(runs: pd.DataFrame, slow_ms: float) -> str:
    """How many of how many requests are slow where a connection stalls, in every way of connecting."""
    held = runs[runs["stall"]]
    slow = held.groupby("way", sort=False)["slow"].median()
    said = ", ".join(f"{number:.0f} ({way})" for way, number in slow.items())
    return f"A connection stalls; slower than {slow_ms:g} ms of {held['planned'].max():,} requests: {said}"


def without_a_stall(runs: pd.DataFrame) -> str:
    """What answers take where nothing stalls, beside the time from one request of a connection to its next."""
    said = []
    for way, storms in runs[~runs["stall"]].groupby("way", sort=False):
        between_ms = float(storms["between_ms"].iloc[0])
        late = (slower_than(storms, LATE * between_ms) / storms["planned"]).median()
        p50, p99 = (quantile(median_of_runs(storms[name])) for name in ("p50_ms", "p99_ms"))
        said.append(f"*{way}* p50 {p50}, p99 {p99}, and {late:.0%} later than half of {between_ms:g} ms")
    if not said:
        return "No storm is without a stall."
    return (
        f"Without any stall, medians over storms, beside the time from one request of a connection to its next: "
        f"{'; '.join(said)}."
    )


def of_the_stall(runs: pd.DataFrame, slow_ms: float) -> str:
    """How many more requests are slow with a stall than without, medians; empty if that was not measured."""
    slow = runs.groupby(["way", "stall"], sort=False)["slow"].median().unstack("stall")
    both = slow.reindex(index=list(dict.fromkeys(runs["way"])), columns=[True, False]).dropna()
    if both.empty:
        return ""
    more = ", ".join(f"{row[True] - row[False]:.0f} with *{way}*" for way, row in both.iterrows())
    lead = f"Slower than {slow_ms:g} ms are, without a stall, at most {both[False].max():.0f}"
    return f"{lead} of {runs['planned'].max():,} requests, and with one so many more, medians: {more}."
