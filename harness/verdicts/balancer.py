"""A load balancer as the advice, A3: what a rate limit and a queue before the server do for those who ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.effects import limited
from harness.inference import FEWEST_RUNS, Effect, Interval
from harness.mitigations import endings
from harness.results import with_options
from harness.verdicts.evidence import MATTERS, Evidence, clean, difference, gains, increases, ratio, reduces
from harness.verdicts.telling import decided, pending, points, title, undecided, with_ends
from harness.verdicts.verdict import Finding, Verdict, told

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
        "HAProxy, kept connections": ALONE[BURST],
        "backlog and HAProxy": "backlog",
        "HAProxy, 2,000 a second": ALONE[BURST],
    },
}
"""Scenarios with what is advised (a queue before the server, a limit beyond which clients are told no, or both), and
what each is held against. A load balancer brings a larger backlog of its own, which is F1's matter: at the same
backlog it is what else a load balancer does.
"""
TOLD = "HAProxy, queue of half a second"
"""Whose number is told: it queues, and turns away who has waited too long. Chosen before anything was measured."""
_SAME_BACKLOG = ", over backlog"
_NAMES: Mapping[str, str] = {OVERLOAD: "overload", BURST: "burst"}
_TIME = "wanted_p99_ms"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One way of using a load balancer on one stack, against the server alone."""

    condition: str
    better: bool | None
    """None where there are too few storms, chance may have made it, or this host's own input queue."""
    said: str
    change: Interval | None


def a3(evidence: Evidence) -> Verdict:
    """Does a load balancer that queues or turns away help, in an overload and in a burst?"""
    runs = {plan: _storms(evidence, plan) for plan in (OVERLOAD, BURST)}
    if all(storms.empty for storms in runs.values()):
        return pending("A3")
    compared = [
        storms[storms["variant"].isin({*ADVISED[plan], *ADVISED[plan].values()})] for plan, storms in runs.items()
    ]
    used = pd.concat(compared, ignore_index=True)
    found = [comparison for plan, storms in runs.items() for comparison in _comparisons(storms, plan)]
    findings = [Finding(one.condition, one.better) for one in found]
    if not any(finding.holds is not None for finding in findings):
        reason = "There are too few storms with and without a load balancer, what they show may be chance, or this "
        reason += "host's own input queue dropped packets."
        return undecided("A3", reason, pd.concat(runs.values(), ignore_index=True))
    statement = _overloaded(runs[OVERLOAD]) + "".join(
        f" {lead}: {'; '.join(f'{one.condition}, {one.said}' for one in found if one.better is holds)}."
        for lead, holds in (("It helps with", True), ("It does not, or does harm, with", False))
        if told(findings, holds)
    )
    if any(finding.holds is None for finding in findings) and not all(clean(storms) for storms in compared):
        statement += " Where this host's own input queue dropped packets, gains and losses of time are not decided."
    burst = runs[BURST]
    if len(burst) and burst["wide"].all():
        statement += " In the burst this host's input queue was opened wide."
    behind = burst.loc[burst["variant"].isin(list(ADVISED[BURST])), "front_backlog_effective"].dropna()
    if len(behind):
        ends = " to ".join(f"{count:,.0f}" for count in sorted({behind.min(), behind.max()}))
        shown = [one.condition for one in found if one.better and one.condition.endswith(_SAME_BACKLOG)]
        statement += f" The load balancer's own backlog was {ends} there; over a server that has a larger one "
        statement += f"itself it is shown to help {'with ' + '; '.join(shown) if shown else 'nowhere'}."
    own = next((one.change for one in found if one.condition.endswith(TOLD)), None)
    measure = f"answers a second while an overload lasts with {TOLD}, over those of the server alone"
    return decided("A3", findings, statement.strip(), (measure, "ratio"), own, used)


def _storms(evidence: Evidence, plan: str) -> pd.DataFrame:
    """With what became of their requests; with this host's input queue opened wide, where there are enough such storms.

    What that queue drops is the host's doing, not the load balancer's. Kinds are not mixed.
    """
    runs = evidence.of_plan(plan)
    opened = runs[runs["wide"] & runs["variant"].eq(ALONE[plan])].groupby("server").size()
    enough = len(opened) > 0 and opened.min() >= FEWEST_RUNS and len(opened) == runs["server"].nunique()
    return endings(with_options(runs[runs["wide"] == enough], "timeout_s"))


def _comparisons(runs: pd.DataFrame, plan: str) -> Iterator[Comparison]:
    compare = _in_overload if plan == OVERLOAD else _in_burst
    for server, storms in runs.groupby("server"):
        for variant, without in ADVISED[plan].items():
            against = "" if without == ALONE[plan] else f", over {without}"
            yield compare(f"{_NAMES[plan]}, {title(str(server))}, {variant}{against}", storms, variant, without)


def _in_overload(condition: str, runs: pd.DataFrame, variant: str, untouched: str) -> Comparison:
    """Answers a second while it lasts. Those that come after it are most where most wait, which helps nobody."""
    alone, changed = (runs[runs["variant"] == name] for name in (untouched, variant))
    change = ratio(runs, "good_per_s", "variant", variant, untouched)
    if change is None or limited(alone) or limited(changed):
        return Comparison(condition, None, "", None)
    said = f"answers a second × {with_ends(change.ratio.value, change.ratio.ends, 'ratio')}"
    return Comparison(condition, _fair(increases(change), alone, changed), said, change.ratio)


def _in_burst(condition: str, runs: pd.DataFrame, variant: str, untouched: str) -> Comparison:
    """More clients are answered, or about as many and sooner. Who is told no may be told soon."""
    alone, changed = (runs[runs["variant"] == name] for name in (untouched, variant))
    answered = difference(runs, "success_rate", "variant", variant, untouched)
    if answered is None:
        return Comparison(condition, None, "", None)
    time = None if limited(alone) or limited(changed) else _sooner(runs, variant, untouched, _TIME)
    more, sooner = gains(answered), None if time is None else reduces(time)
    by_share = bool(more) or answered.mean.high < -MATTERS
    if by_share:
        better, said = more, points(answered.mean)
    else:
        better = True if sooner else None if more is None or sooner is None else False
        said = f"99th percentile × {with_ends(time.ratio.value, time.ratio.ends, 'ratio')}" if time else ""
        if time and (median := _sooner(runs, variant, untouched, "wanted_p50_ms")):
            said += f", median × {with_ends(median.ratio.value, median.ratio.ends, 'ratio')}"
    own = by_share and not better and bool(changed["turned_away"].mean() > MATTERS)  # it says so itself, by its status
    return Comparison(condition, False if own else _fair(better, alone, changed), said, answered.mean)


def _sooner(runs: pd.DataFrame, variant: str, untouched: str, quantile: str) -> Effect | None:
    """Of a quantile, which is beyond the timeout where it lies among the unanswered; None where all do."""
    known = runs.assign(**{quantile: runs[quantile].astype(float).fillna(runs["timeout_s"] * 1000)})
    both = runs.loc[runs["variant"].isin([variant, untouched]), quantile]
    return None if both.isna().all() else ratio(known, quantile, "variant", variant, untouched)


def _fair(better: bool | None, alone: pd.DataFrame, changed: pd.DataFrame) -> bool | None:
    """What this host's input queue dropped may be what is mended; and what it dropped of twice the packets, no harm."""
    return better if clean(alone if better else changed) else None


def _overloaded(runs: pd.DataFrame) -> str:
    """How requests end in an overload, without a load balancer and in the way whose number is told."""
    shares = runs.groupby("variant", observed=True)[["success_rate", "timed_out", "turned_away", "good_per_s"]].mean()
    if not {ALONE[OVERLOAD], TOLD} <= set(shares.index):
        return ""
    alone, queued = shares.loc[ALONE[OVERLOAD]], shares.loc[TOLD]
    said = f"In an overload the server alone answers {alone['success_rate']:.1%} of all requests, and "
    said += f"{alone['timed_out']:.1%} time out; with {TOLD} it answers {queued['success_rate']:.1%}, "
    said += f"{queued['timed_out']:.1%} time out, and {queued['turned_away']:.1%} are told no. While the load lasts "
    return said + f"these are {alone['good_per_s']:,.0f} and {queued['good_per_s']:,.0f} answers a second."
