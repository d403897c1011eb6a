"""Each remedy is followed on a server that was planted: right ones cure, false ones are not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.calling import Result

Call = Callable[..., Result]
pytestmark = pytest.mark.alone
PLANTED = """\
import socket, sys, time
port, backlog, wait_s, anew_at, anew, pause_at, pause_s = map(float, sys.argv[1:])
listener = socket.create_server(("127.0.0.1", int(port)), backlog=int(backlog))
accepted = 0
while True:
    connection, _ = listener.accept()
    accepted += 1
    if accepted == anew_at:
        listener.listen(int(anew))
    if accepted == pause_at:
        time.sleep(pause_s)
    time.sleep(wait_s)
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    connection.close()
"""
PLAIN = {"backlog": 16, "wait_s": 0, "anew_at": 0, "anew": 0, "pause_at": 0, "pause_s": 0}


@pytest.fixture
def told(stormlab: Call, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A storm on a server that was planted, and its story."""
    program = tmp_path / "planted.py"
    program.write_text(PLANTED)

    def tell(server: Mapping[str, float], *words: str) -> dict[str, Any]:
        arguments = " ".join(f"{value:g}" for value in {**PLAIN, **server}.values())
        run = stormlab("run", "--command", f"{{python}} {program} {{port}} {arguments}", *words).run
        return stormlab("explain", run["run_id"]).document

    return tell


def changes(story: Mapping[str, Any]) -> list[str]:
    return [remedy["change"] for remedy in story["remedies"]]


def room(story: Mapping[str, Any]) -> list[str]:
    return [change for change in changes(story) if "a larger backlog than" in change]


def test_a_server_that_is_fast_enough_is_advised_more_room_and_that_cures(told: Callable[..., dict[str, Any]]) -> None:
    storm = ("--clients", "900", "--timeout", "3")
    before = told({"pause_at": 2, "pause_s": 1.0}, *storm)
    (advice,) = room(before)
    asked = int(advice.partition(": ")[2].split()[0].replace(",", ""))
    after = told({"pause_at": 2, "pause_s": 1.0, "backlog": asked}, *storm)
    assert sum(row["connections"] for row in before["causes"] if row["cause"] in ("syn_dropped", "ghost")) > 0
    assert [row["cause"] for row in after["causes"] if row["cause"] in ("syn_dropped", "ghost")] == []
    assert after["outcomes"]["answered"] == 900


def test_a_server_that_cannot_answer_in_time_what_would_wait_is_not(told: Callable[..., dict[str, Any]]) -> None:
    """A handler that waits 20 ms in the thread that accepts answers 50 a second, whatever waits."""
    storm = ("--clients", "600", "--timeout", "2")
    before = told({"wait_s": 0.02, "backlog": 128}, *storm)
    assert room(before) == []
    assert changes(before)
    after = told({"wait_s": 0.02, "backlog": 4096}, *storm)
    gained = after["outcomes"]["answered"] - before["outcomes"]["answered"]
    assert gained < 0.1 * 600, "what was not advised would not have helped"


def test_a_server_that_was_stopped_is_not_advised_more_room_first(told: Callable[..., dict[str, Any]]) -> None:
    story = told({}, "--clients", "400", "--timeout", "4", "--stall-ms", "1500")
    assert "stops the server" in changes(story)[0]
    assert {episode["driver"] for episode in story["episodes"]} <= {"stalled", "unknown"}


def test_a_backlog_is_what_it_is_now(told: Callable[..., dict[str, Any]]) -> None:
    """listen(2) called anew in mid-storm."""
    server = {"backlog": 256, "anew_at": 10, "anew": 8, "pause_at": 20, "pause_s": 0.5}
    story = told(server, "--clients", "600", "--timeout", "4", "--rate", "3000")
    assert all(change.startswith("a larger backlog than 8:") for change in room(story))
    assert not [check for check in story["checks"] if check["status"] == "fail"]


def test_what_is_slow_without_a_drop_is_named_with_its_driver(told: Callable[..., dict[str, Any]]) -> None:
    story = told({"backlog": 4096, "pause_at": 2, "pause_s": 1.5}, "--clients", "500", "--timeout", "5")
    assert {row["cause"] for row in story["causes"]} <= {"clean", "client_late"}
    assert story["episodes"] == []
    (still,) = story["standstills"]
    assert still["driver"] == "stalled"
    assert still["waited"] > 400
    assert any("stops the server" in change for change in changes(story))
