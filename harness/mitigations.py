"""What a mitigation brings and costs: how each request ended, who paid for it, and where it made things worse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.errors import PlanError
from harness.events import OUTCOMES
from harness.results import with_options

DEMAND = ("clients", "requests_per_client", "rate", "concurrency", "timeout_s", "processes", "body_bytes", "work_us")
"""Options that say what is wanted; mitigations are compared where these are the same."""
BETTER: Mapping[str, int] = {
    "success_rate": 1,
    "wanted_p50_ms": -1,
    "wanted_p99_ms": -1,
    "good_per_s": 1,
    "cpu_us_per_answer": -1,
    "memory_mib": -1,
    "connections_at_server": -1,
}
"""Measures, and whether more (1) or less (-1) of them is better."""
FEWEST_STORMS = 5
"""Of each of two kinds, so that one of them being worse throughout has a chance of less than 1 % without a
difference: 2 of 252 orders."""


def endings(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with what became of their requests, in shares of those planned, and at what price.

    Columns ``turned_away`` (answered, but not with 2xx), ``timed_out``, ``cut_off`` (refused, reset, closed early) and
    ``lost_otherwise``, which with ``success_rate`` sum to one; ``good_per_s`` (answers) and ``told_per_s`` (answers and
    refusals, whoever gave them) over the storm's length; ``cpu_us_per_answer`` and ``memory_mib`` of server and load
    balancer together; ``connections_at_server``.
    """
    counted = pd.DataFrame([json.loads(text) for text in runs["outcomes"]], index=runs.index)
    outcomes = counted.reindex(columns=list(OUTCOMES)).fillna(0)
    statuses = [json.loads(text) if isinstance(text, str) else {} for text in runs["statuses"]]
    told = pd.Series([sum(counts.values()) for counts in statuses], index=runs.index)
    planned, answered = runs["planned"], outcomes["answered"]
    parts = pd.DataFrame(
        {
            "turned_away": [
                sum(count for status, count in counts.items() if not status.startswith("2")) for counts in statuses
            ],
            "timed_out": outcomes["connect_timeout"] + outcomes["answer_timeout"],
            "cut_off": outcomes["refused"] + outcomes["reset"] + outcomes["closed_early"],
        },
        index=runs.index,
    ).div(planned, axis=0)
    cpu_s = runs["server_cpu_s"] + runs["front_cpu_s"].fillna(0)
    rss_bytes = runs["peak_rss_bytes"] + runs["front_peak_rss_bytes"].fillna(0)
    return runs.assign(
        **parts,
        lost_otherwise=(1 - answered / planned - parts.sum(axis=1)).clip(lower=0),
        good_per_s=answered / runs["wall_s"],
        told_per_s=told / runs["wall_s"],
        cpu_us_per_answer=cpu_s / answered.where(answered > 0) * 1e6,
        memory_mib=rss_bytes / 2**20,
        connections_at_server=runs["connections_to_server"].fillna(runs["connections_made"]),
    )


def one_demand(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Runs of several plans, each with ``variant``, as one frame; variants in the order in which they come first.

    Raises:
        PlanError: not the same is wanted in all of them.
    """
    parts = list(parts)
    names = list(dict.fromkeys(name for part in parts for name in part["variant"].astype(str)))
    joined = pd.concat([part.astype({"variant": str}) for part in parts], ignore_index=True)
    asked = with_options(joined, *DEMAND)
    differing = [name for name in DEMAND if len(set(asked[name].dropna())) + asked[name].isna().any() > 1]
    if differing:
        raise PlanError(f"storms that differ in {', '.join(differing)} cannot be compared", "plan them with the same")
    order = pd.Categorical(joined["variant"], categories=names, ordered=True)
    return joined.assign(variant=order).sort_values("variant", kind="stable", ignore_index=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of a mitigation against the storms as they are, on one server."""

    server: str
    variant: str
    measure: str
    worse: bool
    """Else it is better."""
    ratio: float
    """Of the medians; infinite where the larger lies among the unanswered."""


def differences(runs: pd.DataFrame, untouched: str) -> list[Difference]:
    """Where every storm with a mitigation is on the same side of every storm without, on the same server.

    The rank test at its plainest, which takes quantiles among the unanswered as larger than any; of fewer than
    :data:`FEWEST_STORMS` storms it says nothing.
    """
    found = []
    for server, of_server in runs.groupby("server", sort=False):
        plain = of_server[of_server["variant"] == untouched]
        for variant, storms in of_server.groupby("variant", sort=False, observed=True):
            if variant == untouched or min(len(storms), len(plain)) < FEWEST_STORMS:
                continue
            for measure, better in BETTER.items():
                with_it, without = (part[measure].fillna(np.inf).to_numpy(float) for part in (storms, plain))
                above, below = with_it.min() > without.max(), with_it.max() < without.min()
                if above or below:
                    ratio = _ratio(float(np.median(with_it)), float(np.median(without)))
                    found.append(Difference(str(server), str(variant), measure, bool(above) != (better > 0), ratio))
    return found


def _ratio(one: float, other: float) -> float:
    if np.isinf(other):
        return 0.0
    return one / other if other else np.inf
