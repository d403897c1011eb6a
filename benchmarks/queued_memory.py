"""What a connection in the accept queue costs in memory, and who is charged: ``python benchmarks/queued_memory.py``.

A listener that never accepts, clients that connect, half of the times with a request. Memory is read from the kernel's
slabs and from two memory cgroups, one with the server and one with the clients, before and after; then the server
accepts them all. As root, with memory cgroups of version 1; a line of JSON a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import MachineError, StormLabError

CONNECTIONS = 4_000
REQUEST = b"GET / HTTP/1.1\r\nHost: storm\r\n\r\n"
SLABS = ("TCP", "sock_inode_cache", "skbuff_small_head", "skbuff_head_cache", "request_sock_TCP", "filp", "dentry")
"""Those that a connection takes objects from; kmalloc is in the whole of the host, below."""
MOUNT = Path("/sys/fs/cgroup/memory")
SERVER = """\
import socket, sys
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(65535)
print(listener.getsockname()[1], flush=True)
sys.stdin.readline()
held = [listener.accept()[0] for _ in range(int(sys.argv[1]))]
print("accepted", flush=True)
sys.stdin.readline()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    try:
        rows = measure(options.rounds)
    except StormLabError as error:
        print(error.line, file=sys.stderr)
        return error.exit_code
    for row in rows:
        print(json.dumps(row))
    return 0


def measure(rounds: int) -> list[dict[str, float | bool]]:
    """Bytes a connection, a row for each round and kind; in random order within a round."""
    found = []
    for _ in range(rounds):
        for with_request in random.sample([False, True], 2):
            found += [{"with_request": with_request, **_one(with_request)}]
    return found


def _one(with_request: bool) -> dict[str, float]:
    with _cgroup("server") as of_server, _cgroup("clients") as of_clients:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(CONNECTIONS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: _join(of_server),
        )
        try:
            return _measured(server, of_server, of_clients, with_request)
        finally:
            server.kill()
            server.wait()


def _measured(server: subprocess.Popen[str], of_server: Path, of_clients: Path, with_request: bool) -> dict[str, float]:
    assert server.stdin is not None
    assert server.stdout is not None
    port = int(server.stdout.readline())
    home = Path("/proc/self/cgroup").read_text()
    _join(of_clients)
    try:
        before = _seen(of_server, of_clients)
        clients = []
        for _ in range(CONNECTIONS):
            client = socket.create_connection(("127.0.0.1", port))
            if with_request:
                client.sendall(REQUEST)
            clients.append(client)
        time.sleep(0.5)
        queued = _seen(of_server, of_clients)
        server.stdin.write("\n")
        server.stdin.flush()
        server.stdout.readline()
        time.sleep(0.5)
        accepted = _seen(of_server, of_clients)
        for client in clients:
            client.close()
    finally:
        _rejoin(home)
    moved = {f"queued_{name}": (queued[name] - before[name]) / CONNECTIONS for name in before}
    return moved | {f"accepted_{name}": (accepted[name] - queued[name]) / CONNECTIONS for name in before}


def _seen(of_server: Path, of_clients: Path) -> dict[str, float]:
    """Bytes: of the slabs, of the buffers (pages of sockstat), and charged to either group, kernel memory included."""
    slabs = 0.0
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        name, active, _, size, *_ = line.split()
        slabs += int(active) * int(size) if name in SLABS else 0
    buffers = next(
        int(line.split()[-1]) * os.sysconf("SC_PAGE_SIZE")
        for line in Path("/proc/net/sockstat").read_text().splitlines()
        if line.startswith("TCP:")
    )
    charged = {
        name: float((group / "memory.usage_in_bytes").read_text())
        + float((group / "memory.kmem.tcp.usage_in_bytes").read_text())
        for name, group in (("server", of_server), ("clients", of_clients))
    }
    return {"slabs": slabs, "buffers": float(buffers), **charged}


@contextlib.contextmanager
def _cgroup(name: str) -> Iterator[Path]:
    """A memory group of our own, gone afterwards. Raises: MachineError: none can be made."""
    group = MOUNT / f"stormlab-{os.getpid()}-{name}"
    try:
        group.mkdir()
    except OSError as error:
        raise MachineError(
            f"no memory cgroup can be made in {MOUNT}: {error}", "run it as root, with cgroup v1"
        ) from error
    try:
        yield group
    finally:
        for _ in range(50):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def _rejoin(home: str) -> None:
    (line,) = (line for line in home.splitlines() if ":memory:" in line)
    _join(MOUNT / line.partition(":memory:")[2].lstrip("/"))


if __name__ == "__main__":
    sys.exit(main())
