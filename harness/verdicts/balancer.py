"""A load balancer as the advice, A3: what a rate limit and a queue before the server do for those who ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from harness.effects import limited
from harness.inference import Difference, Effect
from harness.mitigations import endings
from harness.results import with_options
from harness.verdicts.evidence import MATTERS, Evidence, clean, difference, gains, ratio, reduces
from harness.verdicts.telling import decided, pending, points, title, undecided, with_ends
from harness.verdicts.verdict import Finding, Verdict, told

OVERLOAD, BURST = "07-balancer", "07-mitigations"
"""Plans: for seconds more than the server can do, and a storm that is over at once."""
ALONE: Mapping[str, str] = {OVERLOAD: "server alone", BURST: "as it comes"}
ADVISED: Mapping[str, tuple[str, ...]] = {
    OVERLOAD: (
        "HAProxy, queue",
        "HAProxy, queue of half a second",
        "HAProxy, 500 a second",
        "nginx, 500 a second",
        "nginx, 16 at the server",
    ),
    BURST: ("HAProxy, kept connections", "rate limit"),
}
"""Scenarios with what is advised: a queue before the server, a limit beyond which clients are told no, or both."""
TOLD = "HAProxy, queue of half a second"
"""Whose number is told: it queues, and turns away who has waited too long. Chosen before anything was measured."""
_NAMES: Mapping[str, str] = {OVERLOAD: "overload", BURST: "burst"}
_TIME = "wanted_p99_ms"


@dataclass(frozen=True)
class Comparison:
    """One way of using a load balancer on one stack, against the server alone; None where there are too few storms."""

    condition: str
    answered: Difference | None
    time: Effect | None
    """Of the 99th percentile; None too where the generator was the limit of one of the two."""
    clean_alone: bool
    """Whether this host's input queue dropped nothing in the storms without: what it drops may be what is mended."""
    clean_with: bool
    """And in those with a load balancer, through which each packet comes twice: its drops are not the balancer's."""

    @property
    def better(self) -> bool | None:
        """More clients are answered, or about as many and sooner."""
        if self.answered is None:
            return None
        more, sooner = gains(self.answered), None if self.time is None else reduces(self.time)
        if self.by_answered and not more:
            better: bool | None = False  # who is told no may be told soon
        else:
            better = True if more or sooner else None if more is None or sooner is None else False
        return better if (self.clean_alone and better) or (self.clean_with and not better) else None

    @property
    def by_answered(self) -> bool:
        """Whether it is the share of clients that decides, and not the time."""
        assert self.answered is not None
        return bool(gains(self.answered)) or self.answered.mean.high < -MATTERS


def a3(evidence: Evidence) -> Verdict:
    """Are more answered, or sooner, when a load balancer queues or turns away, in an overload and in a burst?"""
    runs = {plan: _storms(evidence, plan) for plan in (OVERLOAD, BURST)}
    if all(storms.empty for storms in runs.values()):
        return pending("A3")
    compared = [storms[storms["variant"].isin([ALONE[plan], *ADVISED[plan]])] for plan, storms in runs.items()]
    used = pd.concat(compared, ignore_index=True)
    found = [comparison for plan, storms in runs.items() for comparison in _comparisons(storms, plan)]
    findings = [Finding(one.condition, one.better) for one in found]
    if not any(finding.holds is not None for finding in findings):
        reason = "There are too few storms with and without a load balancer, what they show may be chance, or this "
        reason += "host's own input queue dropped packets."
        return undecided("A3", reason, pd.concat(runs.values(), ignore_index=True))
    statement = _overloaded(runs[OVERLOAD]) + "".join(
        f" {lead}: {'; '.join(_gain(one) for one in found if one.better is holds)}."
        for lead, holds in (("It helps with", True), ("It does not, or does harm, with", False))
        if told(findings, holds)
    )
    own = next((one for one in found if one.condition.endswith(TOLD)), None)
    interval = own.answered.mean if own is not None and own.answered is not None else None
    measure = f"more of all requests answered in an overload with {TOLD}"
    return decided("A3", findings, statement.strip(), (measure, "difference of shares"), interval, used)


def _storms(evidence: Evidence, plan: str) -> pd.DataFrame:
    """With what became of their requests; a quantile among the unanswered is beyond the timeout."""
    runs = evidence.of_plan(plan)
    runs = endings(with_options(runs, "timeout_s"))
    return runs.assign(**{_TIME: runs[_TIME].astype(float).fillna(runs["timeout_s"] * 1000)})


def _comparisons(runs: pd.DataFrame, plan: str) -> Iterator[Comparison]:
    for server, storms in runs.groupby("server"):
        alone = storms[storms["variant"] == ALONE[plan]]
        for variant in ADVISED[plan]:
            changed = storms[storms["variant"] == variant]
            answered = difference(storms, "success_rate", "variant", variant, ALONE[plan])
            time = None if limited(alone) or limited(changed) else ratio(storms, _TIME, "variant", variant, ALONE[plan])
            condition = f"{_NAMES[plan]}, {title(str(server))}, {variant}"
            yield Comparison(condition, answered, time, clean(alone), clean(changed))


def _gain(of: Comparison) -> str:
    """What is told of it: the measure that decided."""
    assert of.answered is not None
    if of.time is None or of.by_answered:
        return f"{of.condition}, {points(of.answered.mean)}"
    return f"{of.condition}, 99th percentile × {with_ends(of.time.ratio.value, of.time.ratio.ends, 'ratio')}"


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
