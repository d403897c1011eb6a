"""Tables and documents on standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.thought.summary import Summary

NO_VALUE = "–"
UNANSWERED = "unanswered"
"""Stands where a quantile lies among the requests that were never answered."""
_PLAIN_WIDTH = 160


def console() -> Console:
    """Standard output; wide enough for a table where it is not a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH, no_color=True)


def print_json(document: dict[str, Any]) -> None:
    json.dump(document, sys.stdout, indent=1, ensure_ascii=False)
    print()


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A table; the columns named in ``right`` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console().print(table)


def print_list(summaries: Sequence[Summary]) -> None:
    """Many runs in order of time, a line each: what was run, and what came of it."""
    print_rows(
        ("run", "load", "CPUs", "backlog", "answered", "p50", "p99"),
        [
            (
                summary.run.run_id + ("" if _complete(summary) else " (failed)"),
                brief_load(summary),
                summary.run.manifest["cpu"]["regime"],
                or_dash(summary.run.manifest["server"]["backlog_effective"]),
                f"{summary.success_rate:.1%}",
                quantile(summary.latency_ms()["p50"]),
                quantile(summary.latency_ms()["p99"]),
            )
            for summary in summaries
        ],
        right=("backlog", "answered", "p50", "p99"),
    )


def print_batch(summaries: Sequence[Summary]) -> None:
    """Many runs, a line each: stack by scenario and regime."""
    numbers = ("backlog", "answered", "p50", "p99", "answers/s", "dropped by input queue")
    print_rows(
        ("scenario", "CPUs", "server", *numbers, "generator", "run"),
        [
            (
                scenario(summary),
                summary.run.manifest["cpu"]["regime"],
                _server(summary) + ("" if _complete(summary) else " (failed)"),
                or_dash(summary.run.manifest["server"]["backlog_effective"]),
                f"{summary.success_rate:.1%}",
                quantile(summary.latency_ms()["p50"]),
                quantile(summary.latency_ms()["p99"]),
                or_dash(summary.throughput_per_s, ",.0f"),
                or_dash(summary.run.manifest["kernel"].get("counters", {}).get("lo_rx_dropped"), ","),
                summary.generator.verdict,
                summary.run.run_id,
            )
            for summary in sorted(summaries, key=_batch_order)
        ],
        right=numbers,
    )


def print_run(summary: Summary) -> None:
    """One run: failed checks first, then what was run, what came of it, and how far to believe it."""
    run = summary.to_json()
    out = console()
    for check in summary.failed_checks:
        out.print(Text(f"CHECK FAILED  {check.name}: {check.detail}", style="bold red"))
    if run["error"]:
        out.print(Text(f"FAILED  {run['error']['message']}", style="bold red"))
    server, kernel = run["server"], run["kernel"]
    latency, only = run["latency_ms"], run["latency_ms"]["answered_only"]
    asked = "its default" if server["backlog_requested"] is None else server["backlog_requested"]
    counters = kernel.get("counters", {})
    wanted = "the start, when all were wanted" if summary.load.pooled else "connect"
    reference = wanted if run["load"]["rate"] is None else "the slot in which it was due"
    agents = f"{run['generator']['agents']} agent" + ("s" if run["generator"]["agents"] > 1 else "")
    facts = [
        ("run", run["run_id"]),
        ("server", f"{server['name']}: {server['version'] or server['title']}"),
        *_malloc(server),
        ("backlog", f"{or_dash(server['backlog_effective'])} in the kernel, {asked} asked for"),
        *_front(run["front"], run["statuses"]),
        ("load", describe_load(run["load"])),
        ("CPUs", f"{run['cpu']['regime']}: server on {run['cpu']['server']}, clients on {run['cpu']['clients']}"),
        (
            "network",
            "private namespace" if kernel["isolated"] else f"host's loopback: {kernel['not_isolated_because']}",
        ),
        ("outcomes", ", ".join(f"{count:,} {name}" for name, count in run["outcomes"].items() if count)),
        ("success", f"{run['success_rate']:.2%} of {run['planned']:,} planned"),
        ("first try", f"{run['first_try']:,} connections answered without any retransmission"),
        ("latency", f"p50 {quantile(latency['p50'])}, p90 {quantile(latency['p90'])}, p99 {quantile(latency['p99'])}"),
        ("measured", f"over all requests, from {reference} to the last byte"),
        ("of the answered", f"p50 {quantile(only['p50'])}, p99 {quantile(only['p99'])}, max {quantile(only['max'])}"),
        ("answers/s", or_dash(run["throughput_per_s"], ",.0f")),
        *_memory(server),
        ("protocol", f"{run['protocol']['name'] or NO_VALUE}: {run['protocol']['evidence']}"),
        ("connections", f"{run['connections']:,} made, for {run['attempts']:,} attempts"),
        ("in flight", f"{run['peak_in_flight']:,} connections at the most"),
        ("kernel", ", ".join(f"{name} {counters.get(name, 0):,}" for name in SHOWN_COUNTERS) if counters else NO_VALUE),
        (
            "generator",
            f"{agents}, {run['generator']['verdict']}: {run['generator']['because']}",
        ),
        ("checks", "; ".join(f"{check['name']} {check['status']}" for check in run["checks"])),
        *((f"{check['name']}?", check["detail"]) for check in run["checks"] if check["status"] == "unknown"),
        ("folder", run["path"]),
    ]
    begun = run["issued"] > 0
    print_rows(
        ("what", "found"), facts if begun else [fact for fact in facts if fact[0] in ("run", "server", "folder")]
    )


SHOWN_COUNTERS = ("ListenOverflows", "ListenDrops", "TCPSynRetrans", "SyncookiesSent", "lo_rx_dropped")


def describe_load(load: dict[str, Any]) -> str:
    many = f" × {load['requests_per_client']:,} requests" if load["requests_per_client"] > 1 else " × 1 request"
    how = "all at once"
    if load["concurrency"]:
        how = f"{load['concurrency']:,} at a time"
    elif load["rate"]:
        how = f"{load['rate']:,.0f} requests a second"
    if load["connections"] is not None:
        how += f", over a pool of {load['connections']:,} connections"
    if load["http2"]:
        how += ", HTTP/2"
    retries = load["retries"]
    if retries["attempts"] > 1:
        how += f", tried up to {retries['attempts']} times"
    return f"{load['clients']:,} clients{many}, {how}, timeout {load['timeout_s']:g} s, to {load['target_address']}"


def brief_load(summary: Summary) -> str:
    load, stall_ms = summary.load, summary.run.trial.faults.stall_ms
    how = f", {load.rate:,.0f}/s" if load.rate else f", {load.concurrency:,} at a time" if load.concurrency else ""
    how += f" over {load.connections:,}" if load.connections is not None else ""
    how += ", HTTP/2" if load.http2 else ""
    how += f", {load.retries.attempts} attempts" if load.retries.attempts > 1 else ""
    return f"{load.clients:,} × {load.requests_per_client:,}{how}" + (f", stall {stall_ms:g} ms" if stall_ms else "")


def scenario(summary: Summary) -> str:
    return "short" if summary.load.requests_per_client == 1 else "long"


def quantile(value_ms: float | None) -> str:
    """With three digits, in seconds from one second on, as which three digits of milliseconds round too."""
    if value_ms is None or not math.isfinite(value_ms):
        return UNANSWERED
    return f"{value_ms / 1000:.2f} s" if value_ms >= 999.5 else f"{value_ms:.3g} ms"


def or_dash(value: object, form: str = "") -> str:
    return NO_VALUE if value is None else format(value, form)


def _server(summary: Summary) -> str:
    allocator = summary.run.trial.server.allocator
    name = str(summary.run.manifest["server"]["name"])
    return name if allocator == "system" else f"{name}, {allocator}"


def _front(front: dict[str, Any] | None, statuses: dict[str, int]) -> list[tuple[str, str]]:
    """The load balancer that the storm met, if any."""
    if front is None:
        return []
    asked = "its default" if front["backlog_requested"] is None else front["backlog_requested"]
    listener = f"backlog {or_dash(front['backlog_effective'])} in the kernel, {asked} asked for"
    counted = ", ".join(f"{name} {count:,}" for name, count in front.get("counters", {}).items() if count)
    told = ", ".join(f"{count:,} × {status}" for status, count in statuses.items())
    return [
        ("before it", f"{front['name']} {front['version']}: {listener}"),
        ("it counted", counted or NO_VALUE),
        ("clients read", told or NO_VALUE),
        ("to the server", f"{or_dash(front['connections_to_server'], ',')} connections, by the kernel"),
    ]


def _malloc(server: dict[str, Any]) -> list[tuple[str, str]]:
    """Whose it is; older runs do not say."""
    if "allocator_evidence" not in server:
        return []
    return [("allocator", f"{server['allocator']}: {server['allocator_evidence']}")]


def _memory(server: dict[str, Any]) -> list[tuple[str, str]]:
    """And CPU time; older runs do not say."""
    if not server.get("peak_rss_bytes"):
        return []
    text = f"{server['peak_rss_bytes'] / 2**20:.1f} MiB at the most"
    if server.get("settled_rss_bytes"):
        text += f", {server['settled_rss_bytes'] / 2**20:.1f} MiB after a while"
    if "storm_cpu_s" in server:
        text += f"; {server['storm_cpu_s']:.3g} s of CPU in the storm"
    return [("server used", text)]


def _complete(summary: Summary) -> bool:
    return bool(summary.run.manifest["status"] == "complete")


def _batch_order(summary: Summary) -> tuple[bool, bool, str]:
    manifest = summary.run.manifest
    return scenario(summary) == "long", manifest["cpu"]["regime"] == "disjoint", manifest["server"]["name"]
