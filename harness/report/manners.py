"""What is said of pools, HTTP/2 and retries, in tables and words, computed from the runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pandas as pd

from harness.effects import limited
from harness.manners import HTTP2, KEPT_DOWN_S, PLAIN, POOL, RECOVERS_WITHIN_S, knee, waited_out
from harness.report import notebook as say
from harness.report.emfile import ran_out
from harness.report.tables import NO_VALUE, UNANSWERED, quantile
from harness.stats import median_of_runs
from harness.verdicts.evidence import difference, ratio
from harness.verdicts.telling import points, with_ends

_TIMES = ("wanted_p50_ms", "wanted_p99_ms")
_RATIOS = {
    "wanted_p50_ms": "p50",
    "wanted_p99_ms": "p99",
    "cpu_us_per_answer": "server's CPU per answer",
    "peak_rss_bytes": "peak memory",
}


def protocols(runs: pd.DataFrame) -> pd.DataFrame:
    """What each kind of storm was really spoken in, with whose versions; ``evidence`` is that of the first run."""
    groups = runs.groupby(["server", "over", "protocol", "version"], sort=False)
    table = groups["protocol_evidence"].agg(["size", "first"]).rename(columns={"size": "storms", "first": "evidence"})
    at_once = groups["requests_at_once"].agg(lambda most: say.span(most, "{:.0f}".format))
    table.insert(1, "requests at once on a connection", at_once)
    return table.reset_index()


def conserved(runs: pd.DataFrame) -> str:
    """Whether each request has one outcome, whatever it took."""
    ended = runs["outcomes"].map(lambda outcomes: sum(json.loads(outcomes).values()))
    kept = ended.eq(runs["planned"]) & runs["checks"].map(_conserves)
    again = runs[runs["attempts_made"] > runs["planned"]]
    said = f"In {kept.sum()} of {len(runs)} storms each request has one outcome, that of its last attempt: "
    said += f"{runs['planned'].sum():,} requests, {ended.sum():,} outcomes"
    if again.empty:
        return f"{said}."
    tried = f"{again['planned'].sum():,} requests took {again['attempts_made'].sum():,.0f} attempts"
    return f"{said}; in {len(again)} of them {tried}."


def generators(runs: pd.DataFrame) -> str:
    """In how many storms of each way of connecting the generator was the limit."""
    limiting = runs["generator"].eq("limiting").groupby(runs["over"], sort=False)
    said = ", ".join(f"{over} {storms.sum()} of {len(storms)}" for over, storms in limiting)
    return f"The generator was the limit in so many storms: {said}."


def spoken(runs: pd.DataFrame) -> str:
    """In how many storms the protocol heard is the one that was asked for."""
    asked = runs["over"].map(lambda over: "HTTP/2" if over == HTTP2 else "HTTP/1.1")
    return f"In {(runs['protocol'] == asked).sum()} of {len(runs)} storms the protocol heard is the one asked for."


def means(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and way of connecting: means over storms with their 95 % intervals."""
    rows = {}
    together = runs.sort_values("server", kind="stable", key=_in_order)
    for _, storms in together.groupby(["server", "over", "pool"], sort=False):
        first = storms.iloc[0]
        rows[(first["server"], _named(first["over"], first["pool"]))] = {
            "storms": len(storms),
            "answered": shares(storms["success_rate"]),
            "p50": times(storms["wanted_p50_ms"]),
            "p99": times(storms["wanted_p99_ms"]),
            "connections": say.span(storms["connections_made"], "{:,.0f}".format),
            "server's CPU per answer, µs": say.mean_and_interval(storms["cpu_us_per_answer"], "{:.1f}".format),
            "peak memory, MiB": say.mean_and_interval(storms["peak_rss_mib"], "{:.1f}".format),
            "generator": ", ".join(sorted(set(storms["generator"]))),
        }
    return pd.DataFrame(rows).T


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and fewer connections: ratios to the plain storm there with their 95 % intervals, and the
    difference in who is answered.

    Times are a dash where the plain storm's are the generator's, and the most that they can be where the others' are.
    """
    known = waited_out(runs)
    known = known.assign(way=[_named(over, pool) for over, pool in zip(runs["over"], runs["pool"], strict=True)])
    rows = {}
    fewer = known[known["over"] != PLAIN].sort_values(["over", "pool"], kind="stable", ascending=[False, True])
    for (server, way), storms in fewer.sort_values("server", kind="stable", key=_in_order).groupby(
        ["server", "way"], sort=False
    ):
        plain = known[(known["server"] == server) & (known["over"] == PLAIN)]
        both, bound = pd.concat([plain, storms]), "≤ " if limited(storms) else ""
        answered = difference(both, "success_rate", "way", way, PLAIN)
        found = {name: ratio(both, name, "way", way, PLAIN) for name in _RATIOS}
        rows[(server, way)] = {
            "storms": f"{len(storms)} and {len(plain)}",
            "answered": NO_VALUE if answered is None else points(answered.mean),
            "connections": _instead(storms["connections_made"], plain["connections_made"]),
        } | {
            label: NO_VALUE
            if (one := found[name]) is None or (name in _TIMES and limited(plain))
            else f"{bound if name in _TIMES else ''}{with_ends(one.ratio.value, one.ratio.ends, 'ratio')}"
            for name, label in _RATIOS.items()
        }
    return pd.DataFrame(rows).T


def shares(values: pd.Series) -> str:
    """Mean and interval of a share over storms; where it is the same in all of them, that."""
    return say.percent(values.iloc[0]) if values.nunique() == 1 else say.mean_and_interval(values, say.percent)


def times(values_ms: pd.Series) -> str:
    """Mean and interval of a quantile over storms; in how many it lies among the unanswered, where it does."""
    lost = int(values_ms.isna().sum())
    if lost == len(values_ms):
        return UNANSWERED
    said = say.mean_and_interval(values_ms, quantile)
    return said if not lost else f"{said}; {UNANSWERED} in {lost} of {len(values_ms)}"


def against_plain(runs: pd.DataFrame) -> list[str]:
    """A line for each server: the plain storm, its best pool, and HTTP/2 over as many connections as are best."""
    lines = []
    for server, storms in runs.groupby("server", sort=False):
        found = [text for over in (PLAIN, POOL, HTTP2) if (text := _best(storms[storms["over"] == over], over))]
        lines.append(f"- **{server}**: " + "; ".join(found) + ".")
    return lines


def knees(runs: pd.DataFrame, within: float) -> str:
    """Where more connections stop to help."""
    return f"The smallest pool whose p99 is within {within:.0%} of the best pool's: {of_servers(runs, within)}."


def of_servers(runs: pd.DataFrame, within: float, called: Callable[[str], str] = str) -> str:
    """The knee of each server, and where the generator was the limit, with that pool or with the best one."""
    pools = runs[runs["over"] == POOL]
    best, found = (knee(runs, "wanted_p99_ms", share) for share in (0, within))
    said = []
    for server, pool in found.items():
        of_server = pools[pools["server"] == server]
        its_own = not any(limited(of_server[of_server["pool"] == size]) for size in (pool, best[str(server)]))
        said.append(f"{called(str(server))} {pool:,}{'' if its_own else ' (generator the limit)'}")
    return ", ".join(said)


def caught(runs: pd.DataFrame) -> str:
    """How many requests a connection had at once, and how many were slow, medians; ``runs`` have a column ``slow``."""
    said = ", ".join(
        f"{storms['requests_at_once'].max():.0f} and {storms['slow'].median():.0f} with *{variant}*"
        for variant, storms in runs.groupby("variant", sort=False, observed=True)
    )
    return f"Most requests at once on a connection, and how many were slow, the median: {said}."


def cold_pools(runs: pd.DataFrame) -> str:
    """For each server and way of connecting: 99th percentile and connections made, medians over storms."""
    lines = []
    for server, storms in runs.groupby("server", sort=False):
        ways = [
            f"*{variant}* {quantile(median_of_runs(of['wanted_p99_ms']))} ({of['connections_made'].median():,.0f})"
            for variant, of in storms.groupby("variant", sort=False, observed=True)
        ]
        lines.append(f"{server}: {', '.join(ways)}")
    return "; ".join(lines)


def out_of_files(runs: pd.DataFrame) -> str:
    """Where the server could not keep so many connections open, and how many files it may have; empty if nowhere."""
    hit = runs[ran_out(runs)]
    if hit.empty:
        return ""
    places = ", ".join(f"{pool:,}" for pool in sorted(set(hit["pool"])))
    asked = runs[runs["pool"].isin(hit["pool"]) & runs["over"].isin(hit["over"])]
    limit = say.span(hit["server_files_limit"], "{:,.0f}".format)
    plain = ", plain ones included," if (asked["over"] == PLAIN).any() else ""
    ran = f"In {len(hit)} of {len(asked)} storms over {places} connections{plain} the server ran out of open files"
    return f"{ran}: it may have {limit}."


def aftermath_table(runs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """A row for each policy: how long goodput was low after the trigger, and when it was so no more."""
    rows = []
    for kind, storms in runs.groupby(by, sort=False, observed=True):
        rows.append(
            dict(zip(by, kind if isinstance(kind, tuple) else (kind,), strict=True))
            | {
                "storms": len(storms),
                "answered": say.span(storms["success_rate"], say.percent),
                "attempts a request": say.span(storms["attempts_per_request"], "{:.1f}".format),
                "CPU time for answers": say.span(storms["useful_share"], "{:.0%}".format),
                "work in a full queue": say.span(storms["full_queue_s"], "{:.2f} s".format),
                "low goodput after the trigger": say.span(storms["low_s"], "{:.0f} s".format),
                "watched": say.span(storms["watched_s"], "{:.0f} s".format),
                "recovered after": say.span(storms["recovered_after_s"], _seconds),
                "generator": ", ".join(sorted(set(storms["generator"]))),
            }
        )
    return pd.DataFrame(rows)


def retry_verdict(runs: pd.DataFrame, by: str) -> str:
    """Which policies kept the server down after the trigger, and which ended it in time."""
    groups = {str(name): storms for name, storms in runs.groupby(by, sort=False, observed=True)}
    down = [name for name, storms in groups.items() if storms["kept_down"].all()]
    well = [name for name, storms in groups.items() if storms["recovered"].all()]
    between = [name for name in groups if name not in (*down, *well)]
    said = (
        f"goodput stayed under half of the offered load for {KEPT_DOWN_S} s and more after the trigger in all storms "
        f"of {_listed(down)}; it was back within {RECOVERS_WITHIN_S} s in all of {_listed(well)}"
    )
    return said + (f"; neither is true of all storms of {_listed(between)}" if between else "")


def _instead(numbers: pd.Series, of: pd.Series) -> str:
    return f"{say.span(numbers, '{:,.0f}'.format)} instead of {say.span(of, '{:,.0f}'.format)}"


def _conserves(checks: str) -> bool:
    return any(check["name"] == "conservation" and check["status"] == "pass" for check in json.loads(checks))


def _in_order(names: pd.Series) -> pd.Series:
    """As numbers, in the order in which they come first."""
    return pd.Series(pd.factorize(names)[0], index=names.index)


def _best(storms: pd.DataFrame, over: str) -> str:
    """The way with the shortest median p99."""
    if storms.empty:
        return ""
    sizes = sorted(set(storms["pool"]))
    pool = min(sizes, key=lambda size: storms["wanted_p99_ms"].fillna(math.inf)[storms["pool"] == size].median())
    chosen = storms[storms["pool"] == pool]
    p50, p99 = times(chosen["wanted_p50_ms"]), times(chosen["wanted_p99_ms"])
    answered = shares(chosen["success_rate"])
    limited = " (generator the limit)" if (chosen["generator"] == "limiting").all() else ""
    return f"{_named(over, pool)}: {answered} answered, p50 {p50}, p99 {p99}{limited}"


def _named(over: str, pool: int) -> str:
    return over if over == PLAIN else f"{over}, {pool:,} connection{'s' if pool > 1 else ''}"


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.1f} s"


def _listed(names: list[str]) -> str:
    return ", ".join(f"*{name}*" for name in names) or NO_VALUE
