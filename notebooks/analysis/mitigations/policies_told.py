"""What is said of pools and HTTP/2, in tables and words, computed from the runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from analysis.files.emfile import ran_out
from analysis.mitigations.fewer import TOLD, Bound, Way, comparisons
from analysis.mitigations.policies import HTTP2, PLAIN, POOL, good_pools
from harness.page import notebook as say
from harness.page.numbers import points, with_spread
from harness.page.tables import NO_VALUE, UNANSWERED, quantile
from harness.thought.comparing import limited
from harness.thought.stats import median_of_runs
from harness.thought.summary import Summary

_RATIOS = {
    "wanted_p50_ms": "p50",
    "wanted_p99_ms": "p99",
    "cpu_us_per_answer": "server's CPU per answer",
    "peak_rss_bytes": "peak memory",
}
_SIGNS: Mapping[Bound, str] = {"equal": "", "at most": "≤ ", "at least": "≥ "}


def protocols(runs: pd.DataFrame) -> pd.DataFrame:
    """What each kind of storm was really spoken in, with whose versions; ``evidence`` is that of the first run."""
    groups = runs.groupby(["server", "over", "protocol", "version"], sort=False)
    table = groups["protocol_evidence"].agg(["size", "first"]).rename(columns={"size": "storms", "first": "evidence"})
    at_once = groups["requests_at_once"].agg(lambda most: say.span(most, "{:.0f}".format))
    table.insert(1, "requests at once on a connection", at_once)
    return table.reset_index()


def carried(kept: Mapping[str, Summary]) -> pd.DataFrame:
    """Of single storms, by name: whether there is a row for every request, and how they shared connections."""
    rows = {}
    for name, storm in kept.items():
        requests = storm.requests.to_pandas()
        each = requests.groupby("connection").size()
        rows[name] = {
            "run": storm.run.run_id,
            "requests planned": f"{storm.load.planned:,}",
            "rows": f"{len(requests):,}",
            "different requests in them": f"{requests['request'].nunique():,}",
            "connections in them": f"{len(each):,}",
            "requests on a connection": say.counts(each),
            "most at once on a connection": storm.requests_at_once,
        }
    return pd.DataFrame(rows).T


def conserved(runs: pd.DataFrame) -> str:
    """Whether each request has one outcome, whatever it took."""
    ended = runs["outcomes"].map(lambda outcomes: sum(outcomes.values()))
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
    said = ", ".join(f"{over} {say.of_all(storms)}" for over, storms in limiting)
    return f"The generator was the limit in so many storms: {said}."


def spoken(runs: pd.DataFrame) -> str:
    """In how many storms the protocol heard is the one that was asked for."""
    asked = runs["over"].map(lambda over: "HTTP/2" if over == HTTP2 else "HTTP/1.1")
    return f"In {(runs['protocol'] == asked).sum()} of {len(runs)} storms the protocol heard is the one asked for."


def means(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and way of connecting: means over storms with their intervals.

    Times count from when a request was wanted; of the plain storm also from when a client had issued it.
    """
    rows = {}
    together = runs.sort_values("server", kind="stable", key=lambda names: pd.factorize(names)[0])
    for _, storms in together.groupby(["server", "over", "pool"], sort=False):
        server, over, pool = (storms[name].iloc[0] for name in ("server", "over", "pool"))
        issued = {name: times(storms[f"{name}_ms"]) if over == PLAIN else NO_VALUE for name in ("p50", "p99")}
        rows[(server, _named(over, pool))] = {
            "storms": len(storms),
            "answered": shares(storms["success_rate"]),
            "p50": times(storms["wanted_p50_ms"]),
            "p50, from issue": issued["p50"],
            "p99": times(storms["wanted_p99_ms"]),
            "p99, from issue": issued["p99"],
            "connections": say.counts(storms["connections_made"]),
            "server's CPU per answer, µs": say.mean_and_interval(storms["cpu_us_per_answer"], "{:.1f}".format),
            "peak memory, MiB": say.mean_and_interval(storms["peak_rss_mib"], "{:.1f}".format),
            "generator": say.generators(storms),
        }
    return pd.DataFrame(rows).T


def compared(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and fewer connections: ratios to the plain storm there with their intervals, and the
    difference in who is answered.

    A time that is a bound has its sign (:data:`fewer.Bound`); where nothing is known of it there is a dash.
    """
    servers = list(dict.fromkeys(runs["server"]))
    found = sorted(comparisons(runs), key=lambda one: (servers.index(one.server), one.over == HTTP2, one.pool))
    return pd.DataFrame({(one.server, _named(one.over, one.pool)): _row(one) for one in found}).T


def shares(values: pd.Series) -> str:
    """Mean and interval of a share over storms."""
    return say.mean_and_interval(values, say.percent)


def times(values_ms: pd.Series) -> str:
    """Mean and interval of a quantile over storms; their median where it lies among the unanswered in some of them."""
    lost = int(values_ms.isna().sum())
    if lost == len(values_ms):
        return UNANSWERED
    if not lost:
        return say.mean_and_interval(values_ms, quantile)
    in_some = f"{UNANSWERED} in {lost} of {len(values_ms)}"
    middle = median_of_runs(values_ms)
    return in_some if math.isinf(middle) else f"median {quantile(middle)}; {in_some}"


def headline(runs: pd.DataFrame, *fewer: str) -> str:
    """What the plain storm's 99th percentile is on the stacks, and with as many connections as are told of others."""
    kinds = {"in the plain storm": runs[runs["over"] == PLAIN]}
    for over in fewer:
        named = f"with {'a pool of' if over == POOL else f'{over} over'} {TOLD[over]:,}"
        kinds[named] = runs[(runs["over"] == over) & (runs["pool"] == TOLD[over])]
    shown = {kind: storms.groupby("server")["wanted_p99_ms"] for kind, storms in kinds.items() if len(storms)}
    spans = (f"{say.latency_span(times_ms.agg(median_of_runs))} {kind}" for kind, times_ms in shown.items())
    return f"p99 by stack: {'; '.join(spans)}"


def lost_by_the_host(runs: pd.DataFrame) -> str:
    """In how many storms of each way of connecting this host's own input queue dropped packets."""
    dropped = (runs["lo_rx_dropped"] > 0).groupby(runs["over"], sort=False)
    said = ", ".join(f"{over} {say.of_all(storms)}" for over, storms in dropped)
    return f"This host's own input queue dropped packets in so many storms: {said}." if said else ""


def knees(runs: pd.DataFrame, within: float) -> str:
    """Where more connections stop to help."""
    sizes = ", ".join(f"{size:,}" for size in sorted(set(runs.loc[runs["over"] == POOL, "pool"])))
    lead = f"Of the sizes tried ({sizes}), the smallest and the largest pool whose p99 is within {within:.0%} of the "
    return f"{lead}best pool's: {of_servers(runs, within)}."


def of_servers(runs: pd.DataFrame, within: float, called: Callable[[str], str] = str) -> str:
    """The smallest and the largest good pool of each server, and where the generator was the limit, with the smallest
    or with the best one."""
    pools = runs[runs["over"] == POOL]
    best, found = (good_pools(runs, "wanted_p99_ms", share) for share in (0, within))
    said = []
    for server, sizes in found.items():
        of_server = pools[pools["server"] == server]
        its_own = not any(limited(of_server[of_server["pool"] == size]) for size in (sizes[0], best[server][0]))
        reach = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} and {sizes[-1]:,}"
        said.append(f"{called(server)} {reach}{'' if its_own else ' (generator the limit)'}")
    return ", ".join(said)


def out_of_files(runs: pd.DataFrame) -> str:
    """Where the server could not keep so many connections open, how many files it may have, and whose program that
    ended; empty if nowhere."""
    hit = runs[ran_out(runs)]
    if hit.empty:
        return ""
    places = ", ".join(f"{pool:,}" for pool in sorted(set(hit["pool"])))
    asked = runs[runs["pool"].isin(hit["pool"]) & runs["over"].isin(hit["over"])]
    limit = say.counts(hit["server_files_limit"])
    plain = ", plain ones included," if (asked["over"] == PLAIN).any() else ""
    ran = f"In {len(hit)} of {len(asked)} storms over {places} connections{plain} the server ran out of open files"
    by_server = hit["server_ended"].notna().groupby(hit["server"], sort=False).agg(["sum", "size"])
    ended = [f"{server} in {row['sum']} of {row['size']}" for server, row in by_server.iterrows() if row["sum"]]
    going = [str(server) for server, row in by_server.iterrows() if not row["sum"]]
    how = f" That ended the program of {', '.join(ended)} such storms" if ended else " No program ended of that"
    how += f"; {', '.join(going)} went on." if ended and going else "."
    return f"{ran}: it may have {limit}.{how}"


def _conserves(checks: Sequence[Mapping[str, str]]) -> bool:
    return any(check["name"] == "conservation" and check["status"] == "pass" for check in checks)


def _told(storms: pd.DataFrame, over: str) -> str:
    """Who is answered, and when; of the plain storm also from when a client had issued the request."""
    p50, p99 = times(storms["wanted_p50_ms"]), times(storms["wanted_p99_ms"])
    issued = f" from when wanted and {times(storms['p50_ms'])} from issue" if over == PLAIN else ""
    bound = " (generator the limit)" if limited(storms) else ""
    way = _named(over, storms["pool"].iloc[0])
    return f"{way}: {shares(storms['success_rate'])} answered, p50 {p50}{issued}, p99 {p99}{bound}"


def _row(one: Way) -> dict[str, object]:
    answered = NO_VALUE if one.answered is None else points(one.answered.mean)
    counts = f"{len(one.storms)} and {len(one.plain)}"
    made = " instead of ".join(say.counts(storms["connections_made"]) for storms in (one.storms, one.plain))
    ratios = {label: _ratio(one, measure) for measure, label in _RATIOS.items()}
    return {"storms": counts, "answered": answered, "connections": made, **ratios}


def _ratio(one: Way, measure: str) -> str:
    found, bound = one.ratios[measure], one.bounds.get(measure, "equal")
    if found is None or bound == "unknown":
        return NO_VALUE
    return _SIGNS[bound] + with_spread(found.ratio, "ratio")


def _named(over: str, pool: int) -> str:
    return over if over == PLAIN else f"{over}, {pool:,} connection{'s' if pool > 1 else ''}"
