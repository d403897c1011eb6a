"""What is said of all mitigations: the table of them, and what each makes better and worse in every storm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import pandas as pd

from analysis.mitigations.ways import BY_CHANCE, FEWEST_STORMS, QUANTILES, Ranked, trade_offs
from harness.page import notebook as say
from harness.page.interval import CALLED
from harness.page.tables import NO_VALUE, UNANSWERED, quantile
from harness.thought.stats import median_of_runs

MEASURES = {
    "success_rate": "answered",
    "wanted_p50_ms": "p50",
    "wanted_p99_ms": "p99",
    "good_per_s": "goodput",
    "cpu_us_per_answer": "CPU per answer",
    "memory_mib": "memory",
    "connections_at_server": "connections at the server",
    "first_try_share": "first try",
}
"""How measures are called in tables and sentences."""
DONE_TO_CLIENTS = ("success_rate", *QUANTILES, "good_per_s")
"""Measures of which a mitigation that makes them worse backfires; the others are what it costs."""
HELPS_THE_TAIL = "helps the tail, costs the median"
COSTS_THE_TAIL = "helps the median, costs the tail"
NEARLY_ALL = 0.99
_ALIKE = "no difference that shows in every storm"
_WHY_NOT: Mapping[str, str] = {
    "too few storms": f"fewer than {FEWEST_STORMS} storms of a kind",
    "generator the limit": "the generator was the limit",
    "not measured": "it was not measured",
}
"""Why a comparison has no answer."""


def all_of_them(runs: pd.DataFrame, found: Sequence[Ranked]) -> pd.DataFrame:
    """The table of all mitigations: a row for each server and mitigation, medians with the lowest and highest storm.

    *brings* and *costs* say what is better and worse than without, in every storm, as ratios of the same medians.
    """
    rows = []
    for (server, variant), storms in runs.groupby(["server", "variant"], sort=False, observed=True):
        here = [one for one in found if (one.server, one.variant) == (server, str(variant))]
        rows.append(
            {
                "server": server,
                "mitigation": str(variant),
                "storms": len(storms),
                "answered": median_and_ends(storms["success_rate"], say.percent),
                "p50": median_and_ends(storms["wanted_p50_ms"].fillna(math.inf), quantile),
                "p99": median_and_ends(storms["wanted_p99_ms"].fillna(math.inf), quantile),
                "goodput, 1/s": median_and_ends(storms["good_per_s"], "{:,.0f}".format),
                "listeners in the kernel": say.counts(storms["listeners"]),
                "connections at the server": median_and_ends(storms["connections_at_server"], "{:,.0f}".format),
                "CPU per answer, µs": median_and_ends(storms["cpu_us_per_answer"], "{:.0f}".format),
                "memory, MiB": median_and_ends(storms["memory_mib"], "{:.0f}".format),
                "lost in input queue": say.counts(storms["lo_rx_dropped"]),
                "brings": _listed([one for one in here if one.found == "better"]),
                "costs": _listed([one for one in here if one.found == "worse"]),
                "generator": say.generators(storms),
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


def backfires(found: Sequence[Ranked]) -> list[str]:
    """A line for each mitigation after which fewer were answered, or later, than without: on which servers.

    Apart from where that is a trade-off, of which a line tells what is better for it; and one for what cannot be told.
    """
    asked, pairs = [one for one in found if one.measure in DONE_TO_CLIENTS], trade_offs(found)
    traded = [one for pair in pairs for one in pair]
    lines = []
    for variant, harm in _by("variant", (one for one in asked if one.found == "worse" and one not in traded)).items():
        where = (f"{server} ({', '.join(map(_named, here))})" for server, here in _by("server", harm).items())
        lines.append(f"- *{variant}* made it worse on {', '.join(where)}.")
    lines += [f"- A trade-off on {pair[0].server}: *{pair[0].variant}* {traded_on(pair)}." for pair in pairs]
    untold = not_told(asked)
    return lines + ([f"- {untold}"] if untold else [])


def traded_on(pair: tuple[Ranked, Ranked]) -> str:
    """Which of tail and median it helps, and which it costs; of :func:`analysis.mitigations.ways.trade_offs`."""
    tail, median = pair
    way = HELPS_THE_TAIL if tail.found == "better" else COSTS_THE_TAIL
    return f"{way} ({_named(tail)}, {_named(median)})"


def not_told(found: Sequence[Ranked]) -> str:
    """How many of the comparisons have no answer, and why; empty where all have one."""
    reasons = Counter(one.found for one in found if one.found in _WHY_NOT)
    if not reasons:
        return ""
    why = "; ".join(f"{_WHY_NOT[reason]} in {count}" for reason, count in reasons.items())
    return f"Of {len(found)} comparisons {reasons.total()} have no answer: {why}."


def by_chance(found: Sequence[Ranked]) -> str:
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


def _not_by_design(found: Sequence[Ranked]) -> list[Ranked]:
    return [one for one in found if one.measure != "connections_at_server"]


def _with_an_answer(found: Sequence[Ranked]) -> list[Ranked]:
    return [one for one in _not_by_design(found) if one.found not in _WHY_NOT]


def _key(one: Ranked) -> tuple[str, str, str]:
    return one.server, one.variant, one.measure


def _where(one: Ranked) -> str:
    return f"{one.server}, *{one.variant}*, {_named(one)}"


def brought(found: Sequence[Ranked]) -> str:
    """For each mitigation and server, what is better and worse in every storm than in those it was held against."""
    asked = _not_by_design(found)
    if not asked:
        return "There is nothing to compare."
    said = []
    for variant, of_it in _by("variant", asked).items():
        servers = []
        for server, here in _by("server", of_it).items():
            ways = ((way, [_named(one) for one in here if one.found == way]) for way in ("better", "worse"))
            changed = [f"{way} {', '.join(named)}" for way, named in ways if named]
            servers.append(f"{server} {' and '.join(changed) or _ALIKE}")
        said.append(f"*{variant}*: {'; '.join(servers)}")
    return f"{'. '.join(said)}. {not_told(asked)}".strip()


def headline_of_p99(found: Sequence[Ranked]) -> str:
    """How much the 99th percentile is shortened by what does so most, on most servers, or by the first that comes as
    far on one of them; and by how many mitigations it is shortened or lengthened on some server.
    """
    of_p99 = [one for one in found if one.measure == "wanted_p99_ms"]
    if all(one.found in _WHY_NOT for one in of_p99):
        return "Whether a mitigation shortens the p99 these storms do not tell"
    shorter, longer = (_by("variant", (one for one in of_p99 if one.found == way)) for way in ("better", "worse"))
    kinds = len({one.variant for one in of_p99})
    counted = f"{len(shorter)} of {kinds} mitigations shorten it on some stack, {len(longer)} lengthen it"
    if not shorter:
        return f"p99: {counted}"
    # Of several that reach one another's ratios, the first: combinations come last.
    widest = max(map(len, shorter.values()))
    wide = {variant: of_it for variant, of_it in shorter.items() if len(of_it) == widest}
    least = min(max(one.ratio for one in of_it) for of_it in wide.values())
    best = next(variant for variant, of_it in wide.items() if min(one.ratio for one in of_it) <= least)
    return f"p99 {ratios_of(shorter[best])} with {best}; {counted}"


def ratios_of(found: Sequence[Ranked]) -> str:
    """From the least to the most, ``× 0.05 to 0.14``; with a word for quantiles among the unanswered."""
    ratios = [f"{one.ratio:.2g}" for one in sorted(found, key=lambda one: one.ratio) if 0 < one.ratio < math.inf]
    said = [f"× {' to '.join(dict.fromkeys((ratios[0], ratios[-1])))}"] if ratios else []
    said += sorted({_change(one) for one in found if not 0 < one.ratio < math.inf})
    return " or ".join(said)


def endings_of_servers(runs: pd.DataFrame) -> str:
    """In how many storms of each kind the server itself ended."""
    kinds = runs.groupby("variant", sort=False, observed=True)
    ended = kinds["server_ended"].agg(lambda found: say.of_all(found.notna()))
    answered = kinds["success_rate"].agg(lambda rates: say.span(rates, say.percent))
    return "; ".join(f"{ended[variant]} with *{variant}* ({answered[variant]} answered)" for variant in ended.index)


def _by(name: Literal["variant", "server"], found: Iterable[Ranked]) -> dict[str, list[Ranked]]:
    """The comparisons of each variant or server, in the order in which they come first."""
    groups: dict[str, list[Ranked]] = {}
    for one in found:
        groups.setdefault(getattr(one, name), []).append(one)
    return groups


def _listed(found: Sequence[Ranked]) -> str:
    return ", ".join(_named(one) for one in found if f"{one.ratio:.2g}" != "1") or NO_VALUE


def _named(one: Ranked) -> str:
    return f"{MEASURES[one.measure]} {_change(one)}"


def _change(one: Ranked) -> str:
    if one.measure in QUANTILES and math.isinf(one.ratio):
        return UNANSWERED
    if one.measure in QUANTILES and one.ratio == 0:
        return f"no longer {UNANSWERED}"
    return "where there was none" if math.isinf(one.ratio) else f"× {one.ratio:.2g}"


def median_and_ends(values: pd.Series, form: Callable[[float], str]) -> str:
    """``1.46 s (range 1.43 s to 1.50 s)``: median, lowest and highest storm; one of them where they look alike."""
    known = values.dropna()
    if known.empty:
        return NO_VALUE
    low, median, high = (form(value) for value in (known.min(), median_of_runs(known), known.max()))
    return median if low == high else f"{median} ({CALLED['range']} {low} to {high})"
