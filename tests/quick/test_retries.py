"""How often clients try again, and what they wait: policies as values, budgets as arithmetic."""

from __future__ import annotations

import errno
import json
import socket
import time
from pathlib import Path

import pytest

from harness.errors import PlanError
from harness.events.assembling import assemble
from harness.events.rows import Outcome, Rows
from harness.load.python.client import Client
from harness.load.python.record import RequestRecord
from harness.load.python.retrying import MOST_TOKENS, Backoff
from harness.load.python.storm import Storm
from harness.plan import Load, Retries, Trial, trial_from_options
from harness.plan.slices import Slice, cut, source_pool
from harness.thought.checks import conservation


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": 101},
        {"attempts": 2, "attempt_timeout_s": 0.0},
        {"attempts": 2, "backoff_ms": -1.0},
        {"attempts": 2, "jitter": "some"},
        {"attempts": 2, "retry_budget": -0.1},
        {"backoff_ms": 100.0},  # of one attempt there is nothing to wait for
        {"retry_budget": 0.1},
        {"clients": 500_000, "attempts": 5},  # more rows than a trial may have
        {"connections": 0},
        {"clients": 10, "connections": 11},
        {"connections": 5, "concurrency": 5},
        {"http2": True, "concurrency": 5},
        {"http2": True, "attempts": 2},
        {"spread_ms": 100.0},
        {"fast_open": True, "http2": True},
        {"fast_open": True, "clients": 10, "connections": 5},
        {"fast_open": True, "attempts": 2},
        {"stall_at_s": 1.0},
        {"stall_at_s": -1.0, "stall_ms": 5.0},
        {"hold_ms": 10.0},
        {"hold_at_s": 1.0},
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        trial_from_options(options)


def test_policies_and_pools_are_asked_for_and_change_no_other_plan() -> None:
    plain = trial_from_options({"clients": 70})
    assert plain.plan_hash == trial_from_options({"clients": 70, "attempts": 1, "http2": False}).plan_hash
    asked = trial_from_options({"clients": 70, "attempts": 3, "jitter": "full", "backoff_ms": 5.0, "connections": 9})
    assert asked.load.retries == Retries(3, None, 5.0, jitter="full")
    assert asked.plan_hash != plain.plan_hash
    assert Trial.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    older = json.loads(json.dumps(plain.to_json()))
    for name in ("retries", "connections", "spread_ms", "http2"):
        del older["load"][name]
    for name in ("stall_at_s", "hold_ms", "hold_at_s"):
        del older["faults"][name]
    assert Trial.from_json(older) == plain


def test_a_wait_doubles_up_to_its_cap() -> None:
    policy = Retries(attempts=9, backoff_ms=100, backoff_cap_ms=1_000)
    assert [policy.wait_ms(failed) for failed in (1, 2, 3, 4, 5, 60)] == [100, 200, 400, 800, 1_000, 1_000]


def test_jitter_draws_from_the_whole_wait() -> None:
    backoff = Backoff(Retries(attempts=9, backoff_ms=100, jitter="full"))
    waits = [backoff.wait_ns(3) for _ in range(1_000)]
    assert 0 <= min(waits) < 40e6
    assert 360e6 < max(waits) < 400e6


def test_a_budget_is_earned_by_requests_and_spent_by_retries() -> None:
    backoff = Backoff(Retries(attempts=9, retry_budget=0.25))
    assert not backoff.allows(1), "nothing is earned yet"
    for _ in range(8):
        backoff.earn()
    assert [backoff.allows(1) for _ in range(3)] == [True, True, False]
    for _ in range(100_000):
        backoff.earn()
    assert sum(backoff.allows(1) for _ in range(1_000)) == MOST_TOKENS


def test_without_a_budget_the_attempts_are_the_only_bound() -> None:
    backoff = Backoff(Retries(attempts=3))
    assert [backoff.allows(tries) for tries in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize("agents", [1, 3])
def test_a_pool_is_shared_out_and_every_attempt_has_a_row_and_a_source_of_its_own(agents: int) -> None:
    load = Load(clients=50, connections=10, retries=Retries(attempts=4))
    source = source_pool("127.0.0.1", load, [])
    slices = cut(load, agents, target="127.0.0.1", port=8080, source=source, cpus=(0,), folder="/nowhere")
    assert sum(one.places for one in slices) == 10
    assert sum(one.connection_rows for one in slices) == 200
    assert sum(one.request_rows for one in slices) == 50
    pairs = {one.pair(row) for one in slices for row in range(one.connection_rows)}
    assert len(pairs) == 200
    assert Slice.from_json(json.loads(json.dumps(slices[0].to_json()))) == slices[0]


@pytest.mark.parametrize("places", [None, 1])
def test_a_retry_that_cannot_be_issued_is_its_requests_last_attempt(
    places: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens, and for the second attempt there is no file left."""
    load = Load(clients=1, connections=places, timeout_s=60, retries=Retries(attempts=3))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        slices = cut(load, 1, target="127.0.0.1", port=port, source=None, cpus=(0,), folder=str(tmp_path))
        (slice_,) = slices
        with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True) as rows:
            storm = Storm(slice_, rows)
            new_socket = storm.connections.connector.new_socket

            def once() -> socket.SocketType:
                monkeypatch.setattr(storm.connections.connector, "new_socket", out_of_files)
                return new_socket()

            monkeypatch.setattr(storm.connections.connector, "new_socket", once)
            start_ns = time.monotonic_ns()
            storm.run(start_ns)
            tables = assemble(slices, [rows], start_ns)
    assert tables.connections["outcome"].to_pylist() == ["refused", "not_issued"]
    assert tables.connections["errno"].to_pylist() == [errno.ECONNREFUSED, errno.EMFILE]
    assert tables.requests is not None
    (request,) = tables.requests.to_pylist()
    assert (request["outcome"], request["errno"], request["attempts"]) == ("not_issued", errno.EMFILE, 2)
    assert request["connection"] == 1
    assert request["issued_us"] is not None, "its first attempt left the client"
    assert conservation(tables.requests, load, tables.connections).status == "pass"


def out_of_files() -> socket.SocketType:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_retry_under_way_when_its_agent_dies_takes_the_outcome_of_the_attempt_before_it_with_it(
    tmp_path: Path,
) -> None:
    load = Load(clients=1, retries=Retries(attempts=2))
    slices = cut(load, 1, target="127.0.0.1", port=80, source=None, cpus=(0,), folder=str(tmp_path))
    (slice_,) = slices
    with Rows(Path(slice_.rows_path), slice_.connection_rows, slice_.request_rows, create=True) as rows:
        client, tried = Client(0), RequestRecord(rows)
        client.request, client.row, client.tries = 0, 0, 1
        tried.begun(client, 0, 1_000)
        tried.failed(client, Outcome.refused, errno.ECONNREFUSED)
        rows.connection["issued_ns"][0] = 1_000
        rows.connection["outcome"][0] = Outcome.refused
        client.row, client.tries = 1, 2
        tried.tried_again(client)
        rows.connection["issued_ns"][1] = 2_000
        rows.header["connections"][0] = 2
        tables = assemble(slices, [rows], 0)
    assert tables.requests is not None
    assert tables.requests["outcome"].to_pylist() == ["other_error"]
    assert conservation(tables.requests, load, tables.connections).status == "pass"
    assert tables.requests["errno"].to_pylist() == [None]
