"""What a search came to, in words and rows: for the terminal and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.page.tables import NO_VALUE, quantile
from harness.plan.search import Search, Target, Tested, chosen, path, reached
from harness.thought.inference import CONFIDENCE, share_of_runs
from harness.thought.stats import median_of_runs

PASSED = ("given up", "not confirmed")
"""Fates of candidates that would have been cheaper."""


def walked(search: Search, runs: pd.DataFrame) -> list[Tested]:
    """The path of a search, from its runs in order of time."""
    rows = zip(runs["plan_hash"], runs["success_rate"], runs["p99_ms"], strict=True)
    return path(search, reached(search, rows))


def held(tested: Sequence[Tested], runs: pd.DataFrame) -> pd.DataFrame:
    """The storms that the search itself had: another plan may have more of the same, which come later."""
    had = {one.candidate.trial.plan_hash: len(one.test) + len(one.fresh) for one in tested}
    number = runs.groupby("plan_hash").cumcount()
    return runs[number < runs["plan_hash"].map(had).fillna(0)]


def not_started(runs: pd.DataFrame) -> pd.Series:
    """Which runs had no storm, as the server did not come so far: none of their requests was issued."""
    idle = pd.Series([outcomes["not_issued"] for outcomes in runs["outcomes"]], runs.index, dtype=float)
    return runs["status"].eq("failed") & runs["planned"].eq(idle)


def path_table(search: Search, tested: Sequence[Tested], runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each candidate in the order of the search; quantiles are medians over the storms that it had.

    ``runs`` are those of the search, in order of time. A storm in which this host's own input queue dropped packets may
    have missed the target for that; one whose server did not start has missed it for nothing that a storm does.
    """
    rows: list[dict[str, Any]] = []
    of_search = held(tested, runs)
    for one in tested:
        had = len(one.test) + len(one.fresh)
        storms = of_search[of_search["plan_hash"] == one.candidate.trial.plan_hash]
        dropped, unstarted = storms["lo_rx_dropped"] > 0, not_started(storms)
        rows.append(
            {
                "candidate": one.candidate.name,
                "cost": f"{one.candidate.cost:g}",
                "fate": one.fate,
                "storms that met the target": _of(one.test),
                "fresh ones": _of(one.fresh),
                "answered": f"{storms['success_rate'].median():.2%}" if had else NO_VALUE,
                "p99": quantile(median_of_runs(storms["p99_ms"])) if had else NO_VALUE,
                "storms that lost packets in the input queue": _of(list(dropped)),
                "that did not start": _of(list(unstarted)),
            }
        )
    table = pd.DataFrame(rows)
    return table if not_started(of_search).any() else table.drop(columns="that did not start")


def verdict(search: Search, tested: Sequence[Tested], runs: pd.DataFrame) -> str:
    """What was found, how sure that is, and what the search may have passed over."""
    target = f"{search.target.success:.1%} answered and a p99 of {quantile(search.target.p99_ms)}"
    found = chosen(tested)
    storms = sum(len(one.test) + len(one.fresh) for one in tested)
    count = f"{storms} storms"
    if found is None:
        under_way = any(one.fate == "under way" for one in tested)
        if under_way:
            return f"The search for {target} is not over: {count} so far."
        failed = "".join(f" {line}." for line in unstarted(tested, runs))
        return f"None of {len(tested)} candidates reaches {target}; {count}.{failed}"
    share = share_of_runs(found.fresh.count(True), len(found.fresh))
    cheaper = [one for one in tested if one.fate in PASSED]
    text = f"The cheapest that reaches {target}: **{found.candidate.name}**, at a cost of {found.candidate.cost:g}. "
    text += f"{_of(found.fresh)} fresh storms met the target; with {CONFIDENCE:.0%} confidence "
    text += f"{share.low:.0%} to {share.high:.0%} of such storms do. "
    those = "1 cheaper candidate was" if len(cheaper) == 1 else f"{len(cheaper)} cheaper candidates were"
    text += f"{count} in all; {those} given up. "
    return text + _lost(tested, runs) + _passed_over(search)


def unstarted(tested: Sequence[Tested], runs: pd.DataFrame) -> list[str]:
    """A line for each candidate whose server did not start, in how many of its storms."""
    of_search = held(tested, runs)
    lines = []
    for one in tested:
        storms = not_started(of_search[of_search["plan_hash"] == one.candidate.trial.plan_hash])
        if storms.any():
            lines.append(f"{one.candidate.name}: the server did not start in {_of(list(storms))} storms")
    return lines


def as_they_come(search: Search, tested: Sequence[Tested], tried: pd.DataFrame, runs: pd.DataFrame) -> str:
    """In how many storms each stack as it comes meets the target, and how many of these the search had itself."""
    both = zip(runs["success_rate"], runs["p99_ms"], strict=True)
    met = runs.assign(met=[search.target.met(success_rate, p99_ms) for success_rate, p99_ms in both])
    own = set(held(tested, tried)["run_id"])
    said = []
    for server, storms in met.groupby("server", sort=False):
        shared = storms["run_id"].isin(own).sum()
        of_search = f" ({shared} of them the search's own)" if shared else ""
        said.append(f"{server} in {storms['met'].sum()} of {len(storms)}{of_search}")
    return ", ".join(said)


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


def _lost(tested: Sequence[Tested], runs: pd.DataFrame) -> str:
    """Which candidates were given up by storms in which this host's own input queue dropped packets, or for nothing but
    a server that did not start; empty if none was.
    """
    names = [f"“{one.candidate.name}”" for one in given_up_with_losses(tested, runs)]
    said = f"Packets were lost in this host's own input queue in storms of {', '.join(names)}. " if names else ""
    failed = unstarted(tested, runs)
    return said + (f"Not for what a storm does: {'; '.join(failed)}. " if failed else "")


def given_up_with_losses(tested: Sequence[Tested], runs: pd.DataFrame) -> list[Tested]:
    """Candidates that were given up, and had a storm in which this host's own input queue dropped packets."""
    of_search = held(tested, runs)
    hit = set(of_search.loc[of_search["lo_rx_dropped"] > 0, "plan_hash"])
    return [one for one in tested if one.fate in PASSED and one.candidate.trial.plan_hash in hit]


def _passed_over(search: Search) -> str:
    """How likely the rule gives up a candidate that is good nine times in ten."""
    from scipy import stats

    often = 0.9
    kept = float(stats.binom.cdf(search.may_miss, search.runs, 1 - often))
    lost = f"{1 - kept:.0%} of the time, by the first {search.runs} storms"
    return f"A candidate that meets the target in {often:.0%} of its storms would be given up {lost}."


def _of(storms: Sequence[bool]) -> str:
    return f"{storms.count(True)} of {len(storms)}" if storms else NO_VALUE
