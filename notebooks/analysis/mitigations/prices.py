"""What each mitigation brings, what it costs and when it backfires, a row each, from all that the notebook has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.mitigations.balancer import out_of_connections
from analysis.mitigations.policies import KEPT_DOWN_S
from analysis.mitigations.ways import BETTER, Ranked, trade_offs
from analysis.mitigations.ways_told import DONE_TO_CLIENTS, MEASURES, ratios_of, traded_on
from harness.page.tables import NO_VALUE
from harness.thought.runs import with_options

_FRONT = ("front", "front_reuse", "front_server_maxconn", "front_queue_s", "front_rate")
_KNOBS = ("backlog", "connections", "http2", "attempts", "accept_loops", "reuseport", "hold_ms", *_FRONT)


@dataclass(frozen=True)
class Troubles:
    """Storms that were made to find out when something backfires; any of them may be empty.

    ``files``: more clients than the server may have open files, with ``server_ended``; ``halted``: a loop that stands
    still, and ``held``: a connection that stalls, both with ``slow``, how many waited for it; ``retries`` of
    :func:`policies.aftermaths`; ``overload`` of :func:`ways.endings`, whose storms without a load
    balancer are ``alone``; ``everywhere``, the storms of all mitigations on every ground. All have ``variant``.
    """

    files: pd.DataFrame
    halted: pd.DataFrame
    held: pd.DataFrame
    retries: pd.DataFrame
    overload: pd.DataFrame
    everywhere: pd.DataFrame
    alone: str


def prices(runs: pd.DataFrame, found: Sequence[Ranked], troubles: Troubles) -> pd.DataFrame:
    """A row for each mitigation of ``found``, over all servers of ``runs``, which have ``variant``.

    *Brings* and *costs* are what is so in every storm, as ratios of medians, from the least to the most of the servers
    that are named. *Backfires when* is what it does to clients in these storms, and what it did in other trouble.
    """
    rows = []
    for variant in dict.fromkeys(one.variant for one in found):
        here = [one for one in found if one.variant == variant]
        storms = with_options(runs[runs["variant"].astype(str) == variant], *_KNOBS)
        servers = len({one.server for one in here})
        better, worse = ([one for one in here if one.found == way] for way in ("better", "worse"))
        costs = [one for one in worse if one.measure not in DONE_TO_CLIENTS]
        harm = [*_harm(here, servers), *_in_trouble(storms, troubles)]
        rows.append(
            {
                "mitigation": variant,
                "brings": _measures(better, servers),
                "costs": _measures(costs, servers),
                "backfires when": "; ".join(harm) or "nothing of that was seen",
            }
        )
    return pd.DataFrame(rows)


def _measures(found: Sequence[Ranked], servers: int) -> str:
    parts = []
    for measure in BETTER:
        of_it = [one for one in found if one.measure == measure and f"{one.ratio:.2g}" != "1"]
        if of_it:
            where = "" if len(of_it) == servers else f" ({', '.join(one.server for one in of_it)})"
            parts.append(f"{MEASURES[measure]} {ratios_of(of_it)}{where}")
    return ", ".join(parts) or NO_VALUE


def _harm(here: Sequence[Ranked], servers: int) -> Iterator[str]:
    """What it does to clients in the storm of all of them, trade-offs apart."""
    pairs = trade_offs(here)
    traded = [one for pair in pairs for one in pair]
    harm = [one for one in here if one.found == "worse" and one.measure in DONE_TO_CLIENTS and one not in traded]
    if harm:
        yield f"in this storm: {_measures(harm, servers)}"
    yield from (f"in this storm it is a trade-off on {pair[0].server}: it {traded_on(pair)}" for pair in pairs)


def _in_trouble(storms: pd.DataFrame, troubles: Troubles) -> Iterator[str]:
    asked = storms.iloc[0].to_dict()
    pooled = pd.notna(asked["connections"])
    if pd.notna(asked["backlog"]) and not pooled:
        yield from _out_of_files(asked, troubles.files)
    if (asked["accept_loops"] or 1) > 1 and asked["reuseport"]:
        yield from _stranded(troubles.halted)
    if pooled:
        yield from _stalled(asked, troubles.held)
    if asked["attempts"] > 1:
        yield from _kept_down(troubles.retries)
    if asked["front"] != "none":
        yield from _overloaded(asked, troubles)
        everywhere = troubles.everywhere
        if said := out_of_connections(everywhere[everywhere["variant"].astype(str) == str(asked["variant"])]):
            yield said[0].lower() + said[1:].rstrip(".")


def _out_of_files(asked: Mapping[Any, Any], files: pd.DataFrame) -> Iterator[str]:
    for variant, storms in _kinds(files):
        of_it = with_options(storms, *_KNOBS)
        ended = of_it["server_ended"].notna()
        alike = pd.notna(of_it["backlog"].iloc[0]) and _front_of(of_it.iloc[0].to_dict()) == _front_of(asked)
        if alike and ended.any():
            yield (
                f"{of_it['clients'].max():,} clients come, more than files: {_servers(of_it)} ended in {ended.sum()} "
                f"of {len(ended)} storms with *{variant}*"
            )


def _stranded(halted: pd.DataFrame) -> Iterator[str]:
    listening = with_options(halted, "reuseport")
    waited = [
        f"{storms['slow'].median():,.0f} of {storms['clients'].max():,} on {server} with *{variant}*"
        for (server, variant), storms in listening[listening["reuseport"].astype(bool)].groupby(
            ["server", "variant"], sort=False, observed=True
        )
        if storms["slow"].median() > 0
    ]
    if waited:
        yield f"a loop stands still, as nobody else empties its queue: clients that waited for it {', '.join(waited)}"


def _stalled(asked: Mapping[Any, Any], held: pd.DataFrame) -> Iterator[str]:
    """The way with as many connections, else the one in which most suffer, of those over the same protocol."""
    storms = with_options(held, "http2", "hold_ms", "connections")
    chosen = storms[storms["hold_ms"].notna() & storms["http2"].eq(bool(asked["http2"]))]
    alike = chosen[chosen["connections"].eq(asked["connections"])]
    of_them = alike if len(alike) else chosen
    slow = {variant: storms["slow"].median() for variant, storms in _kinds(of_them)}
    if slow and (most := max(slow.values())) > 0:
        variant = next(name for name, count in slow.items() if count == most)
        waited = f"{most:,.0f} of {of_them['planned'].max():,} requests waited with *{variant}*"
        yield f"a connection stalls: {waited} ({_servers(of_them)})"


def _kept_down(retries: pd.DataFrame) -> Iterator[str]:
    down = [f"*{variant}*" for variant, storms in _kinds(retries) if storms["kept_down"].all()]
    if down:
        yield (
            f"clients try again {' or '.join(down)} instead: goodput stayed low for {KEPT_DOWN_S} s after the cause "
            f"had gone, in every storm ({_servers(retries)})"
        )


def _overloaded(asked: Mapping[Any, Any], troubles: Troubles) -> Iterator[str]:
    """The first use of the same means where more is asked than the server can do, if it is worse in every storm."""
    alone = troubles.overload[troubles.overload["variant"] == troubles.alone]
    for variant, storms in _kinds(troubles.overload):
        of_it = with_options(storms, *_KNOBS)
        if len(alone) and _front_of(of_it.iloc[0].to_dict()) == _front_of(asked):
            good, least = storms["good_per_s"], alone["good_per_s"]
            if good.max() < least.min():
                yield (
                    f"more is asked than the server can do: goodput × {good.median() / least.median():.2g} with "
                    f"*{variant}*, {storms['turned_away'].mean():.0%} turned away, {storms['timed_out'].mean():.0%} "
                    f"timed out ({_servers(storms)})"
                )
            return


def _front_of(asked: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Which load balancer, and which of its means are used, whatever their numbers."""
    return asked["front"], *(bool(asked[name]) and pd.notna(asked[name]) for name in _FRONT[1:])


def _servers(storms: pd.DataFrame) -> str:
    return ", ".join(sorted(set(storms["server"])))


def _kinds(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for variant, storms in runs.groupby("variant", sort=False, observed=True):
        yield str(variant), storms
