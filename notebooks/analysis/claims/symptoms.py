"""What the article saw: S1, S2 and S4; its pulses, S3, are in :mod:`analysis.claims.pulses`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.claims import published
from analysis.claims.evidence import Evidence, kinds
from analysis.claims.telling import decided, pending, quoted, title, undecided
from analysis.claims.verdict import Finding, Verdict, word
from analysis.overflow.pulses import FIRST_TIMEOUT_S
from analysis.published.blame import FAILING, fails
from harness.page.notebook import percent
from harness.page.numbers import Unit, with_spread
from harness.page.tables import quantile
from harness.thought.comparing import beyond, limited, nothing_dropped, ratio
from harness.thought.inference import CONFIDENCE, FEWEST_RUNS, Effect, Interval, mean_of_runs, mean_share

STEADY_MS = FIRST_TIMEOUT_S * 1000
"""A latency beyond it has waited for a SYN to be sent again."""
_ANSWERS = " answers all, "
KEPT = "01-kept-connections"
"""Ten kept connections for some ten seconds."""


def s1(evidence: Evidence) -> Verdict:
    """Kept connections: the ratio of speeds, block by block, in each CPU regime and to each rival."""
    runs = evidence.of_plan(KEPT)
    runs = runs[runs["server"].isin(["hyper", "go", "node"])]
    if set(runs["server"]) != {"hyper", "go", "node"}:
        return pending("S1")
    findings, measured, withheld = [], {}, 0
    for regime, storms in runs.groupby("cpu", sort=False):
        for rival in ("go", "node"):
            found, condition = _of_hyper(storms, "throughput_per_s", rival), f"{title(rival)}'s, {regime} CPUs"
            withheld += _generators(storms, rival)
            findings.append(Finding(condition, _above_one(found)))
            if found is not None:
                measured[condition] = found.ratio
    if word(findings) == "undecidable_here":
        of_server = runs["generator"].eq("limiting").groupby(runs["server"])
        often = ", ".join(f"{title(str(server))} {said.sum()} of {len(said)}" for server, said in of_server)
        reason = f"{withheld} of {len(findings)} comparisons of speed are withheld: the generator was the limit "
        reason += f"(storms: {often}), and what is measured then is not the server's speed."
        reason += f" {len(findings) - withheld} more may be chance." if withheld < len(findings) else ""
        return undecided("S1", reason, runs)
    ratios = [f"{with_spread(at, 'ratio')} times {condition}" for condition, at in measured.items()]
    least = min(measured.values(), key=lambda interval: interval.value)
    measure = "Hyper's answers a second, as a multiple of a rival's; the smallest"
    statement = f"Hyper's answers a second are {', '.join(ratios)}."
    return decided("S1", findings, statement, (measure, "ratio"), least, runs, value_runs=runs["run_id"])


def s2(evidence: Evidence) -> Verdict:
    """The short storm and the published attack: how many Hyper answers, and whether it takes longer than Node.js."""
    runs = evidence.of_plan("01-stack-comparison", "timeout_s")
    runs = runs[runs["scenario"] == "short"]
    # A median among the unanswered is beyond the timeout; where it counts as that, a server that fails looks better.
    runs = runs.assign(p50_ms=runs["p50_ms"].fillna(runs["timeout_s"] * 1000))
    hyper, node = (runs[runs["server"] == name] for name in ("hyper", "node"))
    if hyper.empty or node.empty:
        return pending("S2")
    smaller = _at_default(evidence, ["hyper"])
    findings, measured, times, holding = [], {}, [], {}
    for kind, storms in [*kinds(hyper), *kinds(smaller)]:
        answered = measured[kind] = mean_share(storms["success_rate"].to_list())
        little = beyond(-answered.high, -answered.low, -FAILING)
        findings.append(Finding(kind, None if little and not nothing_dropped(storms) else little))
        holding[kind] = tuple(storms["success_rate"])
    for regime, storms in runs.groupby("cpu", sort=False):
        slower = _of_hyper(storms, "p50_ms", "node")
        findings.append(Finding(f"slower than Node.js in the median, {regime} CPUs", _above_one(slower)))
        if slower is not None:
            times.append(f"{with_spread(slower.ratio, 'ratio')} with {regime} CPUs")
    attacks = [kind for kind, _ in published.under_its_generator(evidence)]
    others = [*attacks, *published.in_the_storm(evidence)]
    findings += [Finding(kind.name, fails(kind.answered, kind.blameless, kind.node)) for kind in others]
    holding |= {kind.name: kind.shares for kind in others}
    used = pd.concat([hyper, smaller, node])
    ids = {run_id for kind in others for run_id in kind.run_ids}
    ids |= {run_id for plan in published.STORMS for run_id in published.recorded_storms(evidence, plan)["run_id"]}
    if word(findings) == "undecidable_here":
        reason = f"{_too_few()} And what fails where this host dropped packets is not decided."
        return undecided("S2", reason, used, ids)
    worst = min(measured, key=lambda kind: measured[kind].value)
    holds = [finding.condition for finding in findings if finding.holds]
    failing = {kind: holding[kind] for kind in holds if kind in holding}
    statement = f"{published.quarter(failing)} " if failing else ""
    statement += f"{published.told(evidence)} " if attacks else ""
    statement += f"Of {len(measured)} kinds of storm on the lab's Hyper it fared worst in “{worst}” and answered "
    statement += f"{percent(measured[worst].value)} there, with its default backlog of "
    statement += f"{hyper['backlog_effective'].iloc[-1]:,.0f}. Node.js answered "
    of_node = node.groupby("cpu", sort=False)["success_rate"].mean()
    statement += ", ".join(f"{percent(share)} with {regime} CPUs" for regime, share in of_node.items()) + "."
    statement += f" Hyper's median latency is, over that of Node.js: {'; '.join(times)}." if times else ""
    if failing:
        statement += f" It holds, with fewer than {FAILING:.0%} answered and fewer than by Node.js where that was "
        statement += f"tried, for these and for: {published.by_band(failing)}."
    if slow := [condition for condition in holds if condition not in holding]:
        statement += f" And: {'; '.join(slow)}."
    statement += f" {said}" if (said := published.matched(evidence)) else ""
    measure, found = "answered by Hyper in its worst kind of storm", measured[worst]
    behind = next(tuple(storms["run_id"]) for kind, storms in [*kinds(hyper), *kinds(smaller)] if kind == worst)
    if as_published := next((kind for kind in attacks if kind.name == published.AS_PUBLISHED), None):
        measure, found = f"answered by Hyper, {published.AS_PUBLISHED}, as published", as_published.answered
        behind = as_published.run_ids
    measure += "; the article has 25 %"
    return decided("S2", findings, statement, (measure, "share"), found, used, more_runs=ids, value_runs=behind)


def s4(evidence: Evidence) -> Verdict:
    """Go and Node.js at their default backlogs: is everybody answered, and does the slowest hundredth stay below?

    Under the published generator, in the storms of 01 and 02, and in those that S2 has on the published program. The
    number told is of the storms of 01 and 02: elsewhere the demand is small, or the timeout is varied, and where that
    is short no quantile lies beyond it.
    """
    runs = evidence.of_plan("01-stack-comparison")
    runs = runs[(runs["scenario"] == "short") & runs["server"].isin(["go", "node"])]
    if set(runs["server"]) != {"go", "node"}:
        return pending("S4")
    own = pd.concat([runs, _at_default(evidence, ["go", "node"])])
    of_text = pd.concat([published.recorded_storms(evidence, plan) for plan in published.STORMS])
    attacks = published.on_rivals(evidence)
    findings = [finding for attack in attacks for finding in _under_attack(attack)]
    said, undecided_kinds = [], []
    slowest: list[tuple[Interval, str, pd.Series]] = []
    for server, storms_of_server in own.groupby("server"):
        name, answered, steady = title(str(server)), [], []
        beside = [(kind, storms) for _, kind, storms in published.kinds_of(of_text[of_text["server"] == server])]
        usual = [*kinds(storms_of_server)]
        for kind, storms in [*usual, *beside]:
            p99_ms = storms["p99_ms"].fillna(np.inf)
            answered.append(Finding(f"{name}{_ANSWERS}{kind}", _always(storms["success_rate"] == 1, storms)))
            fast = None if limited(storms) else _always(p99_ms <= STEADY_MS, storms)
            steady.append(Finding(f"{name}'s latency, {kind}", fast))
            if fast is not None and kind in dict(usual):
                slowest.append((_mean_ms(p99_ms), f"{name}, {kind}", storms["run_id"]))
        findings += answered + steady
        if left := [finding.condition.partition(_ANSWERS)[2] for finding in answered if finding.holds is None]:
            undecided_kinds.append(f"{name} with {', '.join(map(quoted, left))}")
        said.append(
            f"{name} answered everybody in {_count(answered)}, and its 99th percentile stayed within "
            f"{quantile(STEADY_MS)} in {_count(steady)}{_failing(answered)}"
        )
    used = pd.concat([own, of_text[of_text["server"].isin(["go", "node"])]])
    ids = {run_id for attack in attacks for run_id in attack["run_id"]}
    if word(findings) == "undecidable_here":
        return undecided("S4", f"{_too_few()} Or the generator was the limit.", used, ids)
    statement = f"{said_of_attacks} " if (said_of_attacks := published.told_of_rivals(attacks)) else ""
    statement += f"In the lab's storms: {'; '.join(said)}. Undecided is a kind with too few storms, with the generator "
    statement += "as the limit, or that falls short while this host's own input queue drops packets, or in some storms "
    statement += "only."
    if undecided_kinds:
        statement += f" Whether everybody is answered is undecided for {'; '.join(undecided_kinds)}."
    none = (None, "none is decided", pd.Series(dtype=str))
    worst, where, behind = max(slowest, key=lambda found: found[0].value, default=none)
    measure = f"99th percentile of latency, the slowest that decides: {where}"
    in_ms: tuple[str, Unit] = (measure, "ms")
    return decided("S4", findings, statement, in_ms, worst, used, name_open=False, more_runs=ids, value_runs=behind)


def _under_attack(attacks: pd.DataFrame) -> Iterator[Finding]:
    """Attacks of one kind on one server: whether every request is answered, and whether at a steady latency."""
    first = attacks.iloc[0]
    name, kind = title(str(first["server"])), f"{first['tool']} at {first['target']}"
    yield Finding(f"{name}{_ANSWERS}{kind}", _always(attacks["success_rate"] == 1, attacks))
    yield Finding(f"{name}'s latency, {kind}", _always(attacks["p99_ms"].fillna(np.inf) <= STEADY_MS, attacks))


def _at_default(evidence: Evidence, servers: list[str]) -> pd.DataFrame:
    """The smaller storms of 02 at the servers' own backlogs, half of them with a raised netdev_max_backlog."""
    runs = evidence.of_plan("02-backlog-storms")
    return runs[(runs["variant"] == "default") & runs["server"].isin(servers)]


def _of_hyper(storms: pd.DataFrame, measure: str, rival: str) -> Effect | None:
    """Hyper's speed over another's, withheld where it is the generator's."""
    return None if _generators(storms, rival) else ratio(storms, measure, "server", "hyper", rival)


def _generators(storms: pd.DataFrame, rival: str) -> bool:
    """Whether the generator was the limit of one of the two."""
    return any(limited(storms[storms["server"] == name]) for name in ("hyper", rival))


def _above_one(found: Effect | None) -> bool | None:
    """Whether a ratio is above one; not decided where chance may have made it."""
    if found is None or found.p >= 1 - CONFIDENCE:
        return None
    return beyond(found.ratio.low, found.ratio.high, 1.0)


def _always(good: pd.Series, storms: pd.DataFrame) -> bool | None:
    """Whether all storms of a kind are good; against a server speaks only most of a kind, on clean ground."""
    if len(storms) < FEWEST_RUNS:
        return None
    return True if good.all() else False if good.mean() < 0.5 and nothing_dropped(storms) else None


def _count(findings: list[Finding]) -> str:
    """``4 of 14 kinds of storm, 8 undecided``."""
    open_ones = sum(finding.holds is None for finding in findings)
    said = f"{sum(finding.holds is True for finding in findings)} of {len(findings)} kinds of storm"
    return f"{said}, {open_ones} undecided" if open_ones else said


def _failing(findings: list[Finding]) -> str:
    """The kinds in which most storms left somebody without an answer, on clean ground; empty for none."""
    kinds_failing = [finding.condition.partition(_ANSWERS)[2] for finding in findings if finding.holds is False]
    return f"; not everybody in: {', '.join(map(quoted, kinds_failing))}" if kinds_failing else ""


def _mean_ms(latencies_ms: pd.Series) -> Interval:
    """Among the unanswered a quantile has no end."""
    if np.isinf(latencies_ms).any():
        return Interval(np.inf, np.inf, np.inf, len(latencies_ms))
    return mean_of_runs(latencies_ms.to_list())


def _too_few() -> str:
    return f"It takes {FEWEST_RUNS} storms of a kind to say anything of it."
