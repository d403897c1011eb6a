"""What a search came to, in words and rows: for the terminal and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.inference import CONFIDENCE, share_of_runs
from harness.report.tables import NO_VALUE, quantile
from harness.search import Search, Target, Tested, chosen, path, reached
from harness.stats import median_of_runs


def walked(search: Search, runs: pd.DataFrame) -> list[Tested]:
    """The path of a search, from its runs in order of time."""
    rows = zip(runs["plan_hash"], runs["success_rate"], runs["p99_ms"], strict=True)
    return path(search, reached(search, rows))


def path_table(search: Search, tested: Sequence[Tested], runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each candidate in the order of the search; quantiles are medians over the storms that it had."""
    rows: list[dict[str, Any]] = []
    for one in tested:
        had = len(one.test) + len(one.fresh)
        storms = runs[runs["plan_hash"] == one.candidate.trial.plan_hash].head(had)
        rows.append(
            {
                "candidate": one.candidate.name,
                "cost": f"{one.candidate.cost:g}",
                "fate": one.fate,
                "storms that met the target": _of(one.test),
                "fresh ones": _of(one.fresh),
                "answered": f"{storms['success_rate'].median():.2%}" if had else NO_VALUE,
                "p99": quantile(median_of_runs(storms["p99_ms"])) if had else NO_VALUE,
            }
        )
    return pd.DataFrame(rows)


def verdict(search: Search, tested: Sequence[Tested], runs: pd.DataFrame) -> str:
    """What was found, how sure that is, and what the search may have passed over."""
    target = f"{search.target.success:.1%} answered and a p99 of {quantile(search.target.p99_ms)}"
    found = chosen(tested)
    storms = sum(len(one.test) + len(one.fresh) for one in tested)
    held = f"{storms} storms"
    if found is None:
        under_way = any(one.fate == "under way" for one in tested)
        if under_way:
            return f"The search for {target} is not over: {held} so far."
        return f"None of {len(tested)} candidates reaches {target}; {held}."
    share = share_of_runs(found.fresh.count(True), len(found.fresh))
    cheaper = [one for one in tested if one.fate in ("given up", "not confirmed")]
    text = f"The cheapest that reaches {target}: **{found.candidate.name}**, at a cost of {found.candidate.cost:g}. "
    text += f"{_of(found.fresh)} fresh storms met the target; with {CONFIDENCE:.0%} confidence "
    text += f"{share.low:.0%} to {share.high:.0%} of such storms do. "
    those = "1 cheaper candidate was" if len(cheaper) == 1 else f"{len(cheaper)} cheaper candidates were"
    text += f"{held} in all; {those} given up. "
    return text + _passed_over(search)


def with_room(runs: pd.DataFrame, target: Target) -> pd.DataFrame:
    """The runs with ``room``, how many connections all queues of a server together were made for, and ``met``."""
    both = zip(runs["success_rate"], runs["p99_ms"], strict=True)
    met = [target.met(success_rate, p99_ms) for success_rate, p99_ms in both]
    return runs.assign(room=runs["backlog_effective"] * runs["listeners"], met=met)


def headline_of_room(runs: pd.DataFrame) -> str:
    """In how many storms the target was met, by room; ``runs`` as of :func:`with_room`."""
    rooms = runs.groupby("room")["met"]
    return f"Target met with room for {', '.join(f'{room:,.0f} in {_of(list(met))}' for room, met in rooms)}"


def by_room(runs: pd.DataFrame) -> str:
    """The same, for each kind of queues."""
    rooms = []
    for room, storms in runs.groupby("room"):
        kinds = storms.groupby("variant", sort=False, observed=True)["met"]
        rooms.append(f"{room:,.0f}: {', '.join(f'*{kind}* {_of(list(met))}' for kind, met in kinds)}")
    return f"Storms that met the target, by the room in all queues together: {'; '.join(rooms)}."


def with_enough_room(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the smallest room with which the target was met in every storm; empty where none is enough."""
    always = runs.groupby("room")["met"].all()
    return runs[runs["room"].eq(always[always].index.min())]


def _passed_over(search: Search) -> str:
    """How likely the rule gives up a candidate that is good nine times in ten."""
    from scipy import stats

    often = 0.9
    kept = float(stats.binom.cdf(search.may_miss, search.runs, 1 - often))
    return f"One that meets it in {often:.0%} of its storms is given up by the first {search.runs} with {1 - kept:.0%}."


def _of(storms: Sequence[bool]) -> str:
    return f"{storms.count(True)} of {len(storms)}" if storms else NO_VALUE
