"""Pools and retries against servers that behave in every possible way: attempts are rows, requests are conserved."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.events.rows import Outcome, Rows
from harness.plan import Load, Retries
from tests.storms.test_agent import (
    OK,
    Behaviour,
    answers_forever,
    never,
    once,
    outcomes,
    request,
    reset,
    reset_after_request,
)


def connections(rows: Rows) -> list[dict[str, int]]:
    made = rows.counters()["connections"]
    names = ("client", "attempt", "outcome", "issued_ns", "closed_ns")
    return [{name: rows.connection[name][row] for name in names} for row in range(made)]


def holds(rows: Rows, planned: int) -> None:
    """Every request ends as its last attempt did, and every attempt is a row with its number."""
    attempts = Counter((row["client"], row["attempt"]) for row in connections(rows))
    assert set(attempts.values()) == {1}
    last = {row["client"]: row for row in sorted(connections(rows), key=lambda row: row["attempt"])}
    for client in range(planned):
        assert rows.request["outcome"][client] == last[client]["outcome"]
        assert rows.request["attempts"][client] in (0, last[client]["attempt"])


# ---- retries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behave", "expected"),
    [(reset_after_request, "reset"), (once(b""), "closed_early"), (never, "answer_timeout")],
    ids=["reset", "closed", "never"],
)
def test_a_failure_is_tried_again_until_the_attempts_are_used_up(
    behave: Behaviour, expected: str, tmp_path: Path
) -> None:
    load = Load(clients=5, timeout_s=30, retries=Retries(attempts=4, attempt_timeout_s=0.5))
    found, rows, server = outcomes(behave, load, tmp_path)
    assert found == {expected: 5}
    assert server.accepted == rows.counters()["connections"] == 20
    holds(rows, 5)
    assert set(rows.request["attempts"]) == {4}
    rows.close()


def test_what_is_answered_in_the_end_is_answered(tmp_path: Path) -> None:
    failures, lock = Counter[str](), threading.Lock()

    def ten_times_not(connection: socket.socket) -> None:
        with lock:
            failures["all"] += 1
            enough = failures["all"] > 10
        once(OK)(connection) if enough else reset(connection)

    load = Load(clients=5, timeout_s=3, retries=Retries(attempts=10))
    found, rows, _ = outcomes(ten_times_not, load, tmp_path)
    assert found == {"answered": 5}
    assert rows.counters()["connections"] == 15
    holds(rows, 5)
    first = {row["client"]: row["issued_ns"] for row in connections(rows) if row["attempt"] == 1}
    assert [rows.request["issued_ns"][client] for client in range(5)] == [first[client] for client in range(5)]
    rows.close()


def test_a_wrong_answer_is_an_answer(tmp_path: Path) -> None:
    wrong = once(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    found, rows, server = outcomes(wrong, Load(clients=4, retries=Retries(attempts=5)), tmp_path)
    assert found == {"bad_answer": 4}
    assert server.accepted == 4
    rows.close()


def test_no_attempt_outlives_its_request(tmp_path: Path) -> None:
    load = Load(clients=3, timeout_s=2.5, retries=Retries(attempts=10, attempt_timeout_s=1.0))
    found, rows, _ = outcomes(never, load, tmp_path)
    assert found == {"answer_timeout": 3}
    tried = connections(rows)
    assert 3 < len(tried) <= 9, "1 s, 1 s and what is left"
    assert all(row["issued_ns"] < rows.request["issued_ns"][row["client"]] + 2.5e9 for row in tried)
    holds(rows, 3)
    rows.close()


@pytest.mark.parametrize(("jitter", "share"), [("none", 1.0), ("full", 0.5)])
def test_backoff_waits_twice_as_long_each_time_up_to_its_cap(
    jitter: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.5)  # what is drawn with jitter
    policy = Retries(attempts=4, backoff_ms=400, backoff_cap_ms=800, jitter=jitter)  # type: ignore[arg-type]
    found, rows, _ = outcomes(once(b""), Load(clients=4, timeout_s=30, retries=policy), tmp_path)
    assert found == {"closed_early": 4}
    by_client: dict[int, list[dict[str, int]]] = {}
    for row in connections(rows):
        by_client.setdefault(row["client"], []).append(row)
    waits = [
        [(after["issued_ns"] - before["closed_ns"]) / 1e6 for before, after in itertools.pairwise(tried)]
        for tried in by_client.values()
    ]
    assert all(len(each) == 3 for each in waits)
    for each in waits:
        assert all(wait >= share * longest for wait, longest in zip(each, (400, 800, 800), strict=True))
    if jitter == "full":
        assert min(each[-1] for each in waits) < 800, "half of the longest was drawn"
    rows.close()


def test_a_budget_bounds_all_retries_together(tmp_path: Path) -> None:
    load = Load(clients=40, timeout_s=5, retries=Retries(attempts=10, retry_budget=0.25))
    found, rows, _ = outcomes(once(b""), load, tmp_path)
    assert found == {"closed_early": 40}
    assert rows.counters()["connections"] == 50
    holds(rows, 40)
    rows.close()


def test_kept_connections_are_tried_again_too(tmp_path: Path) -> None:
    """A server that ends each connection after three answers, without saying so."""

    def three(connection: socket.socket) -> None:
        for _ in range(3):
            request(connection)
            connection.sendall(OK)
        request(connection)

    load = Load(clients=2, requests_per_client=10, timeout_s=5, retries=Retries(attempts=3))
    found, rows, _ = outcomes(three, load, tmp_path)
    assert found == {"answered": 20}
    assert rows.counters()["connections"] == 8
    assert sorted(rows.request["attempts"]) == [0] * 14 + [2] * 6
    rows.close()


def test_what_waits_for_another_attempt_when_the_storm_is_stopped_ends_as_it_last_did(tmp_path: Path) -> None:
    load = Load(clients=3, timeout_s=60, retries=Retries(attempts=2, backoff_ms=30_000))
    stopped: list[Rows] = []

    def behave(connection: socket.socket) -> None:
        request(connection)
        threading.Timer(0.2, lambda: [rows.ask_to_stop() for rows in stopped]).start()

    begun = time.monotonic()
    found, rows, _ = outcomes(behave, load, tmp_path, meanwhile=stopped.append)
    assert found == {"closed_early": 3}
    assert time.monotonic() - begun < 20
    rows.close()


# ---- pools ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [1, 7, 60])
def test_many_requests_share_a_pool(places: int, tmp_path: Path) -> None:
    found, rows, server = outcomes(answers_forever, Load(clients=60, connections=places, timeout_s=5), tmp_path)
    assert found == {"answered": 60}
    assert server.accepted == rows.counters()["connections"] <= places
    assert {row["client"] for row in connections(rows)} <= set(range(places))
    carried = Counter(rows.request["connection"])
    assert sum(carried.values()) == 60
    assert set(carried) <= set(range(places))
    assert min(row["closed_ns"] for row in connections(rows)) > 0, "also those that were free in the end"
    rows.close()


def test_requests_are_wanted_at_the_start_and_wait_for_their_turn(tmp_path: Path) -> None:
    def slowly(connection: socket.socket) -> None:
        while True:
            request(connection)
            time.sleep(0.01)
            connection.sendall(OK)

    found, rows, _ = outcomes(slowly, Load(clients=20, connections=2, timeout_s=5), tmp_path)
    assert found == {"answered": 20}
    wanted = set(rows.request["scheduled_ns"])
    assert len(wanted) == 1
    assert max(rows.request["issued_ns"]) - wanted.pop() >= 90e6
    rows.close()


def test_who_waits_too_long_for_a_place_was_never_issued(tmp_path: Path) -> None:
    found, rows, server = outcomes(never, Load(clients=30, connections=3, timeout_s=2), tmp_path)
    assert found == {"answer_timeout": 3, "not_issued": 27}
    assert server.accepted == 3
    rows.close()


def test_a_pool_connects_anew_where_the_server_closes(tmp_path: Path) -> None:
    closing = once(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    found, rows, server = outcomes(closing, Load(clients=30, connections=3, timeout_s=5), tmp_path)
    assert found == {"answered": 30}
    assert server.accepted == rows.counters()["connections"] == 30
    numbers = Counter(row["client"] for row in connections(rows))
    assert sorted(row["attempt"] for row in connections(rows)) == sorted(
        attempt for many in numbers.values() for attempt in range(1, many + 1)
    )
    rows.close()


def test_a_dial_that_fails_fails_the_request_it_was_made_for_unless_it_is_tried_again(tmp_path: Path) -> None:
    for attempts in (1, 2):
        folder = tmp_path / str(attempts)
        folder.mkdir()
        load = Load(clients=6, connections=2, timeout_s=5, retries=Retries(attempts=attempts))
        found, rows, _ = outcomes(once(b""), load, folder)
        assert found == {"closed_early": 6}
        assert rows.counters()["connections"] == 6 * attempts
        rows.close()


def test_an_open_loop_over_a_pool_counts_from_its_slots(tmp_path: Path) -> None:
    load = Load(clients=2000, connections=4, rate=2000.0, timeout_s=5)
    found, rows, _ = outcomes(answers_forever, load, tmp_path)
    assert found == {"answered": 2000}
    slots = list(rows.request["scheduled_ns"])
    assert [round((slot - slots[0]) / 1e3) for slot in slots] == [500 * number for number in range(2000)]
    assert all(issued >= slot for issued, slot in zip(rows.request["issued_ns"], slots, strict=True))
    rows.close()


def test_a_spread_pool_does_not_connect_at_once(tmp_path: Path) -> None:
    def slowly(connection: socket.socket) -> None:
        while True:
            request(connection)
            time.sleep(0.4)
            connection.sendall(OK)

    load = Load(clients=40, connections=20, spread_ms=300, timeout_s=10)
    found, rows, _ = outcomes(slowly, load, tmp_path)
    assert found == {"answered": 40}
    issued = sorted(row["issued_ns"] for row in connections(rows))
    assert (issued[-1] - issued[0]) / 1e6 > 100
    rows.close()


def test_outcomes_are_of_requests(tmp_path: Path) -> None:
    _, rows, _ = outcomes(answers_forever, Load(clients=5, requests_per_client=4, connections=2), tmp_path)
    assert [Outcome(outcome).name for outcome in rows.request["outcome"]] == ["answered"] * 20
    rows.close()
