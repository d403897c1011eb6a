"""Whatever is killed, and however a server behaves: nothing goes on, and what was seen is said."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.machine import children
from tests.calling import Result, called, partial_manifest, start

Call = Callable[..., Result]
SERVER = "python3 -m http.server {port} --bind 127.0.0.1"
LEAVES = {
    "its children": f"bash -c '{SERVER} & wait'",
    "a session of its own": f"bash -c 'setsid {SERVER} & wait'",
    "an environment of its own": f"bash -c 'env -i PATH=$PATH setsid {SERVER} & wait'",
}

ONCE = r"""
import os, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
connection, _ = listener.accept()
connection.recv(1000)
connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
print("\033]0;a title\007\033[1;31mpanicked\033[0m at connection 1", flush=True)
os._exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""


def in_network_of(pid: object) -> set[int]:
    """The processes that share a private network with this one; whatever they call themselves."""
    network = _network(Path(f"/proc/{pid}"))
    assert network != _network(Path("/proc/self")), "it is the host's"
    return {int(process.name) for process in Path("/proc").glob("[0-9]*") if _network(process) == network}


def _network(process: Path) -> str:
    with contextlib.suppress(OSError):
        return str((process / "ns/net").readlink())
    return ""


def any_of(pids: set[int]) -> bool:
    """Whether one of them still runs."""
    return any((Path("/proc") / str(pid)).exists() for pid in pids)


@pytest.mark.parametrize("command", LEAVES.values(), ids=LEAVES)
def test_with_command_line_and_supervisor_killed_nothing_goes_on(command: str, tmp_path: Path) -> None:
    """A signal for a parent that dies reaches direct children only."""
    process = start(tmp_path, "--command", command, "--clients", "2000", "--rate", "100", "--timeout", "5")
    manifest = partial_manifest(tmp_path)
    inside = in_network_of(manifest["supervisor_pid"])
    assert len(inside) > 4, "the supervisor, an agent, the shell and its server at least"
    for pid in (process.pid, manifest["supervisor_pid"]):
        os.kill(int(str(pid)), signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while any_of(inside) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any_of(inside)
    assert called("list", "--data", str(tmp_path / "runs"))[0] == 0
    assert json.loads((tmp_path / "runs" / str(manifest["run_id"]) / "manifest.json").read_text())["status"] == "failed"


def test_with_the_guard_killed_too_the_next_command_ends_what_is_left(tmp_path: Path) -> None:
    words = ("--command", LEAVES["a session of its own"], "--clients", "2000", "--rate", "100", "--timeout", "5")
    process = start(tmp_path, *words)
    manifest = partial_manifest(tmp_path)
    run_id = str(manifest["run_id"])
    supervisor = int(str(manifest["supervisor_pid"]))
    guard = int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1])
    for pid in (process.pid, guard, supervisor):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert children.with_mark(run_id)
    assert called("list", "--data", str(tmp_path / "runs"))[0] == 0
    assert children.with_mark(run_id) == []


@pytest.mark.parametrize("after", ["", "env -i PATH=$PATH"], ids=["as it is", "an environment of its own"])
def test_a_server_that_goes_into_the_background_is_there_as_long_as_it_listens(after: str, stormlab: Call) -> None:
    command = f"bash -c '{after} setsid {SERVER} & exit 0'"
    result = stormlab("run", "--command", command, "--clients", "50", "--concurrency", "2")
    assert result.code == 0, result.document
    assert result.run["outcomes"]["answered"] == 50
    assert result.run["server"]["ended"] is None
    assert result.run["server"]["peak_rss_bytes"] > 0, "of the process that serves"


def test_what_a_server_that_ended_leaves_is_not_taken_for_it(stormlab: Call, tmp_path: Path) -> None:
    """It answers one connection, and ends; the rest of it only sleeps."""
    script = tmp_path / "once.py"
    script.write_text(ONCE)
    command = f"bash -c 'sleep 1000 & exec python3 {script} {{port}}'"
    result = stormlab("run", "--command", command, "--clients", "20", "--rate", "20", "--ready", "listening")
    assert result.code == 4
    assert result.run["error"]["message"].startswith("the server ended during the storm: exit status 0")


def test_the_last_words_of_a_server_that_ends_in_the_storm_are_in_the_error(stormlab: Call, tmp_path: Path) -> None:
    script = tmp_path / "once.py"
    script.write_text(ONCE)
    command = f"python3 {script} {{port}} 101"
    result = stormlab("run", "--command", command, "--clients", "20", "--rate", "20", "--ready", "listening")
    assert result.code == 4
    assert "exit status 101" in result.run["error"]["message"]
    assert result.run["error"]["message"].endswith("its log ends: panicked at connection 1"), "no colours, no titles"


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ("{python} -m http.server {port} --bind ::1", "it listens on [::1]:"),
        ("bash -c '{python} -m http.server {port} --bind ::1 & exit 0'", "it went into the background"),
    ],
    ids=["elsewhere", "in the background, elsewhere"],
)
def test_of_a_server_that_is_not_ready_it_is_said_what_was_seen(command: str, seen: str, stormlab: Call) -> None:
    result = stormlab("run", "--command", command, "--clients", "5")
    assert result.code == 4
    assert "not ready" in result.run["error"]["message"]
    assert "it listens on [::1]:" in result.run["error"]["message"]
    assert seen in result.run["error"]["message"]
