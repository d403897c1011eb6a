"""Literal tables: rows as keywords, with the columns of :mod:`events.tables`; what is not said did not happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from harness.events.tables import CONNECTIONS, SAMPLES, Column, schema

Row = Mapping[str, Any]
DISTURBED = ("synack_us", "resent_us", "arrived_us")
"""Columns that tables recorded by earlier versions lack."""


def table_of(columns: Sequence[Column], rows: Iterable[Row]) -> pa.Table:
    rows = list(rows)
    unknown = {name for row in rows for name in row} - {column.name for column in columns}
    assert not unknown, unknown
    arrays = [pa.array([row.get(column.name) for row in rows], column.type) for column in columns]
    return pa.Table.from_arrays(arrays, schema=schema(columns))


def connections(*rows: Row) -> pa.Table:
    """A connections table; each row is a client of its own, of whose request every copy arrived, unless it says so."""
    numbered = (
        {"connection": index, "client": index, "requests_arrived": _requests(row), **row}
        for index, row in enumerate(rows)
    )
    return table_of(CONNECTIONS, numbered)


def _requests(row: Row) -> int | None:
    if row.get("syns_arrived") is None:
        return None
    sent_again = (row.get("total_retransmits") or 0) - (row.get("syn_retransmits") or 0)
    return 0 if row.get("established_us") is None else 1 + sent_again


def samples(*rows: Row) -> pa.Table:
    """Of one socket, unless a row says otherwise; none where nothing is queued."""
    return table_of(SAMPLES, [_one_socket(row) | dict(row) for row in rows])


def _one_socket(row: Row) -> dict[str, Any]:
    depth = row.get("accept_queue")
    sockets = 0 if depth is None else 1
    return {"accept_queues": depth, "listeners": sockets, "listener_inodes": 4_711 * sockets}


def answered(**changes: Any) -> dict[str, Any]:
    """Answered at the first try, nothing lost, accepted at 2 ms, done at 5 ms."""
    return {
        "attempt": 1,
        "agent": 0,
        "issued_us": 1_000,
        "established_us": 1_100,
        "accepted_us": 2_000,
        "first_byte_us": 4_900,
        "closed_us": 5_000,
        "syn_retransmits": 0,
        "total_retransmits": 0,
        "unacked": 0,
        "syns_left": 1,
        "syns_arrived": 1,
        "synacks_sent": 1,
        "bytes_received": 100,
        "status": 200,
        "outcome": "answered",
        **changes,
    }


def unanswered(**changes: Any) -> dict[str, Any]:
    """Established at the first try, its request acknowledged, and nothing more until its deadline 10 s later."""
    nothing = {"accepted_us": None, "first_byte_us": None, "bytes_received": 0, "status": None}
    return answered(**{**nothing, "closed_us": 10_001_000, "outcome": "answer_timeout", **changes})


def never_established(**changes: Any) -> dict[str, Any]:
    """Three SYNs that reached the listener and got no SYN-ACK, until its deadline 10 s later."""
    lost = {
        "established_us": None,
        "syn_retransmits": None,
        "total_retransmits": 2,
        "syns_left": 3,
        "syns_arrived": 3,
        "synacks_sent": 0,
        "outcome": "connect_timeout",
    }
    return unanswered(**{**lost, **changes})


def not_issued(**changes: Any) -> dict[str, Any]:
    return {"attempt": 0, "agent": 0, "bytes_received": 0, "outcome": "not_issued", **changes}


def without_ledger(row: Row) -> dict[str, Any]:
    return {**row, "syns_left": None, "syns_arrived": None, "synacks_sent": None}


def queue(*stretches: tuple[float, float, int | None], backlog: int = 128, every_us: int = 5_000) -> list[Row]:
    """Samples of the queue alone: (begin, end, depth) in milliseconds, both ends sampled."""
    return [
        {"time_us": time_us, "accept_queue": depth, "backlog": None if depth is None else backlog}
        for begin_ms, end_ms, depth in stretches
        for time_us in range(int(begin_ms * 1000), int(end_ms * 1000) + 1, every_us)
    ]
