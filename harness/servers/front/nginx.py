"""nginx: its configuration, and what it counts itself (stub_status)."""

from __future__ import annotations

import os
import re
import resource
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.plan import Front
from harness.servers.front.hops import Hops

STATUS_PATH = "/stormlab-stub-status"
KEPT_CONNECTIONS = 128
"""Idle ones to the server that each worker keeps, where connections are reused: nginx wants a number."""
_ANSWERS_WITHIN_S = 2.0
_OTHER_FILES = 64
"""Of a worker, beside its connections: listeners, logs, epoll."""
_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def configuration(front: Front, hops: Hops) -> str:
    """The text of its configuration file; paths in it are relative to the folder it is started with."""
    return "\n".join(_lines(front, hops)) + "\n"


def _lines(front: Front, hops: Hops) -> Iterator[str]:
    yield "daemon off;"
    if os.geteuid() == 0:
        yield "user root;"  # else it would change to a user who may not read the run's folder
    yield f"worker_processes {front.workers or 'auto'};"
    yield "pid nginx.pid;"
    # A line for each request that is turned away would be load, and megabytes: the clients' rows have them.
    yield "error_log stderr crit;"
    if front.maxconn is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield f"worker_rlimit_nofile {min(front.maxconn + _OTHER_FILES, most)};"
    yield "events {"
    if front.maxconn is not None:
        yield f"    worker_connections {front.maxconn};"
    yield "}"
    yield "http {"
    yield "    access_log off;"
    yield from (f"    {name}_temp_path {name};" for name in _FOLDERS)
    if front.rate is not None:
        yield f"    limit_req_zone $server_port zone=clients:1m rate={front.rate:.0f}r/s;"
    yield "    upstream servers {"
    yield "        zone servers 64k;"
    limit = "" if front.server_maxconn is None else f" max_conns={front.server_maxconn}"
    yield f"        server {hops.at(hops.server_port)}{limit};"
    if front.reuse:
        yield f"        keepalive {KEPT_CONNECTIONS};"
    yield "    }"
    yield "    server {"
    backlog = "" if front.backlog is None else f" backlog={front.backlog}"
    yield f"        listen {hops.at(hops.port)}{backlog};"
    yield "        location / {"
    if front.rate is not None:
        # A second's worth may come at once, as in HAProxy's window of a second.
        yield f"            limit_req zone=clients burst={front.rate:.0f} nodelay;"
        yield f"            limit_req_status {front.rate_status};"
    yield "            proxy_pass http://servers;"
    # The server stamps when it accepted a connection of nginx's, which says nothing of the client's.
    yield "            proxy_hide_header X-Accept-Ns;"
    if front.reuse:
        yield "            proxy_http_version 1.1;"
        yield '            proxy_set_header Connection "";'
    yield "        }"
    yield f"        location = {STATUS_PATH} {{"
    yield "            stub_status;"
    yield "        }"
    yield "    }"
    yield "}"


def command(program: str, path: Path, folder: Path) -> list[str]:
    """``folder`` is for what it keeps while it runs."""
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(path)]


def version(said: str) -> str:
    """From what ``nginx -v`` says."""
    found = re.search(r"nginx/(\S+)", said)
    return found[1] if found else ""


def begin(hops: Hops) -> dict[str, int]:
    """What it has counted until now, this question included."""
    return _ask(hops)


def counted(hops: Hops, before: Mapping[str, int]) -> dict[str, int]:
    """What it has counted since; empty where it does not answer."""
    now = _ask(hops)
    question = 1
    return {name: value - before.get(name, 0) - question if name != "active" else value for name, value in now.items()}


def _ask(hops: Hops) -> dict[str, int]:
    try:
        with socket.create_connection((hops.address, hops.port), timeout=_ANSWERS_WITHIN_S) as link:
            link.sendall(f"GET {STATUS_PATH} HTTP/1.0\r\n\r\n".encode())
            text = b"".join(iter(lambda: link.recv(1 << 16), b"")).decode()
    except OSError:
        return {}
    return parse(text)


def parse(text: str) -> dict[str, int]:
    """The answer of stub_status: connections accepted, handled (the others it had to close), requests, open now."""
    found = re.search(r"Active connections: (\d+).*?requests\s+(\d+) (\d+) (\d+)", text, re.DOTALL)
    if found is None:
        return {}
    return dict(zip(("active", "accepts", "handled", "requests"), map(int, found.groups()), strict=True))
