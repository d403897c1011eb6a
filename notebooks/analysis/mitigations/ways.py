"""What a mitigation brings and costs: how each request ended, who paid for it, and where it made things worse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.mitigations.policies import answers_worth
from harness.errors import PlanError
from harness.events.tables import OUTCOMES
from harness.thought.comparing import limited
from harness.thought.runs import documents, with_options
from harness.thought.stats import TIMELINE_STEP_S

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
QUANTILES = ("wanted_p50_ms", "wanted_p99_ms")
SPEEDS = (*QUANTILES, "good_per_s")
"""Measures that are the generator's where it was the limit."""
ACCEPTING: Mapping[str, int] = {"first_try_share": 1, "wanted_p99_ms": -1, "cpu_us_per_answer": -1}
"""As :data:`BETTER`, of ways of accepting."""
FEWEST_STORMS = 5
"""Of each of two kinds, so that one of them being worse throughout has a chance of less than 1 % without a
difference: 2 of 252 orders."""
BY_CHANCE = 2 / comb(2 * FEWEST_STORMS, FEWEST_STORMS)
TURNED_AWAY = ("429", "502", "503")
"""Statuses that a client is turned away with. 429 and 503 say that there are too many (RFC 6585, RFC 9110); 502 says
that what stands behind gave no answer, which is nginx's word for a server that has as many requests as it may have."""
SAYS_WHY = ("429", "503")
"""Of these, those that say so."""
_ANSWERS_OF_THE_SERVER = "server.hrsp_2xx"
"""HAProxy's counter."""
Found = Literal["better", "worse", "alike", "too few storms", "not measured", "generator the limit", "fewer answered"]
"""What a comparison comes to; the last: a goodput that is higher because fewer were answered is none."""


def endings(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with what became of their requests, in shares of those planned, and at what price.

    Columns ``turned_away`` (by one of :data:`TURNED_AWAY`), ``timed_out``, ``cut_off`` (refused, reset, closed early)
    and ``lost_otherwise``, which with ``success_rate`` sum to one; ``good_per_s``, answers, and ``refused_per_s``, who
    was turned away, while the load lasts, or of a burst until the last answer; ``made_per_s``, answers that the server
    made from first issue to last end, at least the good ones, and ``wasted_share``, those of them that nobody took any
    more, as :func:`answers_counted` knows them or else :func:`answers_worked_out`; ``made_at_least``, whether both may
    be more; ``cpu_us_per_answer`` and ``memory_mib`` of server and load balancer together; ``connections_at_server``.
    """
    counted = pd.DataFrame(documents(runs["outcomes"]), index=runs.index)
    outcomes = counted.reindex(columns=list(OUTCOMES)).fillna(0)
    statuses = documents(runs["statuses"])
    planned, answered = runs["planned"], outcomes["answered"]
    parts = pd.DataFrame(
        {
            "turned_away": [sum(counts.get(status, 0) for status in TURNED_AWAY) for counts in statuses],
            "timed_out": outcomes["connect_timeout"] + outcomes["answer_timeout"],
            "cut_off": outcomes["refused"] + outcomes["reset"] + outcomes["closed_early"],
        },
        index=runs.index,
    ).div(planned, axis=0)
    no_front = runs["front"].isna()
    cpu_s = runs["server_cpu_s"] + runs["front_cpu_s"].mask(no_front, 0)
    rss_bytes = runs["peak_rss_bytes"] + runs["front_peak_rss_bytes"].mask(no_front, 0)
    rates = with_options(runs, "rate")["rate"].astype(float)
    # Of a burst in which nobody was answered, until its end.
    seconds = (planned / rates).fillna(answered / runs["throughput_per_s"]).fillna(runs["wall_s"])
    good_per_s = [_good_per_s(*of) for of in zip(answered, runs["answers_per_step"], rates, seconds, strict=True)]
    counted_answers = answers_counted(runs)
    made = counted_answers.fillna(answers_worked_out(runs, answered))
    return runs.assign(
        **parts,
        lost_otherwise=(1 - answered / planned - parts.sum(axis=1)).clip(lower=0),
        good_per_s=good_per_s,
        refused_per_s=parts["turned_away"] * planned / seconds,
        made_per_s=(made / runs["wall_s"]).clip(lower=pd.Series(good_per_s, runs.index)),
        wasted_share=1 - answered / made.where(made > 0),
        made_at_least=counted_answers.isna() & made.notna() & ~no_front,
        cpu_us_per_answer=cpu_s / answered.where(answered > 0) * 1e6,
        memory_mib=rss_bytes / 2**20,
        # What a load balancer opened is not known everywhere, and never is what the clients opened.
        connections_at_server=runs["connections_to_server"].mask(no_front, runs["connections_made"]),
    )


def answers_counted(runs: pd.DataFrame) -> pd.Series:
    """How many answers the server made, whoever still waited for them, by HAProxy's count; NaN where there is none."""
    counters = documents(runs["front_counters"])
    return pd.Series([counts.get(_ANSWERS_OF_THE_SERVER, np.nan) for counts in counters], runs.index, dtype=float)


def answers_worked_out(runs: pd.DataFrame, answered: pd.Series) -> pd.Series:
    """The same by what the server's CPU time is worth, at least those that arrived; NaN where there is no work to each.

    The work waits for a clock, so that a server that shares its CPU, as behind a load balancer, spends less CPU time on
    it: then there were more.
    """
    return answers_worth(with_options(runs, "work_us")).clip(lower=answered)


def _good_per_s(answered: float, answers_per_step: Sequence[int], rate: float, seconds: float) -> float:
    """Of a load that lasts without the answers that come after it: else who queues longest would have most."""
    if not answered:
        return 0.0
    if pd.isna(rate):
        return answered / seconds
    return sum(answers_per_step[: round(seconds / TIMELINE_STEP_S)]) / seconds


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
class Ranked:
    """One measure of a mitigation against the storms as they are, on one server."""

    server: str
    variant: str
    measure: str
    found: Found
    ratio: float = np.nan
    """Of the medians, where one is better or worse; infinite or zero where one of them lies among the unanswered."""


def compared(runs: pd.DataFrame, untouched: str, measures: Mapping[str, int] = BETTER) -> list[Ranked]:
    """Each of the ``measures`` (whether more or less is better) of each variant on each server, against the storms
    without.

    Better or worse is what is so for every storm with a mitigation against every storm without: the rank test at its
    plainest, which takes quantiles among the unanswered as larger than any.
    """
    return [
        _comparison(str(server), str(variant), measure, way, storms, of_server[of_server["variant"] == untouched])
        for server, of_server in runs.groupby("server", sort=False)
        for variant, storms in of_server.groupby("variant", sort=False, observed=True)
        if variant != untouched
        for measure, way in measures.items()
    ]


def trade_offs(found: Sequence[Ranked]) -> list[tuple[Ranked, Ranked]]:
    """(99th percentile, median) of each mitigation and server where one is better and the other worse."""
    median, tail = ({(of.server, of.variant): of for of in found if of.measure == name} for name in QUANTILES)
    both = [(one, median[place]) for place, one in tail.items() if place in median]
    return [pair for pair in both if {one.found for one in pair} == {"better", "worse"}]


def _comparison(server: str, variant: str, measure: str, way: int, storms: pd.DataFrame, plain: pd.DataFrame) -> Ranked:
    def told(found: Found, ratio: float = np.nan) -> Ranked:
        return Ranked(server, variant, measure, found, ratio)

    if min(len(storms), len(plain)) < FEWEST_STORMS:
        return told("too few storms")
    with_it, without = (_ranked(part[measure], measure) for part in (storms, plain))
    if np.isnan(with_it).any() or np.isnan(without).any():
        return told("not measured")
    above, below = with_it.min() > without.max(), with_it.max() < without.min()
    if not (above or below):
        return told("alike")
    better = bool(above) == (way > 0)
    # Where the generator was the limit, the server could only have been faster.
    if measure in SPEEDS and limited(plain if better else storms):
        return told("generator the limit")
    # And where clients come more slowly, fewer of them have to knock twice.
    if measure == "first_try_share" and limited(storms if better else plain):
        return told("generator the limit")
    if measure == "good_per_s" and better and storms["success_rate"].median() < plain["success_rate"].median():
        return told("fewer answered")
    return told("better" if better else "worse", _ratio(float(np.median(with_it)), float(np.median(without))))


def _ranked(values: pd.Series, measure: str) -> NDArray[np.float64]:
    """NaN is a quantile among the unanswered, and of other measures what could not be measured."""
    return (values.fillna(np.inf) if measure in QUANTILES else values).to_numpy(float)


def _ratio(one: float, other: float) -> float:
    if np.isinf(other):
        return 0.0
    return one / other if other else np.inf
