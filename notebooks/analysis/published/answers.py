"""The answers of the notebook on the original benchmark: what all conditions that were tried come to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.published import conditions as tell
from analysis.published.bands import HALF, Band, grazing, inside, within
from analysis.published.blame import fails
from analysis.published.rivals import ALIKE, OF_HYPER, against, as_demanded, as_published, beside_rivals
from analysis.published.told import SHARE, at_name, ipv4_only, late_answer, runner_answer, shallow, stuck_answer
from harness.page.interval import differs, worded
from harness.page.notebook import over_kinds, percent, span
from harness.thought.inference import mean_share

UNTREATED, PRINTED = "untreated", ("socket2, 4096", "socket2, 4096, left blocking")
"""Of the remedies: the program without any, and with the backlog as printed, on Tokio."""
BY_FILES = "storm, open files"
"""So begin the groups of conditions that differ in the server's limit of open files."""
ENDS = "hyper-2024"
"""The server of the time: it ends when it runs out of files."""


@dataclass(frozen=True)
class Tried:
    """What the answers are made of: two frames of attacks, and the table of all conditions."""

    address: pd.DataFrame
    """Attacks as published, and with one thing changed."""
    chances: pd.DataFrame
    """Attacks with what else the published set-up left to chance."""
    conditions: pd.DataFrame
    """As in :mod:`analysis.published.conditions`."""
    old: str
    """The published generator."""
    band: Band
    """Shares that count as the 25 % of the article."""

    @property
    def near(self) -> pd.DataFrame:
        """The conditions of which most runs lie in the band."""
        return within(self.conditions, self.band)

    @property
    def pairs(self) -> pd.DataFrame:
        """Hyper beside Node.js, where both were tried in the same way."""
        return against(self.conditions, ["hyper-today", ENDS], "node")


def match_answer(tried: Tried) -> str:
    """Whether any condition gives what was published: Hyper near 25 % while Go and Node.js answer all."""
    near, some = tried.near, grazing(tried.conditions, tried.band)
    beside = beside_rivals(tried.conditions)
    match = as_published(beside, tried.band)
    low, high = tried.band
    whole = beside["whole"].to_list()
    left_out = int((~as_demanded(tried.conditions)).sum())
    shown = f"**{len(match)}** of them show that: {_named(match, tried.band)}" if len(match) else "**none** shows that"
    text = (
        f"Of {len(tried.conditions)} conditions {len(near)} answer between {low:.0%} and {high:.0%} in most of their "
        f"runs; of {len(some)} more some runs do. What was published is more: at the same time Go and Node.js answered "
        f"everything, which here is {tell.WHOLE:.1%} or more. Of the {len(beside)} conditions that were tried with "
        f"Hyper and with both of them, {shown}. In {whole.count(False)} of the {len(beside)} Go or "
        f"Node.js fell short by themselves; in {whole.count(None)} it is undecided, as this host's own input queue "
        "dropped packets of what fell short. "
    )
    if left_out:
        text += f"Not among them are {left_out} conditions in which a tool sent far fewer requests than were wanted. "
    late = late_answer(tried.address, tried.chances, tried.old, tried.band)
    parts = [_missed(within(beside, tried.band), match), late, by_files(tried.conditions)]
    return text + " ".join(filter(None, parts))


def _missed(near: pd.DataFrame, match: pd.DataFrame) -> str:
    """The conditions with Hyper in the band that are no match, the nearest to one first; empty for none."""
    missed = near[~near.index.isin(match.index)].to_dict("records")
    ordered = sorted(missed, key=lambda row: -min(rival.answered for rival in row["rivals"]))
    parts = [
        f"{row['group']}, {row['condition']} ({row['server']} {percent(float(np.mean(row['shares'])))}, "
        f"{', '.join(map(str, row['rivals']))})"
        for row in ordered
    ]
    return f"The nearest that are no match: {'; '.join(parts)}." if parts else ""


def slower(pairs: pd.DataFrame) -> pd.DataFrame:
    """Where Hyper and Node.js were tried in the same way, as a table."""
    behind = (pairs["p50_ms"] > pairs["node p50_ms"]).where(pairs[["p50_ms", "node p50_ms"]].notna().all(axis=1))
    fewer = ["Hyper" if each is True else "undecided" if each is None else "" for each in pairs["fewer"]]
    return pd.DataFrame(
        {
            "what": pairs["what"],
            "driven by": pairs["driven by"],
            "Hyper": pairs["server"],
            "Hyper answered": pairs["answered"].map(percent),
            "Node.js answered": pairs["node answered"].map(percent),
            "Hyper's median": pairs["p50_ms"].map(_median),
            "Node.js's median": pairs["node p50_ms"].map(_median),
            "fewer answered": fewer,
            "slower": behind.map({True: "Hyper", False: ""}).fillna("not told"),
        }
    )


def answers(tried: Tried) -> list[str]:
    """The answer, a line for each question."""
    half, near, (low, high) = within(tried.conditions, HALF), tried.near, tried.band
    refused = [next(iter(failures), "") == "refused on [::1]" for failures in half["failures"]]
    match = as_published(beside_rivals(tried.conditions), tried.band)
    rivals = (
        f"With Go and Node.js at 100 % under the same condition, as published: {_named(match, tried.band)}."
        if len(match)
        else "In none of these that was also tried with Go and Node.js is it shown that both answer everything, as "
        "published."
    )
    lines = [
        _comes_back(tried),
        f"- **50 %** ({HALF[0]:.0%} to {HALF[1]:.0%} in most runs) in {len(half)} conditions, {sum(refused)} of them "
        f"mostly by refusals on `[::1]`: {_named(half, HALF)}.",
        f"- **25 %** ({low:.0%} to {high:.0%} in most runs) in {len(near)}: {_named(near, tried.band)}. {rivals}"
        f"{left_open(tried)}",
        "- **A runner that does not wait**. " + runner_answer(tried.address, tried.chances, tried.old, tried.band),
        "- **Stuck**. " + stuck_answer(pd.concat([tried.address, tried.chances], ignore_index=True)),
        _remedies_answer(tried.conditions),
        pulses_answer(tried.conditions),
        slower_answer(tried.pairs),
    ]
    return [line for line in lines if line]


def left_open(tried: Tried) -> str:
    """Of the conditions around a quarter those that the verdict does not count, by its own rule; empty for none."""
    names = []
    for row in tried.near[tried.near["server"].str.startswith(OF_HYPER)].to_dict("records"):
        same = (tried.conditions[ALIKE] == pd.Series({name: row[name] for name in ALIKE})).all(axis=1)
        node = tried.conditions[same & (tried.conditions["server"] == "node")]["shares"]
        theirs = mean_share(node.iloc[0]) if len(node) else None
        if not fails(mean_share(row["shares"]), mean_share(row["blameless"]), theirs):
            beside = f", Node.js {SHARE(theirs.value)}" if theirs else ""
            names.append(f"{row['group']}, {row['condition']} ({row['server']}{beside})")
    return f" Undecided in S2, which asks for fewer than Node.js answers: {'; '.join(names)}." if names else ""


def _comes_back(tried: Tried) -> str:
    deaf = tried.address[ipv4_only(tried.address)]
    mine = deaf.index.isin(at_name(tried.address, tried.old).index)
    as_it_was, changed = (over_kinds(attacks, "success_rate", "plan_hash") for attacks in (deaf[mine], deaf[~mine]))
    same = HALF[0] <= as_it_was.value <= HALF[1] and changed.value >= tell.WHOLE
    return (
        f"- **The published failure** {'comes back' if same else 'does not come back as it was'}: {tried.old} at "
        f"`localhost` gets {worded(as_it_was, percent)} from servers on 127.0.0.1, and {worded(changed, percent)} with "
        f"another version or the literal address{_on_each(deaf, mine)}. "
        + ("It is no matter of a backlog." if shallow(deaf[mine]) else "But its queue was full at times.")
    )


def _on_each(deaf: pd.DataFrame, mine: NDArray[np.bool_]) -> str:
    """Whether that differs on each server that was called in both ways; empty if there is none."""
    said = [
        f"{server} {differs(*(of_it.to_list() for _, of_it in attacks.groupby(mine[place])['success_rate']))}"
        for server, attacks in deaf.groupby("server", sort=False)
        if 0 < mine[place := deaf["server"].to_numpy() == server].sum() < place.sum()
    ]
    return f" (a difference on {'; '.join(said)})" if said else ""


def pulses_answer(everything: pd.DataFrame) -> str:
    """Which servers answer in pulses, and which in none, of the conditions of which it can be told."""
    told = everything[[any(n is not None for n in each) for each in everything["pulses"]]]
    found = tell.in_pulses(told)
    of_all, many = Counter(told["server"]), Counter(found["server"])
    where = {server: "; ".join(same["group"] + ", " + same["condition"]) for server, same in found.groupby("server")}
    parts = [f"{server} in {many[server]} of {of_all[server]} ({where[server]})" for server in of_all if many[server]]
    parts += [f"{server} in none of {of_all[server]}" for server in of_all if not many[server]]
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
    return (
        f"{said} In {worse} of {len(printed)} storms with the printed backlog on Tokio fewer were answered than in any "
        "untreated one."
    )


def slower_answer(pairs: pd.DataFrame) -> str:
    """Where Hyper's median is longer, and where it answers fewer, of the comparisons that ``against`` has."""
    known = pairs.dropna(subset=["p50_ms", "node p50_ms"])
    behind = known[known["p50_ms"] > known["node p50_ms"]]
    fewer, left = (pairs[[each is known_as for each in pairs["fewer"]]] for known_as in (True, None))
    undecided = f" In {len(left)} more it is undecided{_where(left)}." if len(left) else ""
    return (
        f"- **Hyper slower than Node.js**: in {len(behind)} of {len(known)} comparisons by median latency"
        f"{_where(behind)}. Fewer answered than by Node.js: in {len(fewer)} of "
        f"{len(pairs)}{_where(fewer)}.{undecided}"
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


def by_files(everything: pd.DataFrame) -> str:
    """What the Hyper that ends when it runs out of files answers, by how many it may have; empty if not tried."""
    mine = everything[everything["group"].str.startswith(BY_FILES) & (everything["server"] == ENDS)]
    said = []
    for group, rows in mine.groupby("group", sort=False):
        ground = str(group).removeprefix(BY_FILES)
        shares = ", ".join(
            f"{SHARE(np.mean(row['shares']))} with {row['condition']} (runs {span(pd.Series(row['shares']), SHARE)})"
            for row in rows.to_dict("records")
        )
        said.append(f"By its limit of open files{ground}{',' if ground else ''} {ENDS} answers {shares}.")
    return " ".join(said)


def ceiling(lab: pd.DataFrame) -> str:
    """What the most open files that a server could have here keep from being known, of the lab's storms."""
    most = lab["server_files_limit"].max()
    at_most = lab[lab["server_files_limit"] == most]
    names = pd.Series([tell.server_name(plan["server"]) for plan in at_most["plan"]], at_most.index)
    ended = (at_most["status"] != "complete") & (at_most["out_of_files_lines"] > 0)
    parts = [f"{name} in {over.sum()} of {len(over)} storms" for name, over in ended.groupby(names) if over.any()]
    said = f"No server has more than {most:,.0f} open files, which is this machine's own limit"
    if not parts:
        return f"{said}; none ended out of them."
    return (
        f"{said}. Out of them ended: {'; '.join(parts)}. No higher limit could be tried here: what these answer with "
        "enough files is not shown, here or in the verdicts C2, F1 and F3."
    )


def _named(conditions: pd.DataFrame, band: Band) -> str:
    """Each with the shares of its runs, and how many of these lie in the band where not all do."""
    names = []
    for row in conditions.to_dict("records"):
        driver = "" if row["driven by"] in row["condition"] else f", {row['driven by']}"
        within_it, runs = inside(row["shares"], band), len(row["shares"])
        counted = "" if within_it == runs else f", {within_it} of {runs} inside"
        shares = span(pd.Series(row["shares"]), SHARE)
        names.append(f"{row['group']}, {row['condition']} ({row['server']}{driver}): {shares}{counted}")
    return "; ".join(names) or "no condition"


def _median(value_ms: float) -> str:
    return "not told" if np.isnan(value_ms) else tell.quantile_or_beyond(value_ms)
