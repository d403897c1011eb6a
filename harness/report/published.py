"""What the notebook on the original benchmark says in words, computed from its attacks and storms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.errors import MachineError
from harness.inference import unpaired_p
from harness.report import conditions as tell
from harness.report.notebook import mean_and_interval, percent, span
from harness.report.tables import quantile
from harness.stats import TIMELINE_STEP_S

SHARE = "{:.1%}".format
HALF = (0.45, 0.55)
UNTREATED, PRINTED = "untreated", ("socket2, 4096", "socket2, 4096, left blocking")
"""Of the remedies: the program without any, and with the backlog as printed, on Tokio."""
LONGEST_OUTPUT = 30
"""Lines of a tool's own output that are shown, histograms left out."""


def seen_from_outside(attacks: pd.DataFrame) -> pd.DataFrame:
    """What a tool said beside what the kernel counted, a row for each kind of attack."""
    rows = []
    for _, same in attacks.groupby("plan_hash", sort=False):
        first = same.iloc[0]
        moved = pd.DataFrame(same["counters"].to_list()).reindex(columns=["ListenOverflows", "lo_rx_dropped"]).fillna(0)
        rows.append(
            {
                "server": f"{first['server']} on {first['addresses'] or 'nothing'}",
                "tool": first["tool"],
                "at": first["target"],
                "attacks": len(same),
                "answered": mean_and_interval(same["success_rate"], percent),
                "failed as": tell.told(tell.mean_shares(same["kinds"], same["requests"])),
                "SYNs to 127.0.0.1": span(same["syns_ipv4"], "{:,.0f}".format),
                "SYNs to [::1]": span(same["syns_ipv6"], "{:,.0f}".format),
                "deepest queue seen": span(same["deepest_queue"], "{:,.0f}".format),
                "backlog": span(same["backlog"], "{:,.0f}".format),
                "ListenOverflows": span(moved["ListenOverflows"], "{:,.0f}".format),
            }
        )
    return pd.DataFrame(rows)


def why_lacking(tools: Sequence[str]) -> str:
    """A sentence on tools that were planned and could not be had; empty for none."""
    if not tools:
        return ""
    return (
        " What is missing could not be had on the machine that measured: `python -m harness.foreign` says why there, "
        "and tries again."
    )


def ipv4_only(attacks: pd.DataFrame) -> pd.Series:
    """Whether the server listened on 127.0.0.1 and nowhere else."""
    return attacks["addresses"] == "127.0.0.1"


def at_name(attacks: pd.DataFrame, old: str) -> pd.DataFrame:
    """The attacks of the ``old`` version at ``localhost``, on servers that listen on 127.0.0.1 only.

    Raises:
        MachineError: there is none.
    """
    found = attacks[ipv4_only(attacks) & (attacks["tool"] == old) & (attacks["target"] == "localhost")]
    if found.empty:
        raise MachineError(
            f"there is no attack of {old} on a server that listens on 127.0.0.1 only",
            "build what it takes with `python -m harness.foreign`",
        )
    return found


def address_answer(attacks: pd.DataFrame, old: str, requests: int) -> str:
    """Whether the published failure came back, with the generator's version and with the address."""
    deaf = ipv4_only(attacks)
    lines = []
    for (tool, target), same in attacks[deaf].groupby(["tool", "target"], sort=False):
        refused, failed = int(refused_on_ipv6(same).sum()), int((same["requests"] - same["answered"]).sum())
        kind = f"; {refused:,} of {failed:,} failures are refusals on `[::1]`" if failed else ""
        answered, servers = mean_and_interval(same["success_rate"], percent), ", ".join(dict.fromkeys(same["server"]))
        lines.append(
            f"- **{tool} at `{target}`**, servers on 127.0.0.1 only ({servers}): {answered} of about {requests:,} "
            f"requests answered{kind}."
        )
    for server, same in attacks[~deaf].groupby("server", sort=False):
        answered, versions = span(same["success_rate"], percent), same["tool"].nunique()
        lines.append(
            f"- **{server}, dual stack**, at `localhost`: {answered} with each of {versions} versions, of which {old} "
            f"sent {_ipv6_share(same[same['tool'] == old])} of its SYNs to `[::1]`."
        )
    mine = at_name(attacks, old)
    room = (mine["backlog"] + 1 - mine["deepest_queue"]).min()
    overflows = sum(moved.get("ListenOverflows", 0) for moved in mine["counters"])
    lines.append(
        f"- **The queue** of these servers was never seen with more than {mine['deepest_queue'].max():,.0f} "
        f"connections in it, which left room for {room:,.0f} more; it overflowed {overflows} times."
    )
    if mine["syns_ipv6"].notna().all():
        equal = int((mine["syns_ipv6"] == refused_on_ipv6(mine)).sum())
        lines.append(
            f"- **The kernel** saw as many SYNs leave for `[::1]` as the tool says were refused there, in {equal} of "
            f"{len(mine)} attacks."
        )
    return "\n".join(lines)


def runner_answer(attacks: pd.DataFrame, chances: pd.DataFrame, old: str, low: float, high: float) -> str:
    """Whether a runner that does not wait makes the published pattern, if Hyper alone is late."""
    same_way = attacks[(attacks["target"] == "localhost") & (attacks["tool"] == old)]
    in_time = same_way[~ipv4_only(same_way)].groupby("server", sort=False)["success_rate"].mean()
    late_s = chances["plan"].map(lambda plan: json.loads(plan)["late_s"])
    late = chances[(chances["tool"] == old) & late_s.notna()]
    shares = late.groupby(late_s, sort=True)["success_rate"].mean()
    near = [f"{seconds:g} s" for seconds, share in shares.items() if low <= share <= high]
    others = ", ".join(f"{server} {percent(share)}" for server, share in in_time.items())
    text = ", ".join(f"{seconds:g} s late {SHARE(share)}" for seconds, share in shares.items())
    whole = bool((in_time >= tell.WHOLE).all())
    return (
        f"With {old} at `localhost`, Hyper answers: {text}. In time, with the same generator: {others}. "
        f"Between {low:.0%} and {high:.0%}: {', '.join(near) or 'none'}. "
        + (
            "Were Hyper late and the others in time, these were the published shares; who was how late is not known."
            if near and whole
            else "So these are not the published shares."
        )
    )


def stuck_answer(attacks: pd.DataFrame) -> str:
    """Whether answers stop for good before the attack does, though the server goes on listening."""
    timed = attacks.assign(
        planned_s=[json.loads(plan)["seconds"] for plan in attacks["plan"]],
        last_s=[np.nan if steps is None else len(steps) * TIMELINE_STEP_S for steps in attacks["answers_per_step"]],
    )
    told = timed[timed["last_s"].notna() & (timed["target"] == "localhost")]
    stuck = told[(told["last_s"] < told["planned_s"] - 1) & told["server_ended"].isna()]
    text = f"In {len(stuck)} of {len(told)} attacks at `localhost` the answers stop for good before the attack does"
    if stuck.empty:
        return text + "."
    each = [
        f"{row['tool']}, {row['variant']}: the last answer after {row['last_s']:.1f} of {row['planned_s']} s, "
        f"{SHARE(row['success_rate'])} answered, {row['syns_ipv6']:,.0f} SYNs to `[::1]`"
        for row in stuck.to_dict("records")
    ]
    return (
        f"{text}: {'; '.join(each)}. From then on only `[::1]` is called. The program shuffles its one list of "
        "addresses in place for each connection, and for several at once without a lock: two such shuffles can leave "
        "one address in it twice. What share such an attack answers is a matter of when that happens."
    )


def stretches(conditions: pd.DataFrame) -> str:
    """``go none, node 5 to 7``: in how many stretches each server answered."""
    return ", ".join(f"{row['server']} {tell.pulses_told(row['pulses'])}" for _, row in conditions.iterrows())


def beside(storm: pd.DataFrame, attacks: pd.DataFrame) -> str:
    """One of the lab's runs in a paragraph, and the tools' own output below it."""
    run = storm.iloc[0]
    outcomes = {name: n for name, n in json.loads(run["outcomes"]).items() if n}
    causes = {name: n for name, n in json.loads(run["causes"]).items() if n}
    counted = {name: n for name, n in json.loads(run["counters"]).items() if name in _SHOWN}

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))

    latency = f"median {quantile(run['p50_ms'])}, 99th percentile {quantile(run['p99_ms'])}"
    lines = [
        f"**The lab**, `{run['run_id']}`: {listed(outcomes)}. By cause: {listed(causes)}. Latency of all requests: "
        f"{latency}. In the kernel: {listed(counted)}.",
        "",
    ]
    for _, attack in attacks.iterrows():
        output = [line for line in attack["output"].splitlines() if "|" not in line and "histogram" not in line]
        cut = [*output[:LONGEST_OUTPUT], "…"] if len(output) > LONGEST_OUTPUT else output
        lines += ["```", f"$ {attack['as_typed']}    # {attack['version']}", *cut, "```", ""]
    return "\n".join(lines)


_SHOWN = ("ListenOverflows", "ListenDrops", "TCPSynRetrans", "SyncookiesSent", "lo_rx_dropped")


def match_answer(everything: pd.DataFrame, near: pd.DataFrame, match: pd.DataFrame, low: float, high: float) -> str:
    """Whether any condition gives what was published: Hyper near 25 % while Go and Node.js answer all."""
    some = tell.any_run_within(everything, low, high)
    text = (
        f"Of {len(everything)} conditions {len(near)} answer between {low:.0%} and {high:.0%} in the mean; of "
        f"{len(some)} at least one run does. What was published is more: at the same time Go and Node.js answered "
        "everything. "
    )
    both, short, dropped = with_rivals(everything)
    shown = f"**{len(match)}** of them show that: {_named(match)}" if len(match) else "**none** shows that"
    text += f"Of the {both} conditions that were tried with Hyper and with both of them, {shown}. "
    text += f"In {short} of the {both} Go or Node.js answered less than everything, in {dropped} of these while this "
    return text + f"host's own input queue dropped packets of theirs. {_by_files(everything)}".strip()


def slower(pairs: pd.DataFrame) -> pd.DataFrame:
    """Where Hyper and Node.js were tried in the same way, as a table."""
    behind = (pairs["p50_ms"] > pairs["node p50_ms"]).where(pairs[["p50_ms", "node p50_ms"]].notna().all(axis=1))
    fewer = pairs["answered"] < pairs["node answered"]
    return pd.DataFrame(
        {
            "what": pairs["what"],
            "driven by": pairs["driven by"],
            "Hyper": pairs["server"],
            "Hyper answered": pairs["answered"].map(percent),
            "Node.js answered": pairs["node answered"].map(percent),
            "Hyper's median": pairs["p50_ms"].map(_median),
            "Node.js's median": pairs["node p50_ms"].map(_median),
            "fewer answered": fewer.map({True: "Hyper", False: ""}),
            "slower": behind.map({True: "Hyper", False: ""}).fillna("not told"),
        }
    )


def answers(
    attacks: pd.DataFrame,
    chances: pd.DataFrame,
    old: str,
    everything: pd.DataFrame,
    pairs: pd.DataFrame,
    match: pd.DataFrame,
    near: pd.DataFrame,
    low: float,
    high: float,
) -> list[str]:
    """The answer, a line for each question."""
    deaf = attacks[ipv4_only(attacks)]
    mine = deaf.index.isin(at_name(attacks, old).index)
    as_it_was, changed = deaf.loc[mine, "success_rate"], deaf.loc[~mine, "success_rate"]
    tried = deaf["server"].isin(deaf.loc[~mine, "server"])  # in more than one way
    p = unpaired_p(deaf.loc[mine & tried, "success_rate"].to_list(), changed.to_list())
    same = HALF[0] <= as_it_was.mean() <= HALF[1] and changed.mean() >= tell.WHOLE
    comes_back = "comes back" if same else "does not come back as it was"
    half = everything[everything["shares"].map(np.mean).between(*HALF)]
    refused = [next(iter(failures), "") == "refused on [::1]" for failures in half["failures"]]
    rivals = (
        f"With Go and Node.js at 100 % under the same condition, as published: {_named(match)}."
        if len(match)
        else "In none of these that was also tried with Go and Node.js did both answer everything, as published."
    )
    lines = [
        f"- **The published failure** {comes_back}: {old} at `localhost` gets {SHARE(as_it_was.mean())} from "
        f"servers on 127.0.0.1, and {SHARE(changed.mean())} with another version or the literal address (p = {p:.4f}, "
        f"permutation test over {tried.sum()} attacks on {', '.join(dict.fromkeys(deaf.loc[tried, 'server']))}). "
        + ("It is no matter of a backlog." if _shallow(deaf[mine]) else "But its queue was full at times."),
        f"- **50 %** ({HALF[0]:.0%} to {HALF[1]:.0%}) in {len(half)} conditions, {sum(refused)} of them mostly by "
        f"refusals on `[::1]`: {_named(half)}.",
        f"- **25 %** ({low:.0%} to {high:.0%}) in {len(near)}: {_named(near)}. {rivals}",
        "- **A runner that does not wait**. " + runner_answer(attacks, chances, old, low, high),
        "- **Stuck**. " + stuck_answer(pd.concat([attacks, chances], ignore_index=True)),
        _remedies_answer(everything),
        _pulses_answer(everything),
        slower_answer(pairs),
    ]
    return [line for line in lines if line]


def _pulses_answer(everything: pd.DataFrame) -> str:
    told = everything[[any(n is not None for n in each) for each in everything["pulses"]]]
    found = tell.in_pulses(told)
    of_all, many = Counter(told["server"]), Counter(found["server"])
    where = {server: "; ".join(same["group"] + ", " + same["condition"]) for server, same in found.groupby("server")}
    parts = [f"{server} in {many[server]} of {of_all[server]} ({where[server]})" for server in of_all if many[server]]
    return (
        f"- **Pulses** in {len(found)} of the {len(told)} conditions of which it can be told: "
        f"{', '.join(parts) or 'no server'}."
    )


def _remedies_answer(everything: pd.DataFrame) -> str:
    rows = everything[everything["group"].str.contains("remedies")].to_dict("records")
    parts = [
        f"{row['condition']} {SHARE(np.mean(row['shares']))}"
        + (f" (the server ended in {tell.ended(row)})" if row["ended"] else "")
        for row in rows
    ]
    said = f"- **The remedies, and the rest**, in the same storm: {'; '.join(parts) or 'none was run'}."
    shares = {row["condition"]: row["shares"] for row in rows}
    printed = [share for name, each in shares.items() if name in PRINTED for share in each]
    if not printed or UNTREATED not in shares:
        return said
    worse = sum(share < min(shares[UNTREATED]) for share in printed)
    return f"{said} With the printed backlog on Tokio {worse} of {len(printed)} were answered less than any untreated."


def slower_answer(pairs: pd.DataFrame) -> str:
    """Where Hyper's median is longer, and where it answers fewer, of the comparisons that ``against`` has."""
    known = pairs.dropna(subset=["p50_ms", "node p50_ms"])
    behind = known[known["p50_ms"] > known["node p50_ms"]]
    fewer = pairs[pairs["answered"] < pairs["node answered"]]
    return (
        f"- **Hyper slower than Node.js**: in {len(behind)} of {len(known)} comparisons by median latency"
        f"{_where(behind)}. Fewer answered: in {len(fewer)} of {len(pairs)}{_where(fewer)}."
    )


def _where(pairs: pd.DataFrame) -> str:
    """In which comparisons, apart those in which the server had ended, which is another thing than being slow."""
    named = [
        f"{len(some)} {lead} ({'; '.join(some['what'] + ', ' + some['server'])})"
        for lead, some in (
            ("with a server that lived", pairs[~pairs["ended"]]),
            ("with one that ended", pairs[pairs["ended"]]),
        )
        if len(some)
    ]
    return f": {', '.join(named)}" if named else ""


def with_rivals(everything: pd.DataFrame) -> tuple[int, int, int]:
    """Conditions tried with Hyper, Go and Node.js; in which one of the latter fell short; and with packets lost."""
    count = short = dropped = 0
    for _, same in everything.groupby(["group", "condition", "driven by"], sort=False):
        rivals = same[same["server"].isin(["go", "node"])]
        tried = int(same["server"].str.startswith("hyper").sum())
        if set(rivals["server"]) != {"go", "node"}:
            continue
        failing = rivals[rivals["shares"].map(np.mean) < tell.WHOLE]
        count += tried
        short += tried if len(failing) else 0
        dropped += tried if any(sum(lost) for lost in failing["dropped"]) else 0
    return count, short, dropped


def _by_files(everything: pd.DataFrame) -> str:
    """What the Hyper that ends when it runs out of files answers, by how many it may have; empty if not tried."""
    rows = everything[(everything["group"] == "storm, open files") & (everything["server"] == "hyper-2024")]
    if rows.empty:
        return ""
    shares = ", ".join(
        f"{SHARE(np.mean(row['shares']))} with {row['condition']} ({span(pd.Series(row['shares']), SHARE)})"
        for row in rows.to_dict("records")
    )
    return f"By its limit of open files hyper-2024 answers {shares}."


def _named(conditions: pd.DataFrame) -> str:
    names = []
    for row in conditions.to_dict("records"):
        driver = "" if row["driven by"] in row["condition"] else f", {row['driven by']}"
        names.append(f"{row['group']}, {row['condition']} ({row['server']}{driver}): {SHARE(np.mean(row['shares']))}")
    return "; ".join(names) or "no condition"


def _shallow(attacks: pd.DataFrame) -> bool:
    return bool((attacks["deepest_queue"] < attacks["backlog"]).all()) and not any(
        moved.get("ListenOverflows", 0) for moved in attacks["counters"]
    )


def _ipv6_share(attacks: pd.DataFrame) -> str:
    sent = attacks[["syns_ipv4", "syns_ipv6"]].sum()
    return SHARE(sent["syns_ipv6"] / sent.sum()) if sent.sum() else "an unknown share"


def refused_on_ipv6(attacks: pd.DataFrame) -> pd.Series:
    """Requests that were refused on the address where nobody listened."""
    return pd.Series([kinds.get("refused on [::1]", 0) for kinds in attacks["kinds"]], attacks.index)


def _median(value_ms: float) -> str:
    return "not told" if np.isnan(value_ms) else tell.quantile_or_beyond(value_ms)
