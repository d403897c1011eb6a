"""From the rows that agents left, and the probe's samples, to the tables of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.events.rows import CONNECTION_COLUMNS, LEDGER_COLUMNS, NOT_READ, REQUEST_COLUMNS, Outcome, Rows
from harness.events.samples import FIELDS, NOT_SAMPLED, RECORD
from harness.events.tables import CONNECTIONS, OUTCOMES, REQUESTS, SAMPLES, Column, schema
from harness.plan.slices import Slice

Arrays = dict[str, NDArray[np.int64]]


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
        for name in LEDGER_COLUMNS:
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
    for name in ("syn_retransmits", "total_retransmits", "unacked", *LEDGER_COLUMNS):
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
