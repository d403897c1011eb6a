"""One row a run: what notebooks work with, whether the run is recorded here or in the reference data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import PlanError
from harness.events.store import write_table
from harness.events.tables import Column
from harness.plan import OPTIONS, Plan, Trial, value_of
from harness.thought import cause, over_time
from harness.thought.generator import judged_anew
from harness.thought.summary import Summary

RUNS = "runs.parquet"
_JSON = "JSON"
ONE_THREAD = ("node", "python")
"""Servers of the catalogue that answer in one thread, unless they were given workers."""

COLUMNS = (
    Column("run_id", pa.string(), "", "names the run"),
    Column("begun", pa.string(), "UTC", "when it was begun"),
    Column("status", pa.string(), "", "complete or failed"),
    Column("plan_hash", pa.string(), "", "hash of the plan: equal for repeats of the same trial"),
    Column("plan", pa.string(), _JSON, "the trial as planned"),
    Column("host_id", pa.string(), "", "hash of the machine and its kernel"),
    Column("host", pa.string(), _JSON, "the machine"),
    Column("binary_hash", pa.string(), "", "hash of the server's program"),
    Column("server", pa.string(), "", "name in the catalogue"),
    Column("version", pa.string(), "", "versions of what the server is made of"),
    Column("scenario", pa.string(), "", "short: one request a connection; long: several"),
    Column("cpu", pa.string(), "", "shared or disjoint CPUs of server and clients"),
    Column("clients", pa.int32(), "", "number of clients"),
    Column("requests_per_client", pa.int32(), "", "requests each of them makes"),
    Column("planned", pa.int32(), "requests", "clients × requests per client"),
    Column("backlog_effective", pa.int32(), "connections", "the listening socket's, read back from the kernel"),
    Column("listeners", pa.int32(), "sockets", "that listened on the server's port, counted in the kernel"),
    Column("front", pa.string(), "", "the load balancer that the storm met before the server; null without one"),
    Column("front_version", pa.string(), "", "as it says itself"),
    Column("front_backlog_effective", pa.int32(), "connections", "of its listening socket, from the kernel"),
    Column("front_counters", pa.string(), _JSON, "what it counted itself in the storm, by its own names"),
    Column("front_cpu_s", pa.float64(), "s", "its CPU time in the storm"),
    Column("front_peak_rss_bytes", pa.int64(), "bytes", "its largest resident memory since it began"),
    Column("connections_to_server", pa.int64(), "connections", "that it opened, by the kernel's ActiveOpens"),
    Column("statuses", pa.string(), _JSON, "requests by the HTTP status they were answered with; null in older runs"),
    Column("outcomes", pa.string(), _JSON, "requests by outcome"),
    Column("causes", pa.string(), _JSON, "connections by cause; null in runs recorded before there were witnesses"),
    Column("success_rate", pa.float64(), "share", "answered / planned"),
    Column("p50_ms", pa.float64(), "ms", "median latency of all requests; null where it lies among the unanswered"),
    Column("p99_ms", pa.float64(), "ms", "99th percentile, in the same way"),
    Column("throughput_per_s", pa.float64(), "1/s", "answered / seconds from first issue to last answer"),
    Column("wall_s", pa.float64(), "s", "first issue to last end"),
    Column("peak_in_flight", pa.int32(), "connections", "most connections open at one moment"),
    Column("first_try_share", pa.float64(), "share", "connections answered without any retransmission"),
    Column("lo_rx_dropped", pa.int64(), "packets", "dropped by this host's input queue before TCP"),
    Column("counters", pa.string(), _JSON, "deltas of the namespace's TCP counters that moved"),
    Column("engine", pa.string(), "", "what drove the storm: native or python"),
    Column("generator", pa.string(), "", "verdict: ok, limiting or unknown"),
    Column("checks", pa.string(), _JSON, "all checks of the run"),
    Column(
        "latency_shares", pa.list_(pa.float32()), "share", "of all requests answered within each step of stats.GRID_MS"
    ),
    Column("answers_per_step", pa.list_(pa.int32()), "requests", "answers in each 100 ms from the start"),
    Column(
        "allocator", pa.string(), "", "proved of the running server: system, jemalloc, mimalloc; null in older runs"
    ),
    Column("allocator_evidence", pa.string(), "", "how it was proved"),
    Column("server_cpu_s", pa.float64(), "s", "CPU time of the server in the storm; null in older runs"),
    Column("peak_rss_bytes", pa.int64(), "bytes", "largest resident memory of the server since it began"),
    Column("settled_rss_bytes", pa.int64(), "bytes", "resident memory settle_s after the storm; null if not waited"),
    Column("peak_server_files", pa.int32(), "files", "most open files of the server's fullest process in the samples"),
    Column("server_files_limit", pa.int32(), "files", "soft limit of that process, as it ran"),
    Column("out_of_files_lines", pa.int32(), "lines", "of the server's log that say so; null in older runs"),
    Column("server_ended", pa.string(), "", "how the server ended by itself in the storm; null if it did not"),
    Column(
        "rss_per_step",
        pa.list_(pa.int64()),
        "bytes",
        "resident memory of the server in each 100 ms from the start, the last sample of each; null without samples",
    ),
    Column(
        "connect_us_per_step",
        pa.list_(pa.float32()),
        "µs",
        "what bind() and connect() took: medians of 500 connections each, in order of issue; null in older runs",
    ),
    Column("connections_made", pa.int32(), "connections", "null in older runs, as all that follows"),
    Column("attempts_made", pa.int32(), "attempts", "of all requests"),
    Column(
        "wanted_p50_ms", pa.float64(), "ms", "as p50_ms, from when a request was wanted: in a burst, the storm's start"
    ),
    Column("wanted_p99_ms", pa.float64(), "ms", "in the same way"),
    Column("goodput_per_s", pa.list_(pa.int32()), "1/s", "answers in each second from the start"),
    Column("connects_per_s", pa.list_(pa.int32()), "1/s", "connections begun in each second from the start"),
    Column("trigger_over_s", pa.float64(), "s", "end of a stall in mid-run; null where there was none"),
    Column("protocol", pa.string(), "", "what the agents heard: HTTP/1.1 or HTTP/2"),
    Column("protocol_evidence", pa.string(), "", "what of it they heard, and with which library"),
    Column(
        "requests_at_once",
        pa.int32(),
        "requests",
        "the most that one connection had under way at one moment; null where they were tried again",
    ),
    Column(
        "peak_accept_queue",
        pa.int32(),
        "connections",
        "most in all accept queues that the storm met, in the samples: a load balancer's if there is one",
    ),
    Column("peak_server_queue", pa.int32(), "connections", "the same of the server's own; null in older runs, both"),
)

NAMES = tuple(column.name for column in COLUMNS)
_DOCUMENTS = tuple(column.name for column in COLUMNS if column.unit == _JSON)
_SCHEMA = pa.schema([pa.field(column.name, column.type) for column in COLUMNS])


def line(summary: Summary) -> dict[str, object]:
    """A run as one row; keys are the names in :data:`COLUMNS`."""
    manifest = summary.run.manifest
    counters = manifest["kernel"].get("counters", {})
    latency = summary.latency_ms()
    files, limit = summary.server_files or (None, None)
    return {
        "run_id": summary.run.run_id,
        "begun": manifest["begun"],
        "status": manifest["status"],
        "plan_hash": manifest["plan_hash"],
        "plan": manifest["plan"],
        "host_id": manifest["host"]["host_id"],
        "host": manifest["host"],
        "binary_hash": manifest["server"]["binary_hash"],
        "server": manifest["server"]["name"],
        "version": manifest["server"]["version"],
        "scenario": "short" if summary.load.requests_per_client == 1 else "long",
        "cpu": manifest["cpu"]["regime"],
        "clients": summary.load.clients,
        "requests_per_client": summary.load.requests_per_client,
        "planned": summary.load.planned,
        "backlog_effective": manifest["server"]["backlog_effective"],
        "listeners": manifest["server"].get("listeners"),
        **_front(summary),
        "statuses": summary.statuses,
        "outcomes": summary.outcomes,
        "causes": cause.counts(summary.causes),
        "success_rate": summary.success_rate,
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "throughput_per_s": summary.throughput_per_s,
        "wall_s": summary.wall_s,
        "peak_in_flight": summary.peak_in_flight,
        "first_try_share": summary.first_try / max(1, len(summary.connections)),
        "lo_rx_dropped": counters.get("lo_rx_dropped"),
        "counters": {name: moved for name, moved in counters.items() if moved},
        "engine": summary.run.engine,
        "generator": summary.generator.verdict,
        "checks": [dataclasses.asdict(check) for check in summary.checks],
        "latency_shares": summary.latencies.shares().astype(np.float32),
        "answers_per_step": summary.timeline.astype(np.int32),
        "allocator": manifest["server"].get("allocator") if "allocator_evidence" in manifest["server"] else None,
        "allocator_evidence": manifest["server"].get("allocator_evidence"),
        "server_cpu_s": manifest["server"].get("storm_cpu_s"),
        "peak_rss_bytes": manifest["server"].get("peak_rss_bytes"),
        "settled_rss_bytes": manifest["server"].get("settled_rss_bytes"),
        "peak_server_files": files,
        "server_files_limit": limit,
        "out_of_files_lines": summary.out_of_files_lines,
        "server_ended": manifest["server"].get("ended"),
        "rss_per_step": over_time.memory(summary),
        "connect_us_per_step": over_time.connect_costs(summary),
        "connections_made": summary.connections_made,
        "attempts_made": summary.attempts,
        "wanted_p50_ms": summary.since_wanted.quantile(0.5),
        "wanted_p99_ms": summary.since_wanted.quantile(0.99),
        "goodput_per_s": over_time.goodput_per_s(summary).astype(np.int32),
        "connects_per_s": over_time.connects_per_s(summary).astype(np.int32),
        "trigger_over_s": _trigger_over_s(manifest),
        "protocol": summary.protocol.name,
        "protocol_evidence": summary.protocol.evidence,
        "requests_at_once": summary.requests_at_once,
        "peak_accept_queue": summary.deepest(summary.samples),
        "peak_server_queue": summary.deepest(summary.server_samples),
    }


def _front(summary: Summary) -> dict[str, object]:
    front = summary.run.manifest.get("front")
    if front is None:
        return {}
    return {
        "front": front["name"],
        "front_version": front["version"],
        "front_backlog_effective": front["backlog_effective"],
        "front_counters": front.get("counters", {}),
        "front_cpu_s": front.get("storm_cpu_s"),
        "front_peak_rss_bytes": front.get("peak_rss_bytes"),
        "connections_to_server": summary.connections_to_server,
    }


def _trigger_over_s(manifest: Mapping[str, Any]) -> float | None:
    over_us = manifest.get("stalled_us", (None, None))[1]
    return None if over_us is None else over_us / 1e6


def frame(summaries: Iterable[Summary]) -> pd.DataFrame:
    """Runs as a frame with the columns of :data:`COLUMNS`."""
    table = pd.DataFrame([line(summary) for summary in summaries], columns=list(_SCHEMA.names))
    return _parsed(_arrow(table))  # the same types as those that are read back


def with_options(runs: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The runs with options of their plans as columns, by the names that the command line and plan files have.

    Raises:
        PlanError: there is no option of that name.
    """
    unknown = [name for name in names if name not in OPTIONS]
    if unknown:
        raise PlanError(f"no option is called {', '.join(unknown)}", f"there are {', '.join(sorted(OPTIONS))}")
    texts = [json.dumps(plan) for plan in runs["plan"]]
    trials = {text: Trial.from_json(plan) for text, plan in dict(zip(texts, runs["plan"], strict=True)).items()}
    found = {name: [value_of(trials[text], name) for text in texts] for name in names}
    return runs.assign(**found)


def with_variants(runs: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The runs with a column ``variant``: the variant of the plan that each is of, categories in the plan's order."""
    names = dict(zip((trial.plan_hash for trial in plan.trials), plan.variants, strict=True))
    found = pd.Categorical(runs["plan_hash"].map(names), categories=list(dict.fromkeys(plan.variants)), ordered=True)
    return runs.assign(variant=found).sort_values("variant", kind="stable", ignore_index=True)


def with_causes(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with a column for each cause, the share of their connections that it took; null where not known."""
    counted = pd.DataFrame(documents(runs["causes"]), index=runs.index)
    shares = counted.reindex(columns=list(cause.CAUSES)).div(counted.sum(axis=1), axis=0)
    return runs.join(shares)


def with_counters(runs: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The runs with counters of their namespaces as columns, by the kernel's names: how far each moved."""
    return runs.assign(**{name: [moved.get(name, 0) for moved in runs["counters"]] for name in names})


def documents(column: pd.Series) -> list[dict[str, Any]]:
    """The documents in a column of runs; empty where a run has none."""
    return [value if isinstance(value, dict) else {} for value in column]


def write(runs: pd.DataFrame, path: Path) -> None:
    """Keep a frame of runs as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(_arrow(runs), path)


def _arrow(runs: pd.DataFrame) -> pa.Table:
    texts = {name: pd.Series([_text(value) for value in runs[name]], runs.index, object) for name in _DOCUMENTS}
    return pa.Table.from_pandas(runs.assign(**texts), schema=_SCHEMA, preserve_index=False).replace_schema_metadata()


def _text(document: Any) -> str | None:
    return json.dumps(document) if isinstance(document, dict | list) else None


def read(path: Path, trials: Collection[str] | None = None) -> pd.DataFrame:
    """The inverse of :func:`write`, of these plan hashes or all; columns that an older file lacks are null."""
    table = pq.read_table(path, filters=None if trials is None else pc.field("plan_hash").isin(list(trials)))
    for column in COLUMNS:
        if column.name not in table.column_names:
            table = table.append_column(column.name, pa.nulls(len(table), column.type))
    return _parsed(table.select(NAMES))


def _parsed(table: pa.Table) -> pd.DataFrame:
    """A frame in which documents are what they say, not text; None where they are null."""
    runs: pd.DataFrame = table.to_pandas()
    documents = {
        name: [None if text is None else json.loads(text) for text in table[name].to_pylist()] for name in _DOCUMENTS
    }
    parsed = runs.assign(**{name: pd.Series(values, runs.index, object) for name, values in documents.items()})
    engine = parsed["engine"].fillna("python")  # before there was another
    return parsed.assign(engine=engine, generator=[_judged_anew(run) for run in parsed.to_dict("records")])


def _judged_anew(run: Mapping[Hashable, Any]) -> str:
    """What earlier rules said of the generator, by those of today."""
    told = next((check["detail"] for check in run["checks"] or () if check["name"] == "generator"), "")
    paced = run["plan"]["load"]["rate"] is not None
    return judged_anew(run["generator"], told, _server_busy(run), run["p99_ms"], paced=paced)


def _server_busy(run: Mapping[Hashable, Any]) -> float | None:
    """Of the CPUs that the server could use, the share that it did; None where that was not recorded."""
    used_s, wall_s, cpus = run["server_cpu_s"], run["wall_s"], run["host"]["cpus"]
    if pd.isna(used_s) or pd.isna(wall_s) or not wall_s:
        return None
    if run["server"] in ONE_THREAD and run["plan"]["server"].get("workers") is None:
        cpus = 1
    elif run["cpu"] == "disjoint":
        cpus //= 2
    return float(used_s / (wall_s * cpus))
