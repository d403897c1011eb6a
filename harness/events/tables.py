"""The tables: one row for every planned connection, one for every request where a connection carries several.

This is the recorded truth, with the schema, units and description of each column; the data dictionary
(``data/README.md``) is generated from here. Times are microseconds from the run's start, null where it did not happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.events.rows import CONNECTION_COLUMNS, NOT_READ, REQUEST_COLUMNS, Outcome, Rows
from harness.events.samples import COUNTER_FIELDS, FIELDS, NOT_SAMPLED, RECORD
from harness.plan.slices import Slice

SCHEMA_VERSION = 1
OUTCOMES = tuple(outcome.name for outcome in Outcome)
_CATEGORY = pa.dictionary(pa.int8(), pa.string())


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its Arrow type, its unit, and what it means."""

    name: str
    type: pa.DataType
    unit: str
    description: str


CONNECTIONS = (
    Column("connection", pa.int32(), "", "number of the connection within the run, from 0"),
    Column("client", pa.int32(), "", "the client that made it, from 0; of a pool, the place in it"),
    Column(
        "attempt",
        pa.int32(),
        "",
        "1 for the client's first connection, 2 for the one after it, …; 0 where the client never tried",
    ),
    Column("agent", pa.int32(), "", "the agent (generator process) that drove it"),
    Column("local_address", _CATEGORY, "", "the client's source address; null where it never got one"),
    Column("local_port", pa.uint16(), "", "the client's source port; null where it never got one"),
    Column(
        "scheduled_us",
        pa.int64(),
        "µs",
        "the pacing slot of its first request; null in bursts, closed loops and pools, and of later attempts",
    ),
    Column("issued_us", pa.int64(), "µs", "just before connect(); null where no SYN left the client"),
    Column(
        "synack_us",
        pa.int64(),
        "µs",
        "when the SYN-ACK had come, by the kernel's clock; null where the client saw it within 8 ms of connect()",
    ),
    Column("established_us", pa.int64(), "µs", "when the client saw the connection established, and sent its request"),
    Column(
        "resent_us",
        pa.int64(),
        "µs",
        "when its first request was sent for the last time, by the kernel's clock; null where once was enough",
    ),
    Column("accepted_us", pa.int64(), "µs", "when the server got it, by its own stamp; null where it did not say"),
    Column("first_byte_us", pa.int64(), "µs", "when the client read the first byte of an answer"),
    Column(
        "arrived_us",
        pa.int64(),
        "µs",
        "when the end of its answer had come, or what was never read, by the kernel's clock; null if read within 8 ms",
    ),
    Column("closed_us", pa.int64(), "µs", "when its last answer was complete, it failed, or the client gave it up"),
    Column(
        "syn_retransmits", pa.uint16(), "packets", "SYNs sent again until it was established; null where it never was"
    ),
    Column(
        "total_retransmits", pa.uint16(), "packets", "all segments sent again by the client, SYNs included, at the end"
    ),
    Column("unacked", pa.uint16(), "packets", "segments sent and not acknowledged, at the end"),
    Column("syns_left", pa.uint16(), "packets", "SYNs that left the client's IP layer; null without the ledger"),
    Column("syns_arrived", pa.uint16(), "packets", "of these, SYNs that reached TCP; null without the ledger"),
    Column("synacks_sent", pa.uint16(), "packets", "SYN-ACKs sent to it; null without the ledger"),
    Column(
        "connect_us",
        pa.int32(),
        "µs",
        "how long bind() and connect() took, or only connect() where source ports are searched; also where it failed",
    ),
    Column("bytes_received", pa.int64(), "bytes", "bytes of all its answers, headers included"),
    Column("status", pa.int16(), "", "HTTP status of its last answer; null where there was none"),
    Column("errno", pa.int16(), "", "errno of the failure; null where no system call failed"),
    Column("outcome", _CATEGORY, "", "what the client saw: " + " · ".join(OUTCOMES)),
)
REQUESTS = (
    Column("request", pa.int32(), "", "number of the request within the run, from 0"),
    Column("connection", pa.int32(), "", "the connection that carried it; null where it never left the client"),
    Column("client", pa.int32(), "", "the client that made it"),
    Column("sequence", pa.int32(), "", "which of the client's requests it is, from 0"),
    Column(
        "attempts", pa.int16(), "", "how often it was tried; what follows is of its last attempt, but for issued_us"
    ),
    Column(
        "scheduled_us",
        pa.int64(),
        "µs",
        "when it was wanted: its pacing slot, or with a pool the start; null in other bursts and in closed loops",
    ),
    Column(
        "issued_us",
        pa.int64(),
        "µs",
        "just before connect() for the first on a connection, else just before it was sent; of its first attempt",
    ),
    Column("accepted_us", pa.int64(), "µs", "when the server got its connection, by its own stamp"),
    Column("first_byte_us", pa.int64(), "µs", "when the client read the first byte of its answer"),
    Column("last_byte_us", pa.int64(), "µs", "when its answer was complete; null unless it was answered"),
    Column("status", pa.int16(), "", "HTTP status of the answer; null where there was none"),
    Column("errno", pa.int16(), "", "errno of the failure; null where no system call failed"),
    Column("outcome", _CATEGORY, "", "what the client saw; the same words as for connections"),
)
_COUNTED = "of the namespace, since it was made; by the kernel's name"
SAMPLES = (
    Column("time_us", pa.int64(), "µs", "when the sample was taken"),
    Column(
        "accept_queue",
        pa.int32(),
        "connections",
        "complete connections waiting to be accepted; null where nobody listened",
    ),
    Column("backlog", pa.int32(), "connections", "the listening socket's backlog"),
    Column(
        "accept_queues",
        pa.int32(),
        "connections",
        "the same of all sockets that listen on the port; where there are several, accept_queue is of the deepest",
    ),
    Column("server_files", pa.int32(), "files", "open files of the server's fullest process"),
    Column("server_files_limit", pa.int32(), "files", "the soft limit of that process"),
    Column("server_threads", pa.int32(), "threads", "threads of the server"),
    Column("server_threads_runnable", pa.int32(), "threads", "of these, running or waiting for a CPU"),
    Column("server_threads_stopped", pa.int32(), "threads", "of these, stopped by a signal or a debugger"),
    Column("server_cpu_us", pa.int64(), "µs", "CPU time of the server since it began, user and system"),
    Column("server_wait_us", pa.int64(), "µs", "time its threads were ready to run and waited for a CPU, since then"),
    Column("server_rss_bytes", pa.int64(), "bytes", "resident memory of the server"),
    *(Column(name, pa.int64(), "packets", _COUNTED) for name in COUNTER_FIELDS),
)
_EVENTS = "inet_sock_set_state · tcp_retransmit_skb · tcp_retransmit_synack · tcp_send_reset · kfree_skb"
TRACE = (
    Column("time_us", pa.int64(), "µs", "when it happened, by the tracing's clock, which is CLOCK_MONOTONIC"),
    Column("event", _CATEGORY, "", f"the kernel's tracepoint: {_EVENTS}"),
    Column(
        "client_address",
        pa.dictionary(pa.int32(), pa.string()),
        "",
        "of the connection's client, also where the server acted; null where it is the listener's or not known whose",
    ),
    Column("client_port", pa.uint16(), "", "in the same way"),
    Column("side", _CATEGORY, "", "who acted: client · server"),
    Column(
        "detail",
        pa.dictionary(pa.int16(), pa.string()),
        "",
        "states as in SYN_SENT>ESTABLISHED; state in which it was sent again; reason of a reset or a drop, with the "
        "state of the sender where that is known; empty where there is no more to say",
    ),
)


def schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema, unit and description in each field's metadata."""
    return pa.schema(
        [
            pa.field(column.name, column.type, metadata={"unit": column.unit, "description": column.description})
            for column in columns
        ],
        metadata={"schema_version": str(SCHEMA_VERSION)},
    )


@dataclass(frozen=True, slots=True)
class Tables:
    """What one run recorded; ``requests`` is None where each connection carries one, whose row it is then."""

    connections: pa.Table
    requests: pa.Table | None
    samples: pa.Table | None = None
    trace: pa.Table | None = None
    server_samples: pa.Table | None = None
    """Of the server, where the samples are of a load balancer before it."""


def assemble(slices: Sequence[Slice], agents: Sequence[Rows], start_ns: int) -> Tables:
    """Join what the agents left into the run's tables; agents in order, so that numbers are known beforehand.

    Whatever an agent came to, every planned request has its row here: those it never got to are ``not_issued``.
    """
    connections, requests = [], []
    first_connection = first_request = 0
    for slice_, rows in zip(slices, agents, strict=True):
        one_each = slice_.request_rows == 0
        made = slice_.clients if one_each else rows.counters()["connections"]
        read = {name: _copy(rows.connection[name])[:made] for name in CONNECTION_COLUMNS}
        kept = rows.counters()["ledger"]
        for name in ("syns_left", "syns_arrived", "synacks_sent"):
            read[name] = read[name].astype(np.int64) if kept else np.full(made, NOT_READ, np.int64)
        read["agent"] = np.full(made, slice_.agent, np.int32)
        read["connection"] = np.arange(first_connection, first_connection + made, dtype=np.int32)
        if one_each:  # also those never tried have their client
            read["client"] = _clients(slice_)
        connections.append(read)
        if not one_each:
            asked = {name: _copy(rows.request[name]) for name in REQUEST_COLUMNS}
            asked["connection"] = np.where(asked["issued_ns"] > 0, asked["connection"] + first_connection, -1)
            asked["attempts"] = np.maximum(asked["attempts"], asked["issued_ns"] > 0)
            asked["request"] = np.arange(first_request, first_request + slice_.requests, dtype=np.int32)
            asked["client"] = np.repeat(_clients(slice_), slice_.requests_per_client)
            asked["sequence"] = np.tile(np.arange(slice_.requests_per_client, dtype=np.int32), slice_.clients)
            requests.append(asked)
        first_connection += made
        first_request += slice_.requests
    source = next((slice_.source for slice_ in slices), None)
    addresses = source.addresses if source is not None else (slices[0].target,)
    return Tables(
        _connection_table(_concatenate(connections), addresses, start_ns),
        _request_table(_concatenate(requests), start_ns) if requests else None,
    )


Arrays = dict[str, NDArray[np.int64]]


def samples_table(path: Path, start_ns: int) -> pa.Table:
    """The probe's samples as a table with the columns of :data:`SAMPLES`; a record cut short is left out."""
    data = path.read_bytes()
    whole = len(data) // RECORD.size * RECORD.size
    read = np.frombuffer(data[:whole], np.int64).reshape(-1, len(FIELDS))
    arrays = []
    for index, column in enumerate(SAMPLES):
        values = (read[:, 0] - start_ns) // 1000 if index == 0 else read[:, index]
        null = np.zeros(len(values), np.bool_) if index == 0 else values == NOT_SAMPLED
        arrays.append(_nullable(values, null, column.type))
    return pa.Table.from_arrays(arrays, schema=schema(SAMPLES))


def _copy(view: memoryview[int]) -> NDArray[np.int64]:
    return np.array(view)


def _clients(slice_: Slice) -> NDArray[np.int64]:
    return slice_.first_client + slice_.stride * np.arange(slice_.clients)


def _concatenate(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _connection_table(rows: Arrays, addresses: Sequence[str], start_ns: int) -> pa.Table:
    _end_what_was_cut_short(rows, "closed_ns")
    bound = rows["local_port"] > 0
    made: dict[str, pa.Array] = {
        "local_address": _dictionary(rows["address"], addresses, bound),
        "local_port": _nullable(rows["local_port"], ~bound, pa.uint16()),
        "outcome": _dictionary(rows["outcome"], OUTCOMES),
        **_common(rows, [name for name in CONNECTION_COLUMNS if name.endswith("_ns")], start_ns),
    }
    made["connect_us"] = _nullable(rows["connect_us"], rows["connect_us"] == 0, pa.int32())
    tried = rows["issued_ns"] > 0
    for name in ("syn_retransmits", "total_retransmits", "unacked", "syns_left", "syns_arrived", "synacks_sent"):
        made[name] = _nullable(rows[name], ~tried | (rows[name] == NOT_READ), pa.uint16())
    return _table(CONNECTIONS, rows, made)


def _request_table(rows: Arrays, start_ns: int) -> pa.Table:
    _end_what_was_cut_short(rows, "last_byte_ns")
    made: dict[str, pa.Array] = {
        "connection": _nullable(rows["connection"], rows["connection"] < 0, pa.int32()),
        "outcome": _dictionary(rows["outcome"], OUTCOMES),
        **_common(rows, ("scheduled_ns", "issued_ns", "accepted_ns", "first_byte_ns", "last_byte_ns"), start_ns),
    }
    return _table(REQUESTS, rows, made)


def _end_what_was_cut_short(rows: Arrays, end: str) -> None:
    """What an agent had issued when it was killed is ``other_error``: it left the client and has no known end.

    A request whose first attempt was issued and whose last could not be is ``not_issued`` with an errno: it has ended.
    """
    cut_short = (rows["outcome"] == Outcome.not_issued) & (rows["issued_ns"] > 0) & (rows["errno"] == 0)
    rows["outcome"] = np.where(cut_short, Outcome.other_error, rows["outcome"])
    rows[end] = np.where(cut_short, 0, rows[end])


def _common(rows: Arrays, times: Sequence[str], start_ns: int) -> dict[str, pa.Array]:
    made = {
        name.replace("_ns", "_us"): _nullable((rows[name] - start_ns) // 1000, rows[name] == 0, pa.int64())
        for name in times
    }
    made["status"] = _nullable(rows["status"], rows["status"] == 0, pa.int16())
    made["errno"] = _nullable(rows["errno"], rows["errno"] == 0, pa.int16())
    return made


def _nullable(values: NDArray[np.int64], null: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    return pa.array(values, mask=null).cast(kind)


def _dictionary(indices: NDArray[np.int64], words: Sequence[str], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    mask = None if valid is None else ~valid
    width = pa.array(indices.astype(np.int8), mask=mask)
    return pa.DictionaryArray.from_arrays(width, pa.array(list(words)))


def _table(columns: Sequence[Column], rows: Arrays, made: dict[str, pa.Array]) -> pa.Table:
    arrays = [made[c.name] if c.name in made else pa.array(rows[c.name]).cast(c.type) for c in columns]
    return pa.Table.from_arrays(arrays, schema=schema(columns))
