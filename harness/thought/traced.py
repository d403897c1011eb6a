"""The rows against the trace: whether what clients, server and samples told is what the kernel's tracepoints saw.

A pure function of three tables. Nothing here is used to explain a run: it is how the explanations are put to the test.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.events.kernel import RESOLUTION_TICKS, TICK_US
from harness.events.rowtimes import Bools, Connections, Floats

GHOST_US = 10_000
"""A connection whose client waited longer than this for the server's half was a ghost; shorter waits lie within the
resolution of the rows, two jiffies."""
BEFORE_ISSUE_US = 1_000
"""A row says when connect() was about to be called, cut to µs; nothing of its connection lies much before."""
QUANTILES = {"p1": 0.01, "p50": 0.5, "p99": 0.99}
RESOLUTION_US = RESOLUTION_TICKS * TICK_US
_PORTS = 1 << 16
Indices = NDArray[np.int64]


LATE_REQUEST = "its last ACK was ignored, and its request, asked late, made the child: nothing was sent again"
LOST_REQUEST = "the child was there, and its request was sent again all the same: the request was lost, not the ACK"
NEAR_LIMIT = "a wait near the limit from which one is called a ghost"
COARSE_CLOCK = "dated by TCP_INFO in jiffies, or by a client that was late itself"


@dataclass(frozen=True)
class Traced:
    """The rows of one run and what the trace says of the same connections; arrays of shape (connections,).

    ``connections`` and ``causes`` have the same rows (:data:`harness.events.tables.CONNECTIONS`,
    :data:`harness.thought.cause.COLUMNS`), ``trace`` the columns of :data:`harness.events.tables.TRACE`.
    """

    connections: pa.Table
    causes: pa.Table
    trace: pa.Table

    @functools.cached_property
    def rows(self) -> Connections:
        return Connections(self.connections)

    @functools.cached_property
    def events(self) -> TraceEvents:
        return TraceEvents(self.connections, self.trace)

    @functools.cached_property
    def established(self) -> Floats:
        return self.events.first("inet_sock_set_state", "client", "SYN_SENT>ESTABLISHED")

    @functools.cached_property
    def entered(self) -> Floats:
        """When the server's half was made, which is put into the accept queue at once."""
        return self.events.first("inet_sock_set_state", "server", "LISTEN>SYN_RECV")

    @functools.cached_property
    def issued(self) -> Bools:
        return ~np.isnan(self.rows["issued_us"])

    @functools.cached_property
    def known(self) -> Bools:
        """Rows that say when they were established."""
        return self.issued & ~(np.isnan(self.rows["established_us"]) & np.isnan(self.rows["synack_us"]))

    @functools.cached_property
    def row_established(self) -> Floats:
        waits = Connections(_with_outcome(self.causes, self.connections))["syn_wait_us"]
        return np.where(self.known, self.rows["issued_us"] + waits, np.nan)

    @functools.cached_property
    def row_ghost_wait(self) -> Floats:
        return Connections(_with_outcome(self.causes, self.connections))["ghost_wait_us"]

    @functools.cached_property
    def ghost(self) -> Bools:
        """Of the trace: the client's half was there long before the server's."""
        return ~np.isnan(self.established) & ~(self.entered - self.established <= GHOST_US)

    @functools.cached_property
    def row_ghost(self) -> Bools:
        return np.asarray(self.row_ghost_wait > GHOST_US)

    @functools.cached_property
    def asked_late(self) -> Bools:
        """The server's half was made as the client came to ask."""
        return np.asarray(self.entered - self.rows["established_us"] <= RESOLUTION_US)


def differences(run: Traced) -> list[dict[str, Any]]:
    """Each disagreement by itself: connection, what, by the rows, by the trace, and what made it."""
    found = []
    apart = run.row_established - run.established
    for index in np.flatnonzero(np.abs(apart) > RESOLUTION_US).tolist():
        values = (run.row_established[index], run.established[index])
        found.append(_difference(index, "established_us", *values, COARSE_CLOCK))
    for index in np.flatnonzero(run.issued & (run.row_ghost != run.ghost)).tolist():
        only_trace = bool(run.ghost[index])
        waits = (run.row_ghost_wait[index], run.entered[index] - run.established[index])
        if only_trace:
            why = LATE_REQUEST if run.asked_late[index] else NEAR_LIMIT
        else:
            why = LOST_REQUEST if not np.isnan(run.entered[index]) else NEAR_LIMIT
        found.append(_difference(index, "ghost_wait_us", *waits, why))
    again = run.events.count("tcp_retransmit_skb", "client", "SYN_SENT", run.rows["closed_us"])
    of_rows = run.rows["syn_retransmits"]
    unequal = np.flatnonzero(~np.isnan(of_rows) & (of_rows != again)).tolist()
    return found + [_difference(index, "syn_retransmits", of_rows[index], again[index], "") for index in unequal]


def _difference(index: int, what: str, by_rows: float, by_trace: float, because: str) -> dict[str, Any]:
    values = {"rows": by_rows, "trace": by_trace}
    numbers = {name: None if np.isnan(value) else round(value) for name, value in values.items()}
    return {"connection": index, "what": what, **numbers, "because": because}


def compare(run: Traced) -> dict[str, Any]:
    """Counts of rows that agree and disagree with the trace, and quantiles of differences, µs (rows − trace).

    A ``null`` in place of counts says that the rows have nothing to compare.
    """
    rows, events, established, entered = run.rows, run.events, run.established, run.entered
    in_queue = events.first("inet_sock_set_state", "server", "SYN_RECV>ESTABLISHED")
    row_entered = np.where(run.known, run.row_established + run.row_ghost_wait, np.nan)
    until_end = np.where(np.isnan(rows["closed_us"]), np.inf, rows["closed_us"])
    in_time = entered <= until_end
    retransmits = events.count("tcp_retransmit_skb", "client", "", until_end)
    syns_again = events.count("tcp_retransmit_skb", "client", "SYN_SENT", until_end)
    lost_syns = events.count("kfree_skb", "client", "CPU_BACKLOG SYN_SENT", until_end)
    ever = ~np.isnan(rows["syn_retransmits"])
    issued, ghost, by_rows = run.issued, run.ghost, run.row_ghost
    return {
        "connections": int(issued.sum()),
        "events": len(run.trace),
        "events_of_no_row": events.strangers,
        "established": {
            **_both(run.known[issued], ~np.isnan(established)[issued]),
            "kernel_us": _differences(run.row_established - established),
            "synack_us": _differences(rows["synack_us"] - established),
            "seen_us": _differences(rows["established_us"] - established),
        },
        "entered": {
            "children": int((~np.isnan(entered)).sum()),
            "after_end": int((entered > until_end).sum()),
            "difference_us": _differences(np.where(ghost, np.nan, row_entered - entered)),
            # Where it is large, the ACK of a SYN-ACK sent again let it in before its request was heard.
            "of_ghosts_us": _differences(np.where(ghost & by_rows & in_time, row_entered - entered, np.nan)),
            "took_us": _quantiles(in_queue - entered),
        },
        "ghosts": {
            **_both(by_rows[issued], ghost[issued]),
            # The client saw it late: its request took the place of the ignored ACK, and nothing was sent again.
            "only_trace_until_asked": int((ghost & ~by_rows & run.asked_late).sum()),
            # The server had it, and what was sent again was the request: lost, but not for want of the last ACK.
            "only_rows_had_child": int((by_rows & ~ghost & ~np.isnan(entered)).sum()),
        },
        "syn_retransmits": _equal(rows["syn_retransmits"], syns_again, ever),
        "total_retransmits": _equal(rows["total_retransmits"], retransmits, issued),
        "syns_lost_before_tcp": _equal(rows["syns_left"] - rows["syns_arrived"], lost_syns, issued),
        "accepted": _accepted(rows["accepted_us"], entered),
    }


class TraceEvents:
    """The trace's events, each with the row of its connection."""

    def __init__(self, connections: pa.Table, trace: pa.Table) -> None:
        rows = Connections(connections)
        self._rows = len(rows)
        codes: dict[Any, int] = {}
        issued = np.nan_to_num(rows["issued_us"], nan=np.inf)
        pairs = _pairs(connections["local_address"], rows["local_port"], codes)
        happened = trace["time_us"].to_numpy().astype(np.float64)
        ports = trace["client_port"].cast(pa.float64()).to_numpy()
        of_events = _pairs(trace["client_address"], ports, codes)
        self._of, self._time = _latest(pairs, issued - BEFORE_ISSUE_US, of_events, happened), happened
        self.strangers = int(np.count_nonzero((self._of < 0) & (of_events >= 0)))
        """Events of a client that is no row: one that asked whether the server is ready."""
        self._columns = {name: np.asarray(trace[name].to_pylist(), object) for name in ("event", "side", "detail")}

    def first(self, event: str, side: str, detail: str) -> Floats:
        """When it first happened to each connection; NaN where it did not. Shape (connections,)."""
        chosen = self._are(event, side) & (self._columns["detail"] == detail)
        earliest = np.full(self._rows, np.inf)
        np.minimum.at(earliest, self._of[chosen], self._time[chosen])
        return np.where(np.isinf(earliest), np.nan, earliest)

    def count(self, event: str, side: str, detail: str, until: Floats) -> Floats:
        """How often it happened to each connection until then; every ``detail`` that begins so."""
        alike = np.array([str(text).startswith(detail) for text in self._columns["detail"]], np.bool_)
        chosen = self._are(event, side) & alike
        chosen &= self._time <= np.append(until, -np.inf)[self._of]  # -1, no row, reads the last
        return np.bincount(self._of[chosen], minlength=self._rows).astype(np.float64)

    def _are(self, event: str, side: str) -> Bools:
        chosen: Bools = (self._columns["event"] == event) & (self._columns["side"] == side) & (self._of >= 0)
        return chosen


def _pairs(addresses: pa.ChunkedArray, ports: Floats, codes: dict[Any, int]) -> Indices:
    """A number for each (address, port); -1 where there is none. ``codes`` numbers the addresses."""
    named = addresses.to_pylist()
    numbers = np.array([codes.setdefault(address, len(codes)) for address in named], np.int64)
    there = np.array([address is not None for address in named], np.bool_) & ~np.isnan(ports)
    return np.where(there, numbers * _PORTS + np.nan_to_num(ports).astype(np.int64), -1)


def _latest(pairs: Indices, since: Floats, of_events: Indices, happened: Floats) -> Indices:
    """For each event the row with its pair that began last before it; -1 where there is none.

    A pair may be used again by a later connection.
    """
    order = np.lexsort((since, pairs))
    both_pairs, both_times = np.concatenate([pairs, of_events]), np.concatenate([since, happened])
    is_event = np.repeat([0, 1], [len(pairs), len(of_events)])
    merged = np.lexsort((is_event, both_times, both_pairs))
    rows_before = np.cumsum(merged < len(pairs))
    before = np.empty(len(merged), np.int64)
    before[merged] = rows_before - 1
    place = before[len(pairs) :]
    found = np.where(place >= 0, order[place], -1)
    same = (place >= 0) & (pairs[found] == of_events) & (of_events >= 0)
    return np.where(same, found, -1)


def _with_outcome(causes: pa.Table, connections: pa.Table) -> pa.Table:
    return causes.append_column("outcome", connections["outcome"])


def _both(by_rows: Bools, by_trace: Bools) -> dict[str, int]:
    return {
        "both": int((by_rows & by_trace).sum()),
        "neither": int((~by_rows & ~by_trace).sum()),
        "only_rows": int((by_rows & ~by_trace).sum()),
        "only_trace": int((~by_rows & by_trace).sum()),
    }


def _equal(of_rows: Floats, of_trace: Floats, compared: Bools) -> dict[str, int] | None:
    """How many rows have the same count; None where no row has one."""
    compared = compared & ~np.isnan(of_rows)
    if not compared.any():
        return None
    same = of_rows[compared] == of_trace[compared]
    return {
        "agree": int(same.sum()),
        "differ": int((~same).sum()),
        "by_rows": int(of_rows[compared].sum()),
        "by_trace": int(of_trace[compared].sum()),
    }


def _accepted(accepted: Floats, entered: Floats) -> dict[str, Any] | None:
    """The server's stamps against the entry into the queue, before which no accept can be."""
    both = ~np.isnan(accepted) & ~np.isnan(entered)
    if not both.any():
        return None
    waited = accepted[both] - entered[both]
    return {
        "stamps": int((~np.isnan(accepted)).sum()),
        "without_child": int((~np.isnan(accepted) & np.isnan(entered)).sum()),
        "before_entry": int((waited < 0).sum()),
        "waited_us": _quantiles(waited),
    }


def _differences(us: Floats) -> dict[str, Any]:
    return {
        **_quantiles(us),
        "compared": int((~np.isnan(us)).sum()),
        "beyond_clock": int((np.abs(us) > RESOLUTION_US).sum()),
    }


def _quantiles(us: Floats) -> dict[str, float | None]:
    known = us[~np.isnan(us)]
    return {name: float(np.quantile(known, q)) if len(known) else None for name, q in QUANTILES.items()} | {
        "min": float(known.min()) if len(known) else None,
        "max": float(known.max()) if len(known) else None,
    }
