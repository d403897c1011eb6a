"""The listen backlog as the cause, C1, and as the fix, F1. Both are decided only where this host dropped nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.claims.evidence import Evidence
from analysis.claims.telling import decided, pending, title, undecided
from analysis.claims.verdict import Finding, Verdict, Word, of_gain, word
from analysis.published.conditions import out_of_files
from harness.page.audit import number
from harness.page.numbers import Unit, points
from harness.thought.comparing import MATTERS, difference, limited, without_drops
from harness.thought.runs import with_counters

SMALL, LARGE = 128, 4096
"""The article's two backlogs: what Rust asks for, and what it should ask for."""
RUST_STD, NODE, GO, TOKIO = "Rust std", "Node.js http", "Go net/http", "tokio"
"""Stacks as the audit calls them."""
CLAIMED = {RUST_STD: 128, NODE: 512}
"""What the article says they ask for; of Go it says the system's maximum."""
PAIRS = (("as it is", "larger backlog"), ("wide input queue", "larger backlog, wide input queue"))
"""Storms of 04 that differ in the backlog alone: without help by root, and with a raised netdev_max_backlog."""
STOPPED = "answers of a stopped Hyper"
HANDS = "07-accept-loops"
ONE_LOOP, TWO_LISTENERS, WITH_LARGE = "one loop", "two listeners", ", listen(4096)"
"""Scenarios of it, with the smaller backlog; and how the same with the larger one go on."""
ONE_WORKER = "one loop of one worker"
INSTEAD = ("two loops on one listener", TWO_LISTENERS, "two workers for each of two listeners", "four listeners")
"""What there is instead of a larger backlog: more hands, which empty the same small queue, or several."""
OF_ONE_WORKER: Mapping[str, Sequence[str]] = {"hyper": (TWO_LISTENERS, "four listeners")}
"""Where each listener has a thread of its own, and one listener alone has two, so that they are held against
:data:`ONE_WORKER`. Go has as many threads for all of them (harness/servers/README.md, accept loops)."""
REMEDIES = "08-remedies"
PRINTED = ("untreated", "socket2, 4096")
"""Scenarios of it: the published program, rewritten, which ends when it runs out of files; and with the backlog as
printed."""

_UNIT: Unit = "difference of shares"
_LEADS: Mapping[Word, str] = {
    "reproduced": "A small backlog is a cause",
    "true_under_conditions": "A small backlog is a cause under some conditions",
    "not_reproduced": "A small backlog is no cause that matters",
}


def c1(evidence: Evidence) -> Verdict:
    """Does a larger backlog take the failure away, who asks for how much, and is anybody refused beyond it?"""
    every = evidence.of_plan("04-root-cause")
    plane = evidence.of_plan("02-backlog-plane", "backlog", "stall_ms", "rate")
    if every.empty and plane.empty:
        return pending("C1")
    stopped, overfull = without_drops(every), without_drops(plane[_overflows(plane)])
    both = [difference(stopped, "success_rate", "variant", large, small) for small, large in PAIRS]
    changes = {
        STOPPED: next((change for change in both if change is not None), None),
        "answers at the first try after a stall at a steady rate": difference(
            overfull, "first_try_share", "backlog", LARGE, SMALL, ("stall_ms",)
        ),
    }
    known = {name: change for name, change in changes.items() if change is not None}
    findings = [of_gain(name, change) for name, change in known.items()]
    if not any(finding.holds is not None for finding in findings):
        return undecided("C1", _no_ground("a full queue"), pd.concat([every, plane]))
    is_cause = word(findings)
    refusals, sentence, counted = _refused(evidence)
    if is_cause != "not_reproduced":  # only then it matters what else is said of it
        findings += [Finding("refusal", refusals), Finding("what they ask for", _as_claimed(evidence))]
    statement = f"{_LEADS[is_cause]}. What a larger one brings: "
    statement += "; ".join(f"{points(change.mean)} in {name}" for name, change in known.items())
    name, change = next(iter(known.items()))
    statement = f"{statement}. {sentence} {_asked(evidence)}"
    of_pairs = stopped[stopped["variant"].isin([variant for pair in PAIRS for variant in pair])]
    behind = of_pairs if name == STOPPED else overfull
    return decided(
        "C1",
        findings,
        statement,
        (f"{name}, with a larger backlog", _UNIT),
        change.mean,
        pd.concat([stopped, overfull, counted]),
        value_runs=behind["run_id"],
    )


def f1(evidence: Evidence) -> Verdict:
    """Does ``listen(4096)`` instead of 128 bring more clients through at the first try?

    In real storms, the stacks together, by who has the CPUs; at a steady rate by whether 128 overflows at all; and on
    single stacks with one loop that accepts and with two listeners, beside what more hands bring without it.
    """
    storms = evidence.of_plan("02-backlog-storms", "backlog")
    plane = evidence.of_plan("02-backlog-plane", "backlog", "stall_ms", "rate")
    every = pd.concat([runs[runs["backlog"].isin([SMALL, LARGE])] for runs in (storms, plane)])
    hands = evidence.of_plan(HANDS, "backlog")
    if every.empty and hands.empty:
        return pending("F1")
    used = without_drops(every)
    shared_out, left_out = _by_generator(without_drops(hands[hands["wide"]]))
    real, steady = used[used["rate"].isna()], used[used["rate"].notna()]
    groups = {f"storms on {cpu} CPUs": real[real["cpu"] == cpu] for cpu in ("shared", "disjoint")}
    groups["a stall that overfills 128"] = steady[_overflows(steady)]
    groups["a stall that 128 holds"] = steady[~_overflows(steady)]
    alike = ["server", "wide", "stall_ms"]
    found = {
        name: difference(runs.fillna({"stall_ms": 0}), "first_try_share", "backlog", LARGE, SMALL, alike)
        for name, runs in groups.items()
    }
    for server, storms in shared_out.groupby("server"):
        for way in (ONE_LOOP, TWO_LISTENERS):
            both = storms[storms["variant"].isin([way, way + WITH_LARGE])]
            found[f"storms on {title(str(server))}, {way}"] = difference(
                both, "first_try_share", "backlog", LARGE, SMALL
            )
    known = {name: change for name, change in found.items() if change is not None}
    findings = [of_gain(name, change) for name, change in known.items()]
    if not any(finding.holds is not None for finding in findings):
        return undecided("F1", _no_ground("both backlogs"), pd.concat([every, hands]))
    statement = "Answered at the first try with listen(4096) instead of 128: "
    statement += "; ".join(f"{points(change.mean)} with {name}" for name, change in known.items()) + "."
    printed = evidence.of_plan(REMEDIES)
    printed = printed[printed["variant"].isin(PRINTED)]
    statement += _not_cured(real) + _instead(shared_out) + _left_out(left_out) + _as_printed(printed)
    name, change = next(iter(known.items()))
    measure = f"answers at the first try with listen(4096), {name}"
    behind = groups.get(name, shared_out)
    return decided(
        "F1",
        findings,
        statement,
        (measure, _UNIT),
        change.mean,
        pd.concat([used, shared_out, printed]),
        value_runs=behind["run_id"],
    )


def _overflows(plane: pd.DataFrame) -> pd.Series:
    """Whether more connections arrive in the stall than the smaller backlog, and one, has room for."""
    return plane["rate"] * plane["stall_ms"] / 1000 > SMALL + 1


def _refused(evidence: Evidence) -> tuple[bool | None, str, pd.DataFrame]:
    """Of the clients of all storms whose accept queue overflowed: is anybody refused, in words, and the storms counted.

    It is decided where the server lived, as nobody listens any more where it ended; that is counted beside it.
    """
    runs = with_counters(without_drops(evidence.runs), "ListenOverflows")
    runs = runs[runs["ListenOverflows"] > 0]
    lived, ended = runs[runs["status"] == "complete"], runs[runs["server_ended"].notna()]
    if lived.empty:
        return None, "No storm with an overflow tells whether clients are refused.", lived
    refused = _refusals(lived)
    sentence = f"Refused were {f'{refused:,}' if refused else 'none'} of {lived['planned'].sum():,} clients in "
    sentence += f"{len(lived):,} storms whose queue overflowed and whose server lived"
    sentence += "." if refused else ": what does not fit is dropped unanswered."
    if len(ended):
        sentence += f" In {len(ended):,} more the server ended, and then {_refusals(ended):,} of "
        sentence += f"{ended['planned'].sum():,} were refused, as nobody listened."
    return refused > 0, sentence, pd.concat([lived, ended])


def _refusals(storms: pd.DataFrame) -> int:
    return sum(outcomes.get("refused", 0) for outcomes in storms["outcomes"])


def _as_claimed(evidence: Evidence) -> bool | None:
    """Whether the audited stacks ask for what the article says."""
    go = [row["follows_somaxconn"] for row in evidence.audit if row["stack"] == GO]
    asked = {stack: _asked_by(evidence, stack) for stack in CLAIMED}
    if not go or not all(asked.values()):
        return None
    return all(go) and all(set(asked[stack].values()) == {claimed} for stack, claimed in CLAIMED.items())


def _asked(evidence: Evidence) -> str:
    """What they ask for, Tokio's listener, which is Hyper's, release by release."""
    said = [f"{stack} {_values(_asked_by(evidence, stack))}" for stack in (RUST_STD, GO, NODE, TOKIO)]
    return f"Asked for, by the audit: {'; '.join(said)} (Hyper's listener, by release; −1 is the system's maximum)."


def _asked_by(evidence: Evidence, stack: str) -> Mapping[str, int | None]:
    return {row["version"]: row["backlog_asked"] for row in evidence.audit if row["stack"] == stack}


def _values(asked: Mapping[str, int | None]) -> str:
    return ", ".join(dict.fromkeys(map(number, asked.values()))) or "not audited"


def _not_cured(real: pd.DataFrame) -> str:
    """Whom the larger backlog still lets wait."""
    still = real[real["backlog"] == LARGE].groupby("server")["first_try_share"].median()
    waiting = [f"{share:.0%} of {title(str(server))}'s" for server, share in still.items() if share < 1 - MATTERS]
    who = " and ".join(waiting)
    return f" Even so, in the median storm, only {who} clients were answered at the first try." if waiting else ""


def _instead(shared_out: pd.DataFrame) -> str:
    """What more accepting hands bring with the smaller backlog."""
    both = {}
    for server, storms in shared_out.groupby("server"):
        for ways in INSTEAD:
            base = ONE_WORKER if ways in OF_ONE_WORKER.get(str(server), ()) else ONE_LOOP
            name = f"{ways}{_room(storms[storms['variant'] == ways])} over {base} ({title(str(server))})"
            both[name] = difference(storms, "first_try_share", "variant", ways, base)
    told = [f"{points(change.mean)} with {ways}" for ways, change in both.items() if change is not None]
    said = f" More accepting hands instead, where each listener is a queue of its own, at a backlog of {SMALL}: "
    return f"{said}{'; '.join(told)}." if told else ""


def _room(storms: pd.DataFrame) -> str:
    """What several listeners are besides hands: more room."""
    rooms = (storms["backlog_effective"] * storms["listeners"]).dropna()
    return f", room for {rooms.iloc[0]:,.0f}," if len(rooms) and (storms["listeners"] > 1).all() else ""


def _as_printed(storms: pd.DataFrame) -> str:
    """In how many storms the published program ended with its remedy, and without; empty where neither was run.

    This says nothing of a backlog by itself: the larger one lets more in than there may be files.
    """
    ended = (storms["status"] != "complete").groupby(storms["variant"], observed=True)
    if not set(PRINTED) <= set(ended.groups):
        return ""
    said = [f"in {ended.get_group(name).sum()} of {ended.get_group(name).size} storms ({name})" for name in PRINTED]
    why = out_of_files(storms)
    return (
        f" The published program, rewritten, ended in the storm of {storms['clients'].iloc[0]:,} {' and '.join(said)}"
        f"{f', {why}' if why else ''}."
    )


def _by_generator(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The kinds in which the generator was not the limit, and those in which it was.

    Where clients come more slowly, fewer have to wait.
    """
    limiting = [plan_hash for plan_hash, storms in runs.groupby("plan_hash", sort=False) if limited(storms)]
    out = runs["plan_hash"].isin(limiting)
    return runs[~out], runs[out]


def _left_out(limiting: pd.DataFrame) -> str:
    """The kinds of which nothing is said, with their median share of first tries; empty if there are none."""
    kinds = [
        f"{variant} ({title(str(server))}) at {storms['first_try_share'].median():.0%}"
        for (variant, server), storms in limiting.groupby(["variant", "server"], sort=False, observed=True)
    ]
    return f" Left out, as the generator was the limit: {', '.join(kinds)}." if kinds else ""


def _no_ground(what: str) -> str:
    return (
        f"There are too few storms with {what} in which this host's own input queue dropped nothing, and from others "
        "nothing follows of a backlog. Root can widen that queue: --host-sysctl net.core.netdev_max_backlog=100000."
    )
