"""What clients do to servers, as frames: fewer connections, and what comes after a trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.thought.goodput import Aftermath, aftermath
from harness.thought.runs import with_options
from harness.thought.stats import GRID_MS

PLAIN, POOL, HTTP2 = "plain storm", "pool", "HTTP/2"
NOTHING_HELD = ", nothing held"
"""What the name of a variant ends with in which no connection stalls."""
KEPT_DOWN_S, RECOVERS_WITHIN_S = 30, 10
"""A failure outlasts its trigger if goodput is low for so long after it; a policy ends it within so long."""


def over_connections(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with columns ``over`` (:data:`PLAIN`, :data:`POOL`, :data:`HTTP2`), ``pool``, its size, and per answer
    ``cpu_us_per_answer``, the server's.

    The plain storm's ``pool`` is the number of its clients, a connection for each.
    """
    made = with_options(runs, "connections", "http2")
    asked = made["connections"]
    over = np.select([made["http2"].eq(True), asked.notna()], [HTTP2, POOL], PLAIN)
    answered = made["success_rate"] * made["planned"]
    return made.assign(
        over=over,
        pool=asked.fillna(made["clients"]).astype(int),
        cpu_us_per_answer=made["server_cpu_s"] / answered.where(answered > 0) * 1e6,
        peak_rss_mib=made["peak_rss_bytes"] / 2**20,
    )


def waited_out(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, their ``wanted_p50_ms`` and ``wanted_p99_ms`` the timeout where they lie among the unanswered.

    It is the least that they can be; without it the storms that failed most would drop out of a comparison.
    """
    timeout_ms = with_options(runs, "timeout_s")["timeout_s"] * 1000
    return runs.assign(
        **{name: runs[name].astype(float).fillna(timeout_ms) for name in ("wanted_p50_ms", "wanted_p99_ms")}
    )


def good_pools(runs: pd.DataFrame, measure: str, within: float) -> dict[str, list[int]]:
    """For each server the pools whose median ``measure`` is within a share of that of the best one, by size.

    A quantile that lies among the unanswered counts as larger than any.
    """
    pools = runs[runs["over"] == POOL]
    medians = pools[measure].fillna(np.inf).groupby([pools["server"], pools["pool"]], sort=False).median()
    return {
        str(server): sorted(of_server[of_server <= of_server.min() * (1 + within)].index.get_level_values("pool"))
        for server, of_server in medians.groupby(level="server", sort=False)
    }


def held_or_not(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of a steady load over few connections, with and without a stall of one of them.

    Columns ``way``, the variant without :data:`NOTHING_HELD`; ``stall``, whether one stalls; ``http2``; ``between_ms``,
    from one request of a connection to its next.
    """
    made = with_options(runs, "connections", "http2", "rate", "hold_ms")
    return made.assign(
        way=made["variant"].astype(str).str.removesuffix(NOTHING_HELD),
        stall=made["hold_ms"].notna(),
        between_ms=(made["connections"] / made["rate"] * 1000).astype(float),
    )


def aftermaths(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, of an open loop with a trigger, with what :func:`harness.thought.goodput.aftermath` finds after it.

    Columns ``low_s``, ``recovered_after_s``, ``watched_s``, ``kept_down``, ``recovered`` and ``attempts_per_request``;
    ``useful_share``, of the server's CPU time what the answers took that came in time; ``full_queue_s``, how long it
    works on what a full accept queue holds.
    """
    made = with_options(runs, "rate", "work_us")
    found = [_aftermath(run) for run in made.to_dict("records")]
    return made.assign(
        low_s=[one.low_s for one in found],
        recovered_after_s=[one.recovered_after_s for one in found],
        watched_s=[one.watched_s for one in found],
        kept_down=[one.low_s >= KEPT_DOWN_S for one in found],
        recovered=[one.recovered_after_s <= RECOVERS_WITHIN_S <= one.watched_s for one in found],
        attempts_per_request=made["attempts_made"] / made["planned"],
        useful_share=made["success_rate"] * made["planned"] / answers_worth(made),
        full_queue_s=(made["backlog_effective"] + 1) * made["work_us"] / 1e6,
    )


def answers_worth(runs: pd.DataFrame) -> pd.Series:
    """How many answers the server's CPU time is worth, by the work of each, ``work_us``; NaN where they are none."""
    worth: pd.Series = runs["server_cpu_s"] / (runs["work_us"].where(runs["work_us"] > 0) / 1e6)
    return worth


def slower_than(runs: pd.DataFrame, limit_ms: float) -> pd.Series:
    """How many requests of each run were not answered within a latency, a step of :data:`stats.GRID_MS`."""
    step = int(np.searchsorted(GRID_MS, limit_ms, side="right")) - 1
    shares = runs["latency_shares"].map(lambda shares: float(shares[step]))
    return ((1 - shares) * runs["planned"]).round().astype(int)


def _aftermath(run: Mapping[Any, Any]) -> Aftermath:
    load_ends_s = run["planned"] / run["rate"]
    # Of a trigger that outlived the storm there is no aftermath.
    over_s = load_ends_s if pd.isna(run["trigger_over_s"]) else run["trigger_over_s"]
    return aftermath(list(run["goodput_per_s"]), run["rate"], over_s, load_ends_s)
