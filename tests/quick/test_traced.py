"""Rows against the trace: what agrees is counted as such, and nothing else is."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from harness.events.tables import CONNECTIONS, TRACE, schema
from harness.thought import traced
from harness.thought.cause import COLUMNS
from harness.thought.traced import Traced, differences

STATE, AGAIN, DROP = "inet_sock_set_state", "tcp_retransmit_skb", "kfree_skb"
SYN_SENT, ESTABLISHED, CHILD, IN_QUEUE = (
    ("client", "CLOSE>SYN_SENT"),
    ("client", "SYN_SENT>ESTABLISHED"),
    ("server", "LISTEN>SYN_RECV"),
    ("server", "SYN_RECV>ESTABLISHED"),
)


def connections(*rows: dict[str, Any]) -> pa.Table:
    answered = {"outcome": "answered", "local_address": "127.1.0.1", "closed_us": 9_000_000, "syn_retransmits": 0}
    lived = [{"connection": index, "total_retransmits": 0, **answered, **row} for index, row in enumerate(rows)]
    return pa.Table.from_pylist(lived, schema=schema(CONNECTIONS))


def causes(*rows: dict[str, int]) -> pa.Table:
    return pa.Table.from_pylist([{"ghost_wait_us": 0, **row} for row in rows], schema=schema(COLUMNS))


def trace(*events: tuple[int, int, str, tuple[str, str]], address: str = "127.1.0.1") -> pa.Table:
    """Of (µs, the client's port, event, (side, detail))."""
    rows = [
        {
            "time_us": us,
            "event": event,
            "client_address": address if port else None,
            "client_port": port or None,
            "side": side,
            "detail": detail,
        }
        for us, port, event, (side, detail) in events
    ]
    return pa.Table.from_pylist(rows, schema=schema(TRACE))


def compare(rows: pa.Table, thought: pa.Table, seen: pa.Table) -> dict[str, Any]:
    return traced.compare(Traced(rows, thought, seen))


def test_a_connection_that_all_witnesses_saw_alike() -> None:
    seen = compare(
        connections({"local_port": 5, "issued_us": 100, "established_us": 160, "accepted_us": 400}),
        causes({"syn_wait_us": 60}),
        trace(
            (101, 5, STATE, SYN_SENT), (150, 5, STATE, ESTABLISHED), (155, 5, STATE, CHILD), (158, 5, STATE, IN_QUEUE)
        ),
    )
    assert seen["established"]["both"] == 1
    assert seen["established"]["kernel_us"]["p50"] == 10
    assert seen["entered"]["difference_us"]["p50"] == 5
    assert seen["entered"]["took_us"]["p50"] == 3
    assert seen["accepted"] == {
        "stamps": 1,
        "without_child": 0,
        "before_entry": 0,
        "waited_us": {"p1": 245, "p50": 245, "p99": 245, "min": 245, "max": 245},
    }
    assert seen["ghosts"]["neither"] == 1
    assert seen["syn_retransmits"] == {"agree": 1, "differ": 0, "by_rows": 0, "by_trace": 0}
    assert seen["syns_lost_before_tcp"] is None, "there was no ledger"


def test_a_ghost_is_one_whose_child_comes_late_or_never() -> None:
    late = {"issued_us": 0, "established_us": 100, "total_retransmits": 1}
    seen = compare(
        connections({"local_port": 5, **late}, {"local_port": 6, **late}, {"local_port": 7, **late}),
        causes(
            {"syn_wait_us": 100, "ghost_wait_us": 200_000},
            {"syn_wait_us": 100, "ghost_wait_us": 300_000},
            {"syn_wait_us": 100, "ghost_wait_us": 200_000},
        ),
        trace(
            *((90, port, STATE, ESTABLISHED) for port in (5, 6, 7)),
            (200_090, 5, STATE, CHILD),
            (200_080, 5, AGAIN, ("client", "ESTABLISHED")),
            (120, 7, STATE, CHILD),
        ),
    )
    assert seen["ghosts"] == {
        "both": 2,
        "neither": 0,
        "only_rows": 1,
        "only_trace": 0,
        "only_trace_until_asked": 0,
        "only_rows_had_child": 1,
    }
    assert seen["entered"]["of_ghosts_us"]["p50"] == 10
    assert seen["total_retransmits"] == {"agree": 1, "differ": 2, "by_rows": 3, "by_trace": 1}


def test_a_late_client_was_a_ghost_without_sending_anything_again() -> None:
    seen = compare(
        connections({"local_port": 5, "issued_us": 0, "established_us": 40_000}),
        causes({"syn_wait_us": 100}),
        trace((90, 5, STATE, ESTABLISHED), (40_020, 5, STATE, CHILD)),
    )
    assert (seen["ghosts"]["only_trace"], seen["ghosts"]["only_trace_until_asked"]) == (1, 1)


def test_syns_and_their_losses_are_those_of_each_connection() -> None:
    again, lost = ("client", "SYN_SENT"), ("client", "CPU_BACKLOG SYN_SENT")
    seen = compare(
        connections(
            {"local_port": 5, "issued_us": 0, "syn_retransmits": 2, "syns_left": 3, "syns_arrived": 2},
            {"local_port": 6, "issued_us": 0, "syn_retransmits": 1, "syns_left": 2, "syns_arrived": 1},
        ),
        causes({}, {}),
        trace(
            (1_000, 5, AGAIN, again),
            (2_000, 5, AGAIN, again),
            (2_000, 5, DROP, lost),
            (1_000, 6, AGAIN, again),
            (3_000, 0, DROP, ("server", "NO_SOCKET")),
        ),
    )
    assert seen["syn_retransmits"] == {"agree": 2, "differ": 0, "by_rows": 3, "by_trace": 3}
    assert seen["syns_lost_before_tcp"] == {"agree": 1, "differ": 1, "by_rows": 2, "by_trace": 1}


def test_a_pair_used_again_belongs_to_the_connection_that_began_last() -> None:
    seen = compare(
        connections(
            {"local_port": 5, "issued_us": 1_000_000, "syn_retransmits": 0, "established_us": 1_000_100},
            {"local_port": 5, "issued_us": 5_000_000, "syn_retransmits": 1, "established_us": 6_000_100},
        ),
        causes({"syn_wait_us": 100}, {"syn_wait_us": 1_000_100}),
        trace(
            (1_000_090, 5, STATE, ESTABLISHED),
            (6_000_000, 5, AGAIN, ("client", "SYN_SENT")),
            (6_000_090, 5, STATE, ESTABLISHED),
        ),
    )
    assert seen["syn_retransmits"]["agree"] == 2
    assert seen["established"]["kernel_us"] == {
        "p1": 10,
        "p50": 10,
        "p99": 10,
        "min": 10,
        "max": 10,
        "compared": 2,
        "beyond_clock": 0,
    }


def test_clients_of_no_row_are_counted_and_left_out() -> None:
    seen = compare(
        connections({"local_port": 5, "issued_us": 0}),
        causes({}),
        trace((50, 5, STATE, ESTABLISHED), address="127.0.0.1"),
    )
    assert seen["events_of_no_row"] == 1
    assert seen["established"]["neither"] == 1


def test_a_run_in_which_nothing_happened() -> None:
    seen = compare(connections({"local_port": None, "closed_us": None, "syn_retransmits": None}), causes({}), trace())
    assert seen["connections"] == 0
    assert seen["accepted"] is None
    assert seen["established"]["kernel_us"]["p50"] is None


def test_each_difference_is_told_with_what_made_it() -> None:
    asked_late = {"local_port": 5, "issued_us": 0, "established_us": 60_000}
    request_lost = {"local_port": 6, "issued_us": 0, "established_us": 100, "total_retransmits": 1}
    found = differences(
        Traced(
            connections(asked_late, request_lost),
            causes({"syn_wait_us": 100}, {"syn_wait_us": 100, "ghost_wait_us": 200_000}),
            trace(
                (50, 5, STATE, ESTABLISHED),
                (60_010, 5, STATE, CHILD),
                (60, 6, STATE, ESTABLISHED),
                (70, 6, STATE, CHILD),
            ),
        )
    )
    assert [(one["connection"], one["what"], one["because"]) for one in found] == [
        (0, "ghost_wait_us", traced.LATE_REQUEST),
        (1, "ghost_wait_us", traced.LOST_REQUEST),
    ]
    assert found[0]["trace"] == 59_960
