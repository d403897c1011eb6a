"""What is said of load balancers: that they were used, how requests ended, who queued, and where the work went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import pandas as pd

from analysis.mitigations.policies_told import shares, times
from analysis.mitigations.ways import BETTER, SAYS_WHY, TURNED_AWAY, Found, compared
from analysis.mitigations.ways_told import median_and_ends
from harness.page import notebook as say
from harness.page.tables import quantile
from harness.thought.runs import documents

_COUNTERS = {
    "haproxy": ("frontend.req_tot", "frontend.smax", "backend.qmax", "frontend.dreq", "backend.connect"),
    "nginx": ("accepts", "handled", "requests"),
}
"""Of each load balancer's own counters, those that show that it was used, and how."""
_QUEUED, _LONGEST_MS = "backend.qmax", "backend.qtime_max"
"""HAProxy's counters of its queue before the server; nginx has none."""
_QUEUES: Mapping[str, str] = {
    "at_listener": "the load balancer's accept queue",
    "in_front": "HAProxy's own queue",
    "at_server": "the server's accept queue",
}
"""Where connections may wait on their way to the server."""
MOST = 0.5
"""Of those that are open at once; a queue of fewer is not where they wait. And of the requests that did
not go smoothly: where so many knocked at a full queue, they wait before it."""
_AT_LEAST = "≥ "
"""Before what the server made where it is worked out from CPU time that it shares."""


def evidence(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind of storm with a load balancer: its version, its listener in the kernel, its own counters."""
    rows = []
    for variant, storms in runs[runs["front"].notna()].groupby("variant", sort=False, observed=True):
        first = storms.iloc[0]
        names = [name for name in _COUNTERS[first["front"]] if _counter(storms, name).notna().any()]
        rows.append(
            {
                "storms of": str(variant),
                "load balancer": f"{first['front']} {', '.join(sorted(set(storms['front_version'])))}",
                "storms": len(storms),
                "backlog in the kernel": say.span(storms["front_backlog_effective"], "{:.0f}".format),
                "connections to the server, by the kernel": say.counts(storms["connections_to_server"]),
                "it counted": "; ".join(f"{name} {say.counts(_counter(storms, name))}" for name in names),
            }
        )
    return pd.DataFrame(rows)


def endings_table(runs: pd.DataFrame, by: Sequence[str] = ("variant",)) -> pd.DataFrame:
    """A row for each kind: of all requests how many were answered, turned away, timed out, means with intervals; what
    the server made, and how much of it in vain, medians with the lowest and highest storm.

    ``runs`` of :func:`analysis.mitigations.ways.endings`.
    """
    rows = []
    for kind, storms in runs.groupby(list(by), sort=False, observed=True):
        at_least = _AT_LEAST if storms["made_at_least"].any() else ""
        rows.append(
            dict(zip(by, kind, strict=True))
            | {
                "storms": len(storms),
                "answered": shares(storms["success_rate"]),
                f"turned away ({', '.join(TURNED_AWAY)})": shares(storms["turned_away"]),
                "timed out": shares(storms["timed_out"]),
                "cut off": shares(storms["cut_off"]),
                "otherwise": shares(storms["lost_otherwise"]),
                "p50": times(storms["wanted_p50_ms"]),
                "p99": times(storms["wanted_p99_ms"]),
                "goodput, 1/s": median_and_ends(storms["good_per_s"], "{:,.0f}".format),
                "throughput, answers that the server made, 1/s": at_least
                + median_and_ends(storms["made_per_s"], "{:,.0f}".format),
                "of these in vain": _in_vain(storms["wasted_share"], at_least),
                "refusals, 1/s": median_and_ends(storms["refused_per_s"], "{:,.0f}".format),
                "generator": say.generators(storms),
            }
        )
    return pd.DataFrame(rows)


def queues_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each way: the most connections in each queue on the way to the server, and of all that were open; and
    how many requests had a SYN dropped by a full one.
    """
    rows = []
    for variant, storms in _queued(runs).groupby("variant", sort=False, observed=True):
        longest_ms = _counter(storms, _LONGEST_MS).where(storms["in_front"].gt(0))
        rows.append(
            {
                "variant": str(variant),
                "storms": len(storms),
                "deepest at the load balancer's listener": say.counts(storms["at_listener"]),
                "in its own queue": say.counts(storms["in_front"]),
                "longest wait there": say.span(longest_ms, quantile),
                "deepest in the server's accept queue": say.counts(storms["at_server"]),
                "open at once, the clients'": say.counts(storms["peak_in_flight"]),
                "kept out by a full accept queue": say.counts(storms["kept_out"]),
            }
        )
    return pd.DataFrame(rows)


def who_queues(runs: pd.DataFrame) -> str:
    """In which queue most wait, by its median depth, way by way. Where it holds less than :data:`MOST` of what is open
    at once, they are before a full one, which drops their SYNs, or inside of the programs.
    """
    queued = _queued(runs)
    if queued["at_server"].isna().all():
        return "How deep the accept queues were was not measured in these storms."
    measures = [*_QUEUES, "peak_in_flight", "kept_out", "not_clean", "planned"]
    depths = queued.groupby("variant", sort=False, observed=True)[measures].median()
    places: dict[str, list[str]] = {}
    for variant, deep in depths.to_dict("index").items():
        in_queues, open_at_once = pd.Series(deep)[list(_QUEUES)].dropna(), deep["peak_in_flight"]
        if in_queues.empty:
            continue
        place = str(in_queues.idxmax())
        where = f"in {_QUEUES[place]}"
        deepest, outside = in_queues[place], deep["kept_out"] >= MOST * deep["not_clean"] > 0
        told = f"*{variant}* ({deepest:,.0f} of {open_at_once:,.0f})"
        if deepest < MOST * open_at_once and outside:
            where = "outside, before a full accept queue that drops their SYNs,"
            told = f"*{variant}* ({deep['kept_out']:,.0f} of {deep['planned']:,.0f} requests met it full)"
        elif deepest < MOST * open_at_once:
            where = "in no queue but in the programs themselves, accepted and not yet answered,"
        if deepest > open_at_once:  # a load balancer may keep what it queued when the client has gone
            told = f"*{variant}* ({deepest:,.0f}, of whom no more than {open_at_once:,.0f} were still there)"
        places.setdefault(where, []).append(told)
    said = "; ".join(f"{where} with {', '.join(named)}" for where, named in places.items())
    return f"In brackets the deepest queue, of all connections that are open at once, medians: most wait {said}."


def _queued(runs: pd.DataFrame) -> pd.DataFrame:
    """With the depth of each of :data:`_QUEUES`; a queue that a way does not have is NaN.

    And ``kept_out``, requests with a SYN that a full queue dropped, and ``not_clean``, all that did not go smoothly.
    """
    front = runs["front"].notna()
    causes = documents(runs["causes"])
    return runs.assign(
        kept_out=[counts.get("syn_dropped", 0) for counts in causes],
        not_clean=[sum(counts.values()) - counts.get("clean", 0) for counts in causes],
        at_listener=runs["peak_accept_queue"].astype(float).where(front),
        in_front=_counter(runs, _QUEUED),
        at_server=runs["peak_server_queue"].astype(float),
    )


def overload(runs: pd.DataFrame, alone: str) -> str:
    """Goodput without a load balancer and in the best way, medians; what became of the rest; what differs always; how
    much of what the server did was in vain; and what those read who are turned away in the best way.
    """
    kinds = runs.groupby("variant", sort=False, observed=True)
    good = kinds["good_per_s"].median()
    best = str(good.idxmax())
    ranked = compared(runs, alone, {"good_per_s": BETTER["good_per_s"]})
    by_found = {word: [one.variant for one in ranked if one.found == word] for word in get_args(Found)}
    said = f"alone {good[alone]:,.0f} good answers a second, most with *{best}*, {good[best]:,.0f}"
    means = kinds[["timed_out", "turned_away", "cut_off"]].mean().loc[best]
    said += f" ({means['turned_away']:.0%} turned away, {means['timed_out']:.0%} timed out, {means['cut_off']:.0%} cut "
    said += f"off). In every storm more than alone with {_valued(good[by_found['better']])}"
    if in_all := by_found["fewer answered"]:
        said += f"; more while the load lasts, and fewer in all, with {_valued(good[in_all])}"
    said += f"; fewer with {_valued(good[by_found['worse']])}"
    wasted = kinds["wasted_share"].median()
    if wasted[[alone, best]].notna().all():
        in_best = _in_vain(wasted[[best]], _signs(runs)[best])
        said += f". In vain was {wasted[alone]:.0%} of what the server did alone, {in_best} with *{best}*"
    why = f"{more_in_vain(runs, alone)} {turned_away_with(runs[runs['variant'] == best])}"
    return f"{said}. {why.strip()}".rstrip(".")


def in_vain(runs: pd.DataFrame, alone: str) -> str:
    """Medians of what the server made a second and of the share that nobody waited for any more, way by way."""
    kinds = runs.groupby("variant", sort=False, observed=True)
    made, wasted, sign = kinds["made_per_s"].median(), kinds["wasted_share"].median(), _signs(runs)
    known = made[made.notna()].index
    if known.empty:
        return "How many answers the server made was not measured."
    told = ", ".join(
        f"*{variant}* {sign[variant]}{made[variant]:,.0f} ({_in_vain(wasted[[variant]], sign[variant])})"
        for variant in known
    )
    said = f"Answers that the server made a second, and what share of them came when nobody waited any more: {told}."
    return f"{said} {more_in_vain(runs, alone)}".strip()


def more_in_vain(runs: pd.DataFrame, alone: str) -> str:
    """With which ways fewer are good than ``alone`` in every storm because more is done in vain, and not because less
    is done at all; empty if with none.
    """
    kinds = runs.groupby("variant", sort=False, observed=True)
    made, wasted, sign = kinds["made_per_s"].median(), kinds["wasted_share"].median(), _signs(runs)
    fewest, most = kinds["good_per_s"].min(), kinds["good_per_s"].max()
    known = made[made.notna()].index
    fewer = [str(name) for name in known if alone in known and most[str(name)] < fewest[alone]]
    in_vain = made * wasted  # answers a second, which are held against those that were not made at all
    lost = [name for name in fewer if in_vain[name] - in_vain[alone] > max(made[alone] - made[name], 0)]
    named = ", ".join(f"*{name}* ({sign[name]}{wasted[name]:.0%} instead of {wasted[alone]:.0%})" for name in lost)
    return f"In every storm fewer are good than alone, as more is done in vain, with {named}." if lost else ""


def _signs(runs: pd.DataFrame) -> pd.Series:
    """For each way what is to be put before what its server made."""
    lower = runs.groupby("variant", sort=False, observed=True)["made_at_least"].any()
    return lower.map({True: _AT_LEAST, False: ""})


def _in_vain(shares: pd.Series, sign: str) -> str:
    """A lower bound of nothing tells nothing."""
    return "not known" if sign and round(shares.max(), 2) == 0 else sign + median_and_ends(shares, "{:.0%}".format)


def turned_away_with(runs: pd.DataFrame) -> str:
    """The statuses of those who were turned away, way by way, and which of them say nothing of there being too many."""
    named, silent = [], []
    for variant, storms in runs.groupby("variant", sort=False, observed=True):
        known = documents(storms["statuses"])
        sums = {status: sum(counts.get(status, 0) for counts in known) for status in TURNED_AWAY}
        told = {status: number for status, number in sums.items() if number}
        if told:
            named.append(f"*{variant}* {', '.join(told)}")
        if any(status not in SAYS_WHY for status in told):
            silent.append(f"*{variant}* ({told['502']:,} times 502)")
    if not named:
        return "Nobody was turned away."
    said = f"Who is turned away reads: {'; '.join(named)}."
    if silent:
        said += f" 502 blames the server and says nothing of too many, unlike 429 and 503: {', '.join(silent)}."
    return said


def out_of_connections(runs: pd.DataFrame) -> str:
    """Where nginx itself closed connections as it had no room for more of them, by its counters; empty if nowhere."""
    accepted, handled = _counter(runs, "accepts"), _counter(runs, "handled")
    hit = runs.assign(accepted=accepted, closed=accepted - handled)
    hit = hit[hit["closed"] > 0]
    if hit.empty:
        return ""
    places = []
    for (server, variant), storms in hit.groupby(["server", "variant"], sort=False, observed=True):
        like = runs[(runs["server"] == server) & (runs["variant"] == variant)]
        worst = storms.sort_values("closed", kind="stable").iloc[-1]
        places.append(
            f"*{variant}* before {server} in {len(storms)} of {len(like)} storms: of {worst['accepted']:,.0f} that it "
            f"accepted it closed {worst['closed']:,.0f} at once in the worst, in which "
            f"{say.percent(worst['success_rate'])} were answered"
        )
    return (
        "By its own counters (`accepts`, `handled`) nginx ran out of `worker_connections`, each of which is a client's "
        f"or one to the server: {'; '.join(places)}."
    )


def _counter(runs: pd.DataFrame, name: str) -> pd.Series:
    """One of the load balancer's own; NaN where it has none of that name, or there is none."""
    counted = documents(runs["front_counters"])
    return pd.Series([counts.get(name) for counts in counted], runs.index, dtype=float)


def _valued(good: pd.Series) -> str:
    return ", ".join(f"*{variant}* {value:,.0f}" for variant, value in good.items()) or "none"
