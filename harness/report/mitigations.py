"""What is said of mitigations: who was used, how requests ended, what it cost, and the table of all of them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from harness.effects import limited
from harness.mitigations import BY_CHANCE, FEWEST_STORMS, QUANTILES, TURNED_AWAY, Comparison
from harness.report import notebook as say
from harness.report.manners import shares, times
from harness.report.tables import NO_VALUE, UNANSWERED

MEASURES = {
    "success_rate": "answered",
    "wanted_p50_ms": "p50",
    "wanted_p99_ms": "p99",
    "good_per_s": "goodput",
    "cpu_us_per_answer": "CPU per answer",
    "memory_mib": "memory",
    "connections_at_server": "connections at the server",
}
"""How measures are called in tables and sentences."""
_COUNTERS = {
    "haproxy": ("frontend.req_tot", "frontend.smax", "backend.qmax", "frontend.dreq", "backend.connect"),
    "nginx": ("accepts", "handled", "requests"),
}
"""Of each load balancer's own counters, those that show that it was used, and how."""
NEARLY_ALL = 0.99
_WHY_NOT: Mapping[str, str] = {
    "too few storms": f"fewer than {FEWEST_STORMS} storms of a kind",
    "generator the limit": "the generator was the limit",
    "not measured": "it was not measured",
}
"""Why a comparison has no answer."""


def evidence(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind of storm with a load balancer: its version, its listener in the kernel, its own counters."""
    rows = []
    for variant, storms in runs[runs["front"].notna()].groupby("variant", sort=False, observed=True):
        first = storms.iloc[0]
        counted = [json.loads(text) for text in storms["front_counters"]]
        names = [name for name in _COUNTERS[first["front"]] if any(name in counts for counts in counted)]
        rows.append(
            {
                "storms of": str(variant),
                "load balancer": f"{first['front']} {', '.join(sorted(set(storms['front_version'])))}",
                "storms": len(storms),
                "backlog in the kernel": say.span(storms["front_backlog_effective"], "{:.0f}".format),
                "connections to the server, by the kernel": say.span(storms["connections_to_server"], "{:,.0f}".format),
                "it counted": "; ".join(
                    f"{name} {say.span(pd.Series([counts.get(name) for counts in counted]), '{:,.0f}'.format)}"
                    for name in names
                ),
            }
        )
    return pd.DataFrame(rows)


def endings_table(runs: pd.DataFrame, by: Sequence[str] = ("variant",)) -> pd.DataFrame:
    """A row for each kind: of all requests how many were answered, turned away, timed out; goodput and throughput."""
    rows = []
    for kind, storms in runs.groupby(list(by), sort=False, observed=True):
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
                "goodput, 1/s": say.mean_and_interval(storms["good_per_s"], "{:,.0f}".format),
                "goodput and refusals, 1/s": say.mean_and_interval(storms["told_per_s"], "{:,.0f}".format),
                "generator": ", ".join(sorted(set(storms["generator"]))),
            }
        )
    return pd.DataFrame(rows)


def all_of_them(runs: pd.DataFrame, found: Sequence[Comparison]) -> pd.DataFrame:
    """The table of all mitigations: a row for each server and mitigation, means with intervals over storms.

    *brings* and *costs* say what is better and what is worse than without, in every storm.
    """
    rows = []
    for (server, variant), storms in runs.groupby(["server", "variant"], sort=False, observed=True):
        here = [one for one in found if (one.server, one.variant) == (server, str(variant))]
        rows.append(
            {
                "server": server,
                "mitigation": str(variant),
                "storms": len(storms),
                "answered": shares(storms["success_rate"]),
                "p50": times(storms["wanted_p50_ms"]),
                "p99": times(storms["wanted_p99_ms"]),
                "goodput, 1/s": say.mean_and_interval(storms["good_per_s"], "{:,.0f}".format),
                "listeners in the kernel": _counted(storms["listeners"]),
                "connections at the server": say.span(storms["connections_at_server"], "{:,.0f}".format),
                "CPU per answer, µs": say.mean_and_interval(storms["cpu_us_per_answer"], "{:.0f}".format),
                "memory, MiB": say.mean_and_interval(storms["memory_mib"], "{:.0f}".format),
                "lost in input queue": _counted(storms["lo_rx_dropped"]),
                "brings": _listed([one for one in here if one.found == "better"]),
                "costs": _listed([one for one in here if one.found == "worse"]),
                "generator": ", ".join(sorted(set(storms["generator"]))),
            }
        )
    return pd.DataFrame(rows)


def lost_by_the_host(runs: pd.DataFrame, untouched: str) -> str:
    """In how many storms this host's own input queue dropped packets; empty if there are no storms."""
    hit, alone = runs["lo_rx_dropped"] > 0, runs["variant"].astype(str) == untouched
    if not hit.any():
        return f"This host's own input queue dropped packets in none of {len(runs)} storms." if len(runs) else ""
    return (
        f"In {hit.sum()} of {len(runs)} storms, {(hit & alone).sum()} of {alone.sum()} of them *{untouched}*, this "
        "host's own input queue dropped packets. What differs between such storms is what this machine does, of which "
        "those losses are a part, and nothing follows of a backlog or of a load balancer alone."
    )


def not_all_answered(runs: pd.DataFrame) -> str:
    """The mitigations with which fewer than :data:`NEARLY_ALL` were answered in some storm, and how few at worst."""
    worst = runs.groupby(["variant", "server"], sort=False, observed=True)["success_rate"].min()
    few = worst[worst < NEARLY_ALL]
    named = [
        f"*{variant}* ({', '.join(f'{server} {share:.1%}' for server, share in shares.droplevel(0).items())})"
        for variant, shares in few.groupby("variant", sort=False, observed=True)
    ]
    return f"Fewer than {NEARLY_ALL:.0%} answered, in the worst storm: {'; '.join(named) or 'with none'}."


def backfires(found: Sequence[Comparison]) -> list[str]:
    """A line for each mitigation after which fewer were answered, or later, than without: on which servers.

    And one for what cannot be told.
    """
    asked = [one for one in found if one.measure in ("success_rate", *QUANTILES, "good_per_s")]
    seen: dict[str, dict[str, list[str]]] = {}
    for one in asked:
        if one.found == "worse":
            seen.setdefault(one.variant, {}).setdefault(one.server, []).append(_named(one))
    named = {
        variant: ", ".join(f"{server} ({', '.join(what)})" for server, what in where.items())
        for variant, where in seen.items()
    }
    lines = [f"- *{variant}* made it worse on {where}." for variant, where in named.items()]
    untold = not_told(asked)
    return lines + ([f"- {untold}"] if untold else [])


def not_told(found: Sequence[Comparison]) -> str:
    """How many of the comparisons have no answer, and why; empty where all have one."""
    reasons = Counter(one.found for one in found if one.found in _WHY_NOT)
    if not reasons:
        return ""
    why = "; ".join(f"{_WHY_NOT[reason]} in {count}" for reason, count in reasons.items())
    return f"Of {len(found)} comparisons {reasons.total()} have no answer: {why}."


def by_chance(found: Sequence[Comparison]) -> str:
    """How many comparisons were made, and in how many of them chance alone would show something.

    Without the connections at the server, which pools and load balancers fix by design.
    """
    found = _not_by_design(found)
    if not found:
        return "There is nothing to compare."
    answered = _with_an_answer(found)
    shown = sum(one.found in ("better", "worse") for one in answered)
    said = f"Of {len(answered)} comparisons {shown} are better or worse in every storm; by chance it would be "
    return f"{said}{len(answered) * BY_CHANCE:.1f}. {not_told(found)}".strip()


def agreement(usual: Sequence[Comparison], opened: Sequence[Comparison]) -> str:
    """Whether comparisons show the same in storms as they are and with this host's input queue opened wide.

    Without the connections at the server, as in :func:`by_chance`.
    """
    answered = {_key(one): one for one in _with_an_answer(usual)}
    both = [(answered[_key(one)], one) for one in _with_an_answer(opened) if _key(one) in answered]
    if not both:
        why = not_told(_not_by_design(opened)) if opened else "There are no such storms: it takes root."
        return f"No comparison has an answer both as it is and with the input queue opened wide. {why}".strip()
    differing: dict[str, list[str]] = {}
    alike = 0
    for as_it_is, wide in both:
        ways = [one for one in (as_it_is, wide) if one.found in ("better", "worse")]
        if len({one.found for one in ways}) == 2:
            differing.setdefault("the other way round", []).append(_where(wide))
        elif len(ways) == 1:
            where = "only as it is" if as_it_is in ways else "only with the queue opened wide"
            differing.setdefault(where, []).append(_where(*ways))
        else:
            alike += not ways
    same = len(both) - alike - sum(map(len, differing.values()))
    said = (
        f"Of {len(both)} comparisons with an answer in both, {same} are better or worse in both in the same way, and "
    )
    said += f"{alike} in neither."
    return said + "".join(f" Shown {where}: {'; '.join(named)}." for where, named in differing.items())


def _not_by_design(found: Sequence[Comparison]) -> list[Comparison]:
    return [one for one in found if one.measure != "connections_at_server"]


def _with_an_answer(found: Sequence[Comparison]) -> list[Comparison]:
    return [one for one in _not_by_design(found) if one.found not in _WHY_NOT]


def _key(one: Comparison) -> tuple[str, str, str]:
    return one.server, one.variant, one.measure


def _where(one: Comparison) -> str:
    return f"{one.server}, *{one.variant}*, {_named(one)}"


def brought(found: Sequence[Comparison]) -> str:
    """For each mitigation and server, what is better and worse in every storm than in those it was held against."""
    asked = _not_by_design(found)
    if not asked:
        return "There is nothing to compare."
    kinds: dict[str, list[str]] = {}
    for variant, server in dict.fromkeys((one.variant, one.server) for one in asked):
        here = [one for one in asked if (one.variant, one.server) == (variant, server)]
        ways = [
            f"{way} {', '.join(_named(one) for one in here if one.found == way)}"
            for way in ("better", "worse")
            if any(one.found == way for one in here)
        ]
        kinds.setdefault(variant, []).append(f"{server} {' and '.join(ways) or 'neither better nor worse'}")
    said = ". ".join(f"*{variant}*: {'; '.join(servers)}" for variant, servers in kinds.items())
    return f"{said}. {not_told(asked)}".strip()


def headline_of_p99(found: Sequence[Comparison]) -> str:
    """On how many mitigations the 99th percentile is shorter or longer on some server."""
    of_p99 = [one for one in found if one.measure == "wanted_p99_ms"]
    if all(one.found in _WHY_NOT for one in of_p99):
        return "Whether a mitigation shortens the p99 these storms do not tell"
    better, worse = (len({one.variant for one in of_p99 if one.found == way}) for way in ("better", "worse"))
    kinds = len({one.variant for one in of_p99})
    return f"{better} of {kinds} mitigations shorten the p99 on some stack, {worse} lengthen it"


def stranded(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and way of accepting: how many clients waited for the loop that stood still.

    ``runs`` has a column ``slow``: how many were not answered for most of the time that it stood still.
    """
    groups = runs.groupby(["server", "variant"], sort=False, observed=True)
    slow = groups["slow"]
    return pd.DataFrame(
        {
            "storms": slow.size(),
            "listeners": groups["listeners"].agg(_counted),
            "clients": groups["clients"].agg(_counted),
            "waited for the loop, median": slow.median(),
            "fewest": slow.min(),
            "most": slow.max(),
        }
    )


def hands_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and way of accepting: who came through at the first try, and what overflowed.

    ``runs`` has columns ``wide``, whether this host's input queue was opened wide, and ``ListenOverflows``.
    """
    rows = []
    for (server, variant, wide), storms in runs.groupby(["server", "variant", "wide"], sort=False, observed=True):
        rows.append(
            {
                "server": server,
                "accepting": str(variant),
                "input queue": "wide" if wide else "as it is",
                "storms": len(storms),
                "listeners in the kernel": _counted(storms["listeners"]),
                "first try": say.mean_and_interval(storms["first_try_share"], "{:.1%}".format),
                "p99": times(storms["wanted_p99_ms"]),
                "overflows": _counted(storms["ListenOverflows"]),
                "lost in input queue": _counted(storms["lo_rx_dropped"]),
                "CPU per answer, µs": say.mean_and_interval(storms["cpu_us_per_answer"], "{:.0f}".format),
                "generator": ", ".join(sorted(set(storms["generator"]))),
            }
        )
    return pd.DataFrame(rows)


def overload(runs: pd.DataFrame, alone: str) -> str:
    """Goodput without a load balancer and in the best way, medians; what became of the rest; what differs always."""
    kinds = runs.groupby("variant", sort=False, observed=True)
    good, fewest, most = (kinds["good_per_s"].agg(name) for name in ("median", "min", "max"))
    best = str(good.idxmax())
    said = f"alone {good[alone]:,.0f} good answers a second, most with *{best}*, {good[best]:,.0f}"
    means = kinds[["timed_out", "turned_away", "cut_off"]].mean().loc[best]
    said += f" ({means['turned_away']:.0%} turned away, {means['timed_out']:.0%} timed out, {means['cut_off']:.0%} cut "
    more = _valued(good[fewest > most[alone]])
    return said + f"off). In every storm more than alone with {more}; fewer with {_valued(good[most < fewest[alone]])}"


def _valued(good: pd.Series) -> str:
    return ", ".join(f"*{variant}* {value:,.0f}" for variant, value in good.items()) or "none"


def hands(runs: pd.DataFrame) -> str:
    """Medians of the share that came through at the first try, for each server."""
    lines = []
    for server, storms in runs.groupby("server", sort=False):
        kinds = [
            f"*{variant}* {of['first_try_share'].median():.0%}{' (generator the limit)' if limited(of) else ''}"
            for variant, of in storms.groupby("variant", sort=False, observed=True)
        ]
        lines.append(f"{server}: {', '.join(kinds)}")
    return "; ".join(lines)


def headline_of_hands(runs: pd.DataFrame, alone: str, with_room: str) -> str:
    """Who came through at the first try with one hand, with that and a larger backlog, and with what lets most through:
    of servers, medians.

    Without what the generator was the limit of; the larger backlog only where it is known of some server.
    """
    kinds = runs.groupby(["server", "variant"], sort=False, observed=True)
    medians = kinds["first_try_share"].median().unstack()
    medians = medians.mask(kinds.apply(limited).unstack().astype(bool))
    medians = medians[medians[alone].notna()]
    if medians.empty:
        return f"First try with {alone}: the generator was the limit"
    best = str(medians.mean().idxmax())
    steps = [alone] if best == alone else [alone, best]
    if with_room in medians and best not in (alone, with_room) and medians[[with_room, best]].notna().all(axis=1).any():
        steps.insert(1, with_room)
    known = medians[steps].dropna()
    told = [f"{server} {' → '.join(f'{shares[step]:.0%}' for step in steps)}" for server, shares in known.iterrows()]
    return f"First try, {' → '.join(steps)}: {', '.join(told)}"


def endings_of_servers(runs: pd.DataFrame) -> str:
    """In how many storms of each kind the server itself ended."""
    kinds = runs.groupby("variant", sort=False, observed=True)
    ended = kinds["server_ended"].agg(lambda found: f"{found.notna().sum()} of {len(found)}")
    answered = kinds["success_rate"].agg(lambda rates: say.span(rates, say.percent))
    return "; ".join(f"{ended[variant]} with *{variant}* ({answered[variant]} answered)" for variant in ended.index)


def strandings(runs: pd.DataFrame) -> str:
    """How many waited for the loop that stood still, medians, for each server; ``runs`` as :func:`stranded`."""
    lines = []
    for server, storms in runs.groupby("server", sort=False):
        medians = storms.groupby("variant", sort=False, observed=True)["slow"].median()
        lines.append(f"{server}: " + ", ".join(f"{slow:.0f} with *{variant}*" for variant, slow in medians.items()))
    return f"of {runs['clients'].max():,} clients waited for it, medians: {'; '.join(lines)}"


def on_p99(found: Sequence[Comparison]) -> str:
    """With which mitigations the 99th percentile is shorter or longer than without, in every storm of some stack."""
    of_p99 = [one for one in found if one.measure == "wanted_p99_ms"]
    said = []
    for word, way in (("shorter", "better"), ("longer", "worse")):
        where: dict[str, list[str]] = {}
        for one in of_p99:
            if one.found == way:
                where.setdefault(one.variant, []).append(one.server)
        named = "; ".join(f"*{variant}* ({', '.join(servers)})" for variant, servers in where.items())
        said.append(f"{word} than as it comes with {named or 'none'}")
    return f"the 99th percentile is, in every storm, {', and '.join(said)}. {not_told(of_p99)}".strip().rstrip(".")


def _counted(counts: pd.Series) -> str:
    return say.span(counts, "{:,.0f}".format)


def _listed(found: Sequence[Comparison]) -> str:
    return ", ".join(named for one in found if not (named := _named(one)).endswith(" × 1")) or NO_VALUE


def _named(one: Comparison) -> str:
    name = MEASURES[one.measure]
    if one.measure in QUANTILES and math.isinf(one.ratio):
        return f"{name} {UNANSWERED}"
    if one.measure in QUANTILES and one.ratio == 0:
        return f"{name} no longer {UNANSWERED}"
    return f"{name}, where there was none" if math.isinf(one.ratio) else f"{name} × {one.ratio:.2g}"
