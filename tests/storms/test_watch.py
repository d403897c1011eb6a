"""A live server watched: full queues are seen with their driver, nothing is sent to it, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness import PROJECT

SERVER = """\
import socket, sys
listeners = []
for address in sys.argv[2:]:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(sys.argv[1])))
    listener.listen(8)
    listeners.append(listener)
print(listeners[0].getsockname()[1], flush=True)
while True:
    listeners[0].accept()[0].close()
"""
Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """A server with a backlog of 8 on each address, of which it accepts on the first alone."""
    begun: list[subprocess.Popen[str]] = []

    def starting(*addresses: str, before: Sequence[str] = (), port: int = 0) -> tuple[subprocess.Popen[str], int]:
        words = [*before, sys.executable, "-c", SERVER, str(port), *addresses]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        begun.append(server)
        assert server.stdout is not None
        return server, int(server.stdout.readline())

    yield starting
    for server in begun:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()


def stop(server: subprocess.Popen[str]) -> None:
    """And wait until it stands still: it might take one more."""
    server.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def knock(port: int, address: str = "127.0.0.1", times: int = 12) -> list[socket.socket]:
    """So many clients that try to connect, and wait."""
    clients = []
    for _ in range(times):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((address, port))
        clients.append(client)
    return clients


def watched(*words: str) -> list[dict[str, Any]]:
    """The documents of a watch."""
    command = [sys.executable, "-m", "harness", "watch", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_stopped_server_is_seen_within_a_second_with_its_driver(start: Start) -> None:
    server, port = start("127.0.0.1")
    stop(server)
    clients = knock(port)
    first, *_ = watched("--port", str(port), "--every-ms", "900", "--seconds", "1")
    for client in clients:
        client.close()
    (seen,) = first["sockets"]
    assert (seen["accept_queue"], seen["backlog"]) == (9, 8), "a queue holds one more than its backlog"
    assert seen["full"]["driver"] == "stalled"
    assert "stopped by a signal" in seen["full"]["because"]
    assert seen["pids"] == [server.pid]


def test_two_that_listen_on_one_port_are_told_apart(start: Start) -> None:
    """Of the second nobody takes: it is that one's queue that fills."""
    _, port = start("127.0.0.1")
    start("127.0.0.2", port=port)
    other, _ = start("127.0.0.3", port=port)
    stop(other)
    clients = knock(port, "127.0.0.3")
    *_, last = watched("--port", str(port), "--every-ms", "500", "--seconds", "1")
    for client in clients:
        client.close()
    depths = {one["address"]: one["accept_queue"] for one in last["sockets"]}
    assert depths == {"127.0.0.1": 0, "127.0.0.2": 0, "127.0.0.3": 9}
    full = {one["address"] for one in last["sockets"] if one["full"]}
    assert full == {"127.0.0.3"}


def test_an_episode_that_ends_is_kept(start: Start) -> None:
    server, port = start("127.0.0.1")
    command = [sys.executable, "-m", "harness", "watch", "--port", str(port), "--every-ms", "300", "--seconds", "4"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert watch.stdout is not None
    assert "backlog 8" in watch.stdout.readline()
    stop(server)
    clients = knock(port)
    time.sleep(1.0)
    server.send_signal(signal.SIGCONT)
    said = watch.communicate()[0]
    for client in clients:
        client.close()
    assert "127.0.0.1:" in said
    over = [line for line in said.splitlines() if " was full for " in line]
    assert "stalled" in over[0]
    assert said.splitlines()[-1].startswith(f"{len(over)} episodes")
    assert len(set(over)) == len(over), "each is told once"


def test_a_server_in_another_network_is_watched_by_its_process(start: Start) -> None:
    if os.geteuid() != 0:
        pytest.skip("another network namespace takes root")
    server, port = start("0.0.0.0", before=("unshare", "--net"))
    documents = watched("--pid", str(server.pid), "--every-ms", "300", "--seconds", "0.5")
    (seen,) = documents[0]["sockets"]
    assert (seen["port"], seen["backlog"]) == (port, 8)
    assert seen["server_files"] > 0


def test_metrics_are_whole_whenever_they_are_read(start: Start, tmp_path: Path) -> None:
    _, port = start("127.0.0.1")
    file = tmp_path / "stormlab.prom"
    watched("--port", str(port), "--every-ms", "200", "--seconds", "0.5", "--prometheus", str(file))
    text = file.read_text()
    assert f'stormlab_backlog{{address="127.0.0.1",port="{port}",' in text
    assert "# TYPE stormlab_listen_overflows_total counter" in text
    assert text.endswith("\n")
    assert [path.name for path in tmp_path.iterdir()] == ["stormlab.prom"]


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--port", "1"), "nobody listens on port 1"), (("--pid", "999999999"), "no process 999999999"), ((), "required")],
)
def test_what_cannot_be_watched_is_said_in_one_line(words: Sequence[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "watch", *words], capture_output=True, text=True, cwd=PROJECT, check=False
    )
    assert done.returncode in (2, 3)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_client_is_never_needed() -> None:
    """Nothing is sent: the watch opens no connection to what it watches."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=4)) as listener:
        listener.settimeout(0.1)
        watched("--port", str(listener.getsockname()[1]), "--every-ms", "200", "--seconds", "0.5")
        with pytest.raises(TimeoutError):
            listener.accept()
