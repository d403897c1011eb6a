"""A load balancer as the advice, A3: what a rate limit and a queue before the server do for those who ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from analysis.claims.evidence import Evidence
from analysis.claims.telling import decided, pending, title, undecided
from analysis.claims.verdict import Finding, Verdict
from analysis.mitigations.ways import BETTER, QUANTILES, compared, endings
from analysis.mitigations.ways_told import COSTS_THE_TAIL, FEWER_IN_ALL, HELPS_THE_TAIL
from harness.page.numbers import points, with_spread
from harness.thought.comparing import (
    MATTERS,
    beyond,
    difference,
    gain,
    increases,
    limited,
    nothing_dropped,
    ratio,
    reduces,
)
from harness.thought.inference import CONFIDENCE, FEWEST_RUNS, Difference, Effect, Interval
from harness.thought.runs import with_options

OVERLOAD, BURST = "07-balancer", "07-mitigations"
"""Plans: for seconds more than the server can do, and a storm that is over at once."""
ALONE: Mapping[str, str] = {OVERLOAD: "server alone", BURST: "as it comes"}
ADVISED: Mapping[str, Mapping[str, str]] = {
    OVERLOAD: dict.fromkeys(
        (
            "HAProxy, queue",
            "HAProxy, queue of half a second",
            "HAProxy, 500 a second",
            "nginx, 500 a second",
            "nginx, 16 at the server",
        ),
        ALONE[OVERLOAD],
    ),
    BURST: {
        "HAProxy, kept connections, queue": ALONE[BURST],
        "backlog and HAProxy, queue": "backlog",
        "HAProxy, 2,000 a second": ALONE[BURST],
    },
}
"""Scenarios with what is advised (a queue before the server, a limit beyond which clients are told no, or both), and
what each is held against. A load balancer brings a larger backlog of its own, which is F1's matter: at the same
backlog it is what else a load balancer does.
"""
TOLD = "HAProxy, queue of half a second"
"""Whose number is told: it queues, and turns away who has waited too long. Chosen before anything was measured."""
UNLIMITED = "HAProxy"
"""As it comes, which queues nothing and turns nobody away."""
_SAME_BACKLOG = ", over backlog"
_NAMES: Mapping[str, str] = {OVERLOAD: "overload", BURST: "burst"}
_QUANTILES: Mapping[str, str] = dict(zip(QUANTILES, ("median", "99th percentile"), strict=True))
_MEDIAN, _TAIL = QUANTILES
_TRADE_OFFS = (HELPS_THE_TAIL, COSTS_THE_TAIL, FEWER_IN_ALL)
Change = Literal["better", "worse", "no better"]


@dataclass(frozen=True, slots=True)
class Advised:
    """One way of using a load balancer on one stack, against the server alone."""

    condition: str
    better: bool | None
    """None where there are too few storms, chance may have made it, or this host's own input queue."""
    said: str
    change: Interval | None
    trade_off: str = ""
    """What it gives and takes, where it does both; that is no help to all."""


def a3(evidence: Evidence) -> Verdict:
    """Does a load balancer that queues or turns away help, in an overload and in a burst?"""
    runs = {plan: _storms(evidence, plan) for plan in (OVERLOAD, BURST)}
    if all(storms.empty for storms in runs.values()):
        return pending("A3")
    weighed = [
        storms[storms["variant"].isin({*ADVISED[plan], *ADVISED[plan].values()})] for plan, storms in runs.items()
    ]
    unlimited = runs[OVERLOAD][runs[OVERLOAD]["variant"] == UNLIMITED]
    used = pd.concat([*weighed, unlimited], ignore_index=True)
    found = [comparison for plan, storms in runs.items() for comparison in _comparisons(storms, plan)]
    findings = [Finding(one.condition, one.better) for one in found]
    if not any(finding.holds is not None for finding in findings):
        reason = "There are too few storms with and without a load balancer, what they show may be chance, or this "
        reason += "host's own input queue dropped packets."
        return undecided("A3", reason, pd.concat(runs.values(), ignore_index=True))
    statement = _overloaded(runs[OVERLOAD]) + "".join(
        f" {lead}: {'; '.join(f'{one.condition}, {one.said}' for one in these)}."
        for lead, these in (
            ("It helps with", [one for one in found if one.better]),
            *((f"It {way} with", [one for one in found if one.trade_off == way]) for way in _TRADE_OFFS),
            ("It does not, or does harm, with", [one for one in found if one.better is False and not one.trade_off]),
        )
        if these
    )
    if any(finding.holds is None for finding in findings) and not all(nothing_dropped(storms) for storms in weighed):
        statement += " Where this host's own input queue dropped packets, gains and losses of time are not decided."
    burst = runs[BURST]
    if len(burst) and burst["wide"].all():
        statement += " In the burst netdev_max_backlog was raised."
    behind = burst.loc[burst["variant"].isin(list(ADVISED[BURST])), "front_backlog_effective"].dropna()
    if len(behind):
        ends = " to ".join(f"{count:,.0f}" for count in sorted({behind.min(), behind.max()}))
        shown = [one.condition for one in found if one.better and one.condition.endswith(_SAME_BACKLOG)]
        statement += f" The load balancer's own backlog was {ends} there; over a server that has a larger one "
        statement += f"itself it is shown to help {'with ' + '; '.join(shown) if shown else 'nowhere'}."
    own = next((one.change for one in found if one.condition.endswith(TOLD)), None)
    measure = f"answers a second while an overload lasts with {TOLD}, over those of the server alone"
    statement += _open(found)
    overload = runs[OVERLOAD]
    shown = [] if own is None else [TOLD, ALONE[OVERLOAD]]
    behind = overload.loc[overload["variant"].isin(shown), "run_id"]
    return decided("A3", findings, statement.strip(), (measure, "ratio"), own, used, name_open=False, value_runs=behind)


def _open(found: Sequence[Advised]) -> str:
    """What is undecided, with its numbers, as far as there are any."""
    left = [f"{one.condition}{', ' * bool(one.said)}{one.said}" for one in found if one.better is None]
    return f" Undecided: {'; '.join(left)}." if left else ""


def _storms(evidence: Evidence, plan: str) -> pd.DataFrame:
    """With what became of their requests; with a raised netdev_max_backlog, where there are enough such storms.

    What that queue drops is the host's doing, not the load balancer's. Kinds are not mixed.
    """
    runs = evidence.of_plan(plan)
    opened = runs[runs["wide"] & runs["variant"].eq(ALONE[plan])].groupby("server").size()
    enough = len(opened) > 0 and opened.min() >= FEWEST_RUNS and len(opened) == runs["server"].nunique()
    return endings(with_options(runs[runs["wide"] == enough], "timeout_s"))


def _comparisons(runs: pd.DataFrame, plan: str) -> Iterator[Advised]:
    compare = _in_overload if plan == OVERLOAD else _in_burst
    for server, storms in runs.groupby("server"):
        for variant, without in ADVISED[plan].items():
            against = "" if without == ALONE[plan] else f", over {without}"
            yield compare(f"{_NAMES[plan]}, {title(str(server))}, {variant}{against}", storms, variant, without)


def _in_overload(condition: str, runs: pd.DataFrame, variant: str, untouched: str) -> Advised:
    """Answers a second while it lasts: those that come after it are most where most wait. What notebook 07 finds to be
    more of these because fewer are answered in all is no help here either.
    """
    alone, changed = (runs[runs["variant"] == name] for name in (untouched, variant))
    if limited(alone) or limited(changed):
        return Advised(condition, None, "the generator was the limit", None)
    change = ratio(runs, "good_per_s", "variant", variant, untouched)
    if change is None:
        return _with_a_collapse(condition, runs, variant, untouched)
    said = f"answers a second × {with_spread(change.ratio, 'ratio')}"
    (goodput,) = compared(pd.concat([alone, changed]), untouched, {"good_per_s": BETTER["good_per_s"]})
    if goodput.found == "fewer answered" and increases(change):
        both = nothing_dropped(alone) and nothing_dropped(changed)  # it is gain and harm at once
        said += f", {points(fewer.mean)} answered" if (fewer := _answered(runs, variant, untouched)) else ""
        return Advised(condition, False if both else None, said, change.ratio, FEWER_IN_ALL if both else "")
    return Advised(condition, _fair(increases(change), alone, changed), said, change.ratio)


def _with_a_collapse(condition: str, runs: pd.DataFrame, variant: str, untouched: str) -> Advised:
    """The same where some storm had no good answer at all, which has no ratio: as a difference."""
    alone, changed = (runs[runs["variant"] == name] for name in (untouched, variant))
    change = difference(runs, "good_per_s", "variant", variant, untouched)
    if change is None:
        return Advised(condition, None, "", None)
    more = beyond(*change.mean.ends, MATTERS * float(alone["good_per_s"].mean()))
    better = None if more and change.p >= 1 - CONFIDENCE else more
    said = f"{change.mean.value:+,.0f} answers a second, none in {(changed['good_per_s'] == 0).sum()} of {len(changed)}"
    return Advised(condition, _fair(better, alone, changed), f"{said} storms".replace("-", "−"), None)


def _in_burst(condition: str, runs: pd.DataFrame, variant: str, untouched: str) -> Advised:
    """More clients are answered, or about as many and sooner: by the 99th percentile, where the median is no worse.

    Who is told no may be told soon.
    """
    alone, changed = (runs[runs["variant"] == name] for name in (untouched, variant))
    answered = _answered(runs, variant, untouched)
    if answered is None:
        return Advised(condition, None, "", None)
    gained = gain(answered)
    more, no_more = gained.holds, gained.holds is False or gained.open == "no room"
    if more or answered.mean.high < -MATTERS:
        own = not more and bool(changed["turned_away"].mean() > MATTERS)  # it says so itself, by its status
        better = False if own else _fair(more, alone, changed)
        return Advised(condition, better, points(answered.mean), answered.mean)
    (tail, of_tail), (median, of_median) = (_time(runs, variant, untouched, name) for name in (_TAIL, _MEDIAN))
    said = ", ".join(filter(None, (of_tail, of_median))) or points(answered.mean)
    if {tail, median} == {"better", "worse"}:
        trade_off = HELPS_THE_TAIL if tail == "better" else COSTS_THE_TAIL
        both = nothing_dropped(alone) and nothing_dropped(changed)  # it is gain and harm at once
        return Advised(condition, False if both else None, said, answered.mean, trade_off if both else "")
    if "worse" in (tail, median):
        return Advised(condition, _fair(False, alone, changed), said, answered.mean)
    if tail == "better":
        return Advised(condition, _fair(True, alone, changed), said, answered.mean)
    no_better = False if tail == "no better" and no_more else None
    return Advised(condition, _fair(no_better, alone, changed), said, answered.mean)


def _answered(runs: pd.DataFrame, variant: str, untouched: str) -> Difference | None:
    return difference(runs, "success_rate", "variant", variant, untouched)


def _time(runs: pd.DataFrame, variant: str, untouched: str, quantile: str) -> tuple[Change | None, str]:
    """Whether a quantile is shorter or longer by what matters, and how that is said; None where it is not decided.

    Because it is so in every storm against every storm, as notebook 07 has it, or by the interval of the ratio.
    """
    both = runs[runs["variant"].isin([variant, untouched])]
    effect = _sooner(runs, variant, untouched, quantile)
    if effect is None or any(limited(storms) for _, storms in both.groupby("variant", observed=True)):
        return None, ""
    said = f"{_QUANTILES[quantile]} × {with_spread(effect.ratio, 'ratio')}"
    (always,) = compared(both, untouched, {quantile: BETTER[quantile]})
    of_medians = f"{_QUANTILES[quantile]} × {always.ratio:.2g} in every storm"
    if always.found == "better" and always.ratio < 1 / (1 + MATTERS):
        return "better", of_medians
    if always.found == "worse" and always.ratio > 1 + MATTERS:
        return "worse", of_medians
    if (less := reduces(effect)) is True:
        return "better", said
    if increases(effect):
        return "worse", said
    return ("no better" if less is False else None), said


def _sooner(runs: pd.DataFrame, variant: str, untouched: str, quantile: str) -> Effect | None:
    """Of a quantile, which is beyond the timeout where it lies among the unanswered; None where all do."""
    known = runs.assign(**{quantile: runs[quantile].astype(float).fillna(runs["timeout_s"] * 1000)})
    both = runs.loc[runs["variant"].isin([variant, untouched]), quantile]
    return None if both.isna().all() else ratio(known, quantile, "variant", variant, untouched)


def _fair(better: bool | None, alone: pd.DataFrame, changed: pd.DataFrame) -> bool | None:
    """What this host's input queue dropped may be what is mended; and what it dropped of twice the packets, no harm."""
    return better if nothing_dropped(alone if better else changed) else None


def _overloaded(runs: pd.DataFrame) -> str:
    """How requests end in an overload, without a load balancer and in the way whose number is told; means, as
    notebook 07 has them."""
    measures = ["success_rate", "timed_out", "turned_away", "good_per_s", "wasted_share"]
    of_each = runs.groupby(["variant", "server"], observed=True)[measures].mean()
    shares = of_each.groupby("variant", observed=True).mean()
    if not {ALONE[OVERLOAD], TOLD} <= set(shares.index):
        return ""
    alone, queued = shares.loc[ALONE[OVERLOAD]], shares.loc[TOLD]
    said = f"In an overload the server alone answers {alone['success_rate']:.1%} of all requests, and "
    said += f"{alone['timed_out']:.1%} time out; with {TOLD} it answers {queued['success_rate']:.1%}, "
    said += f"{queued['timed_out']:.1%} time out, and {queued['turned_away']:.1%} are told no. While the load lasts "
    said += f"these are {alone['good_per_s']:,.0f} and {queued['good_per_s']:,.0f} answers a second."
    wasted = shares["wasted_share"].reindex([ALONE[OVERLOAD], TOLD, UNLIMITED]).dropna()
    in_vain = "; ".join(f"{share:.0%} with {variant}" for variant, share in wasted.items())
    return said + (
        f" Of the answers that the server made so many came when nobody waited: {in_vain}." if in_vain else ""
    )
