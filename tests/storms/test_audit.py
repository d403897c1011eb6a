"""The audit asks running servers: the lab's, one it has never seen, with strace and without; and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.machine import namespace
from harness.servers.audit import asking, strace
from harness.servers.audit.chamber import SOMAXCONN
from tests.calling import LIMIT_S, Result, at_length, require_server

SERVER = '''
"""A server that nobody has described: address, port, backlog, and what it does where accept() fails."""
import socket, sys, threading

def talk(connection):
    with connection:
        head = b""
        while not head.endswith(b"\\r\\n\\r\\n"):
            head += connection.recv(4096) or sys.exit()
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")

listener = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen(int(sys.argv[3]))
while True:
    try:
        connection = listener.accept()[0]
    except OSError:
        if sys.argv[4] == "ends":
            raise
        continue
    threading.Thread(target=talk, args=(connection,), daemon=True).start()
'''
MUTE = "import socket, sys, time; mute = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(99)"
DENIED = (
    "import os, sys; from pathlib import Path; from harness.machine import namespace; namespace.enter(); "
    "Path('/proc/sys/user/max_net_namespaces').write_text('0'); os.execv(sys.argv[1], sys.argv[1:])"
)
"""A user namespace that may have no network namespaces below it stands for a machine that allows none."""


@dataclass(frozen=True)
class Call:
    """A call of the command line under way; what it writes by itself goes to a folder of its own."""

    process: subprocess.Popen[str]
    temporary: Path

    def result(self) -> Result:
        output, errors = self.process.communicate(timeout=LIMIT_S)
        return Result(self.process.returncode, json.loads(output) if output else {}, errors)

    def row(self) -> dict[str, Any]:
        result = self.result()
        assert result.code == 0, (result.document, result.stderr)
        (row,) = result.document["stacks"]
        assert list(self.temporary.iterdir()) == [], "what the server wrote is gone"
        return dict(row)


def audit(folder: Path, *words: str, path: str | None = None, prefix: tuple[str, ...] = ()) -> Call:
    folder.mkdir(parents=True)
    environment = {**os.environ, "TMPDIR": str(folder), **({} if path is None else {"PATH": path})}
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "harness", "audit", *words, "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    return Call(process, folder)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The command line of a server of the test's own."""
    script = tmp_path_factory.mktemp("server") / "unheard_of.py"
    script.write_text(SERVER)

    def written(address: str, backlog: int, without_files: str) -> str:
        return f"'{sys.executable}' '{script}' {address} {{port}} {backlog} {without_files}"

    return written


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., str]) -> Iterator[dict[str, Call]]:
    """All audits at once: each has a network to itself, and most of an audit is waiting."""
    folder = tmp_path_factory.mktemp("audits")
    empty = folder / "empty"
    empty.mkdir()
    begun = {
        "python": audit(folder / "python", "python"),
        "tokio": audit(folder / "tokio", "tokio"),
        "spins": audit(folder / "spins", "--command", command("::1", 77, "spins")),
        "ends": audit(folder / "ends", "--command", command("0.0.0.0", 5000, "ends")),
        "untraced": audit(folder / "untraced", "--command", command("::", 300, "ends"), path=str(empty)),
        "mute": audit(folder / "mute", "--command", f'{sys.executable} -c "{MUTE}" {{port}}'),
    }
    yield begun
    for call in begun.values():
        call.process.send_signal(signal.SIGINT)
        call.process.wait(LIMIT_S)


def require_strace() -> None:
    missing = strace.missing_tracer()
    if missing is not None:
        pytest.skip(missing.line)


def require_namespace() -> None:
    isolation = namespace.available()
    if not isolation.isolated:
        pytest.skip(isolation.reason)


@pytest.mark.alone
def test_asyncio_asks_for_100_and_rests_when_its_files_run_out(calls: dict[str, Call]) -> None:
    require_strace()
    row = calls["python"].row()
    assert (row["backlog_asked"], row["backlog_effective"]) == (100, 100)
    assert row["evidence"] == "strace"
    assert row["on_emfile"] == "pauses"
    assert 900 < row["emfile"]["longest_pause_ms"] < 2000, "asyncio's ACCEPT_RETRY_DELAY is a second"
    assert row["accepts_per_wakeup"] > 1
    assert row["honours_close"]
    assert row["keeps_alive"]
    assert row["version"].startswith("python 3.")


@pytest.mark.alone
def test_tokio_on_mio_1_2_asks_for_128(calls: dict[str, Call]) -> None:
    require_server("tokio")
    row = calls["tokio"].row()
    assert row["backlog_asked"] == row["backlog_effective"] == 128
    assert "mio 1.2" in row["version"]
    assert row["dual_stack"] is False
    assert row["addresses"] == ["127.0.0.1"]


@pytest.mark.alone
def test_a_server_nobody_described_that_listens_on_ipv6_and_spins(calls: dict[str, Call]) -> None:
    if not asking.has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    row = calls["spins"].row()
    assert (row["stack"], row["lab"]) == (calls["spins"].process.args[5], False)  # type: ignore[index]
    assert (row["backlog_asked"], row["backlog_effective"]) == (77, 77)
    assert row["addresses"] == ["::1"]
    assert row["dual_stack"] is False
    assert row["on_emfile"] == "spins"
    assert row["emfile"]["busy_share"] > 0.5
    assert (row["honours_close"], row["keeps_alive"]) == (True, False)


@pytest.mark.alone
def test_a_server_nobody_described_that_asks_for_more_than_there_is_and_ends(calls: dict[str, Call]) -> None:
    row = calls["ends"].row()
    somaxconn = int(namespace.setting_path(SOMAXCONN).read_text())
    assert row["backlog_effective"] == min(5000, somaxconn)
    assert row["addresses"] == ["0.0.0.0"]
    assert row["on_emfile"] == "ends"
    assert "Too many open files" in row["emfile"]["log"]
    if namespace.available().isolated:
        assert row["backlog_asked"] == 5000, "with somaxconn raised the kernel tells it too"
        assert row["backlog_uncapped"] == 5000
        assert row["follows_somaxconn"] is False


@pytest.mark.alone
def test_without_strace_there_is_less_and_that_is_said(calls: dict[str, Call]) -> None:
    result = calls["untraced"].result()
    assert result.code == 0, result.document
    (row,) = result.document["stacks"]
    assert row["evidence"] == "kernel"
    assert (row["backlog_asked"], row["backlog_effective"]) == (300, 300), "below somaxconn it is what was asked for"
    assert row["accepts_per_wakeup"] is None
    assert row["burst"] is None
    assert row["accept_blocks"] is None
    assert row["on_emfile"] == "ends"
    assert row["dual_stack"] is (True if asking.has_ipv6() else None)
    (note,) = [note for note in result.document["notes"] if "strace" in note]
    assert "not installed" in note
    assert note.split(":")[0] in result.stderr


@pytest.mark.alone
def test_what_does_not_speak_http_exits_4_and_says_what_is_audited(calls: dict[str, Call]) -> None:
    result = calls["mute"].result()
    assert result.code == 4
    assert "not ready" in result.document["error"]["message"]
    assert "HTTP" in result.document["error"]["next_step"]


def test_without_a_private_network_nothing_is_said_of_uncapped_backlogs(
    tmp_path: Path, command: Callable[..., str]
) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is not installed")
    before = namespace.setting_path(SOMAXCONN).read_text()
    prefix = ("unshare", "--user", "--map-root-user", sys.executable, "-c", DENIED)
    result = audit(tmp_path / "own", "--command", command("127.0.0.1", 99, "ends"), prefix=prefix).result()
    if not result.document:
        pytest.skip(f"user namespaces cannot be limited here: {result.stderr.strip().splitlines()[-1:]}")
    assert result.code == 0, result.document
    (row,) = result.document["stacks"]
    assert (row["backlog_effective"], row["backlog_uncapped"], row["follows_somaxconn"]) == (99, None, None)
    assert any("uncapped" in note for note in result.document["notes"])
    assert namespace.setting_path(SOMAXCONN).read_text() == before


@pytest.mark.parametrize(
    ("after_s", "stop"),
    at_length(
        [(0.3, signal.SIGTERM), (1.5, signal.SIGINT), (4.0, signal.SIGTERM)],
        [(after_s, stop) for after_s in (0.3, 1.5, 4.0) for stop in (signal.SIGINT, signal.SIGTERM)],
    ),
    ids=str,
)
def test_interrupted_it_leaves_no_process_no_namespace_and_no_file(
    tmp_path: Path, command: Callable[..., str], after_s: float, stop: signal.Signals
) -> None:
    before = namespace.setting_path(SOMAXCONN).read_text()
    call = audit(tmp_path / "own", "--command", command("127.0.0.1", 99, "spins"))
    time.sleep(after_s)
    begun = descendants(call.process.pid)
    call.process.send_signal(stop)
    call.process.send_signal(stop)  # impatience changes nothing
    result = call.result()
    assert result.code in (130, -stop), result.stderr
    assert "Traceback" not in result.stderr or after_s < 1, result.stderr
    if result.document:
        assert result.document["error"]["code"] == 130
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in begun) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [pid for pid in begun if alive(pid)], "and with the last of them the namespace is gone"
    assert list(call.temporary.iterdir()) == []
    assert namespace.setting_path(SOMAXCONN).read_text() == before


@pytest.mark.parametrize(
    "words",
    [
        ("no-such-stack",),
        ("--command", "server without a port"),
        ("--command", "server {port}", "python"),
        ("--command", "server {port}", "--export"),
        ("--command", "server {port}", "--build"),
        ("--command", "server {port} 'quoted badly"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_exits_2(stormlab: Callable[..., Result], words: tuple[str, ...]) -> None:
    result = stormlab("audit", *words)
    assert result.code == 2
    assert result.document["error"]["message"]


def descendants(pid: int) -> list[int]:
    """Children of a process, theirs, and so on."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [found for child in children for found in (child, *descendants(child))]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
