"""Conditions that were tried, whoever drove them: what was answered, how the rest failed, in pulses or not.

A table of conditions has a row for each, with columns ``group`` (those of one group differ in the server only, or are
told apart by ``condition``), ``condition``, ``server``, ``driven by``, ``requests``, ``wanted`` (requests that were to
be driven, of each run; null where that is not said), ``shares`` (answered of the requests, of each run), ``blameless``
(the same, as :mod:`analysis.published.blame` has it; of a tool's run in which packets were dropped, all), ``failures``
(word → share of all requests, mean of the runs), ``causes`` (the lab's, the same way), ``pulses`` (of each run, null
where the tool does not tell), ``p50_ms`` (of each run, over all requests, infinite where it lies among the unanswered),
``ended`` (runs in which the server ended by itself), ``ended_by`` (what is known of why), ``limited`` (runs in which
the generator was the limit; not known of tools), ``dropped`` (packets that this host's own input queue dropped, of each
run) and ``run_ids``.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.attacks import LAB
from analysis.published import demand
from analysis.published.blame import blameless
from harness.page.notebook import counts, mean_and_interval, percent, span
from harness.page.numbers import tenths
from harness.page.tables import NO_VALUE, quantile
from harness.plan.attack import Attack
from harness.thought import stats

WHOLE = 0.995
"""From here on a server answers as good as everything."""
IN_PULSES = 2
"""From so many stretches of answers on, with silence between them."""


def of_attacks(runs: pd.DataFrame, group: str, form: str = "{variant}") -> pd.DataFrame:
    """The conditions in a frame of attacks (:func:`analysis.attacks.frame`, with ``variant``); ``form`` makes of
    its columns what a condition is called.
    """
    rows = []
    for _, same in runs.groupby("plan_hash", sort=False):
        steps, planned = same["answers_per_step"], same["plan"].iloc[0]
        rows.append(
            {
                "group": group,
                "condition": form.format(**same.iloc[0]),
                "server": server_name(planned["server"]),
                "driven by": same["tool"].iloc[0],
                "requests": same["requests"].to_list(),
                "wanted": [demand.wanted(Attack.from_json(planned))] * len(same),
                "shares": same["success_rate"].to_list(),
                "blameless": [
                    1.0 if moved.get("lo_rx_dropped") else share
                    for moved, share in zip(same["counters"], same["success_rate"], strict=True)
                ],
                "failures": mean_shares(same["kinds"], same["requests"]),
                "causes": {},
                "pulses": [None if each is None else _pulses(each) for each in steps],
                "p50_ms": [
                    math.nan if each is None else _beyond(p50) for each, p50 in zip(steps, same["p50_ms"], strict=True)
                ],
                "ended": int(same["server_ended"].notna().sum()),
                "ended_by": "",
                "limited": 0,
                "dropped": [moved.get("lo_rx_dropped", 0) for moved in same["counters"]],
                "run_ids": same["run_id"].to_list(),
            }
        )
    return pd.DataFrame(rows)


def of_storms(runs: pd.DataFrame, group: str, option: str | None = None, form: str = "{}") -> pd.DataFrame:
    """The conditions in a frame of the lab's runs with ``variant``; ``option`` is a column that was varied, if any."""
    rows = []
    keys = ["variant"] if option is None else [option, "variant"]
    ordered = runs if option is None else runs.sort_values(option, kind="stable")
    for key, same in ordered.groupby(keys, sort=False, observed=True):
        failed = [{name: n for name, n in text.items() if name != "answered"} for text in same["outcomes"]]
        unclean = [{name: n for name, n in (text or {}).items() if name != "clean"} for text in same["causes"]]
        condition = str(key[-1]) if option is None else form.format(key[0])
        rows.append(
            {
                "group": group,
                "condition": condition,
                "server": server_name(same["plan"].iloc[0]["server"]),
                "driven by": LAB,
                "requests": same["planned"].to_list(),
                "wanted": same["planned"].to_list(),
                "shares": same["success_rate"].to_list(),
                "blameless": blameless(same),
                "failures": mean_shares(failed, same["planned"]),
                "causes": mean_shares(unclean, same["planned"]),
                "pulses": [_pulses(steps) for steps in same["answers_per_step"]],
                "p50_ms": [_beyond(p50) for p50 in same["p50_ms"]],
                "ended": int((same["status"] != "complete").sum()),
                "ended_by": out_of_files(same),
                "limited": int((same["generator"] == "limiting").sum()),
                "dropped": same["lo_rx_dropped"].to_list(),
                "run_ids": same["run_id"].to_list(),
            }
        )
    return pd.DataFrame(rows)


def server_name(planned: Mapping[str, object]) -> str:
    """What a planned server is called in these tables: its name, and what its command adds to the published one."""
    words = str(planned["command"] or "").split()
    extra = words[words.index("{port}") + 1 :] if "{port}" in words else []
    jemallocator = ["jemallocator"] if any(word.endswith("published-jemallocator") for word in words) else []
    allocator = [str(planned["allocator"])] if planned["allocator"] != "system" else []
    unread = ["output unread"] if any(word.endswith("unread.py") for word in words) else []
    return ", ".join([str(planned["name"]), *extra, *jemallocator, *allocator, *unread])


def table(conditions: pd.DataFrame) -> pd.DataFrame:
    """A table of conditions as it is printed; ``not the demand`` stands in it where a tool sent too few requests."""
    printed = pd.DataFrame(
        {
            "what": conditions["group"] + ": " + conditions["condition"],
            "server": conditions["server"],
            "driven by": conditions["driven by"],
            "runs": conditions["shares"].map(len),
            "requests": [counts(pd.Series(each)) for each in conditions["requests"]],
            "not the demand": [not_driven(row) for row in conditions.to_dict("records")],
            "answered": [_answered(tuple(shares)) for shares in conditions["shares"]],
            "failed as": conditions["failures"].map(told),
            "lab's causes": conditions["causes"].map(told),
            "pulses": conditions["pulses"].map(pulses_told),
            "median latency": [span(pd.Series(each), quantile_or_beyond) for each in conditions["p50_ms"]],
            "server ended": [ended(row) for row in conditions.to_dict("records")],
            "generator the limit": [
                f"{limited} of {len(ids)}" if limited else ""
                for limited, ids in zip(conditions["limited"], conditions["run_ids"], strict=True)
            ],
        }
    )
    return printed if printed["not the demand"].any() else printed.drop(columns="not the demand")


def not_driven(row: Mapping[Any, Any]) -> str:
    """``3,685 to 10,611 of 50,000``: what a tool sent of what was wanted, where that is another demand; else empty."""
    if demand.driven(row["requests"], row["wanted"]):
        return ""
    return f"{counts(pd.Series(row['requests']))} of {row['wanted'][0]:,}"


def ended(row: Mapping[Any, Any]) -> str:
    """``2 of 3, out of 20,000 files``: in how many runs of a condition the server ended; empty for none."""
    if not row["ended"]:
        return ""
    return f"{row['ended']} of {len(row['run_ids'])}" + (f", {row['ended_by']}" if row["ended_by"] else "")


def out_of_files(runs: pd.DataFrame) -> str:
    """``out of 20,000 files``, as many as they may have, where all servers that ended had run out; else empty."""
    over = runs[runs["status"] != "complete"]
    if over.empty or not (over["out_of_files_lines"] > 0).all():
        return ""
    return f"out of {counts(over['server_files_limit'])} files"


def in_pulses(conditions: pd.DataFrame) -> pd.DataFrame:
    """Those of which most runs answered in several stretches with silence between them."""
    medians = [np.median([n for n in each if n is not None] or [0]) for each in conditions["pulses"]]
    return conditions[np.array(medians) >= IN_PULSES]


def told(shares: Mapping[str, float]) -> str:
    """``refused 49.8%, reset <0.1%``; empty where there is nothing."""
    return ", ".join(f"{name} {tenths(share)}" for name, share in shares.items() if share)


def pulses_told(pulses: Iterable[int | None]) -> str:
    """How many stretches of answers there were."""
    known = [number for number in pulses if number is not None]
    if not known:
        return NO_VALUE
    low, high = min(known), max(known)
    if high < IN_PULSES:
        return "none"
    return f"{low}" if low == high else f"{low} to {high}"


def quantile_or_beyond(value_ms: float) -> str:
    return quantile(None if math.isinf(value_ms) else value_ms)


@functools.cache
def _answered(shares: tuple[float, ...]) -> str:
    """The same conditions stand in several tables."""
    return mean_and_interval(pd.Series(shares), percent)


def _pulses(counts: Sequence[int]) -> int:
    return len(stats.pulses(np.asarray(counts, np.int64)))


def _beyond(p50_ms: float | None) -> float:
    return math.inf if p50_ms is None or math.isnan(p50_ms) else float(p50_ms)


def mean_shares(counted: Iterable[Mapping[str, int]], totals: Iterable[int]) -> dict[str, float]:
    """Word → share of all requests, mean over runs, the largest first."""
    shares: Counter[str] = Counter()
    runs = 0
    for found, total in zip(counted, totals, strict=True):
        runs += 1
        for name, count in found.items():
            shares[name] += count / total  # type: ignore[assignment]
    return {name: share / runs for name, share in shares.most_common() if share}
