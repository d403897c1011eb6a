"""Each remedy is followed on a server that was planted: right ones cure, false ones are not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.calling import Result

Call = Callable[..., Result]
pytestmark = pytest.mark.alone
ANSWER = """\
import os, signal, socket, sys, time
port = int(sys.argv[1])
def answer(connection):
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    connection.close()
"""
PLANTED = """\
backlog, wait_s, anew_at, anew, pause_at, pause_s, nap_s = map(float, sys.argv[2:])
listener = socket.create_server(("127.0.0.1", port), backlog=int(backlog))
accepted, woke = 0, time.monotonic()
while True:
    connection, _ = listener.accept()
    accepted += 1
    if accepted == anew_at:
        listener.listen(int(anew))
    if accepted == pause_at:
        time.sleep(pause_s)
    if nap_s and time.monotonic() > woke + 0.7:
        time.sleep(nap_s)
        woke = time.monotonic()
    time.sleep(wait_s)
    answer(connection)
"""
PLAIN = {"backlog": 16, "wait_s": 0, "anew_at": 0, "anew": 0, "pause_at": 0, "pause_s": 0, "nap_s": 0}
ITS_WORKER_CRASHES = """\
while os.fork():
    while True:
        time.sleep(1)
listener = socket.create_server(("127.0.0.1", port), backlog=64)
for _ in range(150):
    answer(listener.accept()[0])
raise RuntimeError("boom at connection 150")
"""
ONE_OF_FOUR_STOPS = """\
for worker in range(4):
    if not os.fork():
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
        for accepted in range(10**9):
            answer(listener.accept()[0])
            if worker == 3 and accepted == 20:
                os.kill(os.getpid(), signal.SIGSTOP)
while True:
    time.sleep(1)
"""
RESTS_WHEN_OUT_OF_FILES = """\
listener = socket.create_server(("127.0.0.1", port), backlog=4096)
answer(listener.accept()[0])
held = []
while len(held) < 200:
    try:
        held.append(listener.accept()[0])
    except OSError as error:
        print(error, flush=True)
        for connection in held:
            answer(connection)
        time.sleep(1.5)
        break
else:
    for connection in held:
        answer(connection)
while True:
    answer(listener.accept()[0])
"""


@pytest.fixture
def told(stormlab: Call, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A storm on a server that was planted, and its story."""
    file = tmp_path / "planted.py"

    def tell(server: Mapping[str, float] | str, *words: str) -> dict[str, Any]:
        """``server`` is what differs from :data:`PLAIN`, or a program."""
        numbers = {} if isinstance(server, str) else {**PLAIN, **server}
        file.write_text(ANSWER + (server if isinstance(server, str) else PLANTED))
        arguments = " ".join(f"{value:g}" for value in numbers.values())
        run = stormlab("run", "--command", f"{{python}} {file} {{port}} {arguments}", *words).run
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


def test_naps_that_add_up_to_more_than_the_timeout_are_slept_over_by_a_larger_queue(
    told: Callable[..., dict[str, Any]],
) -> None:
    """Nobody meets more than one or two of them."""
    storm = ("--clients", "2400", "--rate", "600", "--timeout", "1")
    before = told({"nap_s": 0.3, "backlog": 64}, *storm)
    assert {episode["driver"] for episode in before["episodes"]} <= {"stalled", "unknown"}
    assert "stops the server" in changes(before)[0]
    (advice,) = room(before)
    after = told({"nap_s": 0.3, "backlog": int(advice.partition(": ")[2].split()[0].replace(",", ""))}, *storm)
    lost, still_lost = (2400 - story["outcomes"]["answered"] for story in (before, after))
    assert still_lost < 0.05 * lost


def test_a_server_that_never_runs_out_of_work_is_not_advised_more_of_it(told: Callable[..., dict[str, Any]]) -> None:
    """Ten seconds leave it time for more than its queue holds, and it uses them in any case."""
    storm = ("--clients", "600", "--timeout", "6")
    before = told({"wait_s": 0.02, "backlog": 128}, *storm)
    assert room(before) == []
    after = told({"wait_s": 0.02, "backlog": 4096}, *storm)
    assert after["outcomes"]["answered"] - before["outcomes"]["answered"] < 0.1 * 600


def test_a_server_whose_worker_crashed_is_looked_into_not_called_elsewhere(told: Callable[..., dict[str, Any]]) -> None:
    # Each wave of SYNs fills its queue once: with three it is at its last connection, and most are still to come.
    story = told(ITS_WORKER_CRASHES, "--clients", "900", "--timeout", "8")
    (remedy, *_) = story["remedies"]
    assert remedy["change"] == "find why the server stopped listening"
    assert "RuntimeError: boom at connection 150" in remedy["because"]
    assert not any("start a listener there" in change for change in changes(story))


def test_of_four_workers_it_is_said_that_one_is_stopped_and_what_lies_there(
    told: Callable[..., dict[str, Any]],
) -> None:
    story = told(ONE_OF_FOUR_STOPS, "--clients", "900", "--timeout", "2")
    unanswered = story["planned"] - story["outcomes"]["answered"]
    (still,) = story["standstills"]
    assert (still["driver"], still["waited"]) == ("stalled", unanswered)
    (lie,) = (remedy for remedy in story["remedies"] if "let the server accept" in remedy["change"])
    assert lie["connections"] == unanswered > 0
    assert "stopped by a signal: 1 of 5 threads" in lie["because"]
    assert f"of its 4 queues the deepest held {unanswered}" in lie["because"]


def test_a_rest_for_want_of_files_is_called_so_and_more_of_them_cure_it(told: Callable[..., dict[str, Any]]) -> None:
    """It has closed them by the next sample, and nothing is ever dropped: only its log tells."""
    storm = ("--clients", "400", "--timeout", "5")
    before = told(RESTS_WHEN_OUT_OF_FILES, *storm, "--nofile", "64")
    assert [still["driver"] for still in before["standstills"]] == ["out_of_files"]
    assert changes(before)[0] == "raise the server's limit of open files (--nofile)"
    after = told(RESTS_WHEN_OUT_OF_FILES, *storm, "--nofile", "1000")
    assert after["standstills"] == []
    assert not any("--nofile" in change for change in changes(after))
