"""HAProxy: its configuration, and what it counts itself (its stats socket speaks CSV)."""

from __future__ import annotations

import csv
import io
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.plan import Front
from harness.servers.front.hops import Hops

_SUN_PATH_BYTES = 108
"""Size of sockaddr_un.sun_path: HAProxy's ``abns@`` fills it with zeros (include/uapi/linux/un.h)."""
_CONNECT_S, _IDLE_S = 5, 60
"""timeout connect; and client, server and queue, which else would be that of connect. As in its manual's examples."""
_ANSWERS_WITHIN_S = 2.0
KEPT = (
    *("scur", "smax", "stot", "slim", "rate_max", "qmax", "econ", "eresp", "wretr", "dreq", "req_tot", "conn_tot"),
    *("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other", "connect", "reuse", "cli_abrt"),
    *("srv_abrt", "qtime_max", "ctime_max", "rtime_max"),
)
"""Fields of ``show stat`` that are recorded, by HAProxy's names (management guide, 9.1)."""


def configuration(front: Front, hops: Hops) -> str:
    """The text of its configuration file."""
    return "\n".join(_lines(front, hops)) + "\n"


def _lines(front: Front, hops: Hops) -> Iterator[str]:
    yield "global"
    if front.workers is not None:
        yield f"    nbthread {front.workers}"
    if front.maxconn is not None:
        yield f"    maxconn {front.maxconn}"
    yield f"    stats socket abns@{hops.private_name} level admin"
    yield "defaults"
    yield "    mode http"
    yield f"    timeout connect {_CONNECT_S}s"
    yield f"    timeout client {_IDLE_S}s"
    yield f"    timeout server {_IDLE_S}s"
    yield f"    timeout queue {round((_IDLE_S if front.queue_s is None else front.queue_s) * 1000)}ms"
    yield "frontend clients"
    backlog = "" if front.backlog is None else f" backlog {front.backlog}"
    yield f"    bind {hops.at(hops.port)}{backlog}"
    if front.maxconn is not None:
        yield f"    maxconn {front.maxconn}"
    if front.rate is not None:
        # Only what was let through is counted: otherwise a load above the limit would be turned away whole.
        yield "    stick-table type integer size 1 expire 1m store gpc0,gpc0_rate(1s)"
        yield "    http-request track-sc0 int(1)"
        yield f"    http-request deny deny_status {front.rate_status} if {{ sc0_gpc0_rate ge {front.rate:.0f} }}"
        yield "    http-request sc-inc-gpc0(0)"
    yield "    default_backend servers"
    yield "backend servers"
    if front.reuse:
        yield "    http-reuse always"
    # The server stamps when it accepted a connection of HAProxy's, which says nothing of the client's.
    yield "    http-response del-header X-Accept-Ns"
    limit = "" if front.server_maxconn is None else f" maxconn {front.server_maxconn}"
    yield f"    server server {hops.at(hops.server_port)}{limit}"


def command(program: str, path: Path, folder: Path) -> list[str]:
    """``folder`` is for what others keep while they run; HAProxy keeps nothing."""
    return [program, "-db", "-f", str(path)]


def version(said: str) -> str:
    """From what ``haproxy -v`` says."""
    found = re.search(r"version (\S+)", said)
    return found[1] if found else ""


def begin(hops: Hops) -> dict[str, int]:
    """Have it count from here; nothing has been counted then."""
    _ask(hops, b"clear counters all\n")
    return {}


def counted(hops: Hops, before: Mapping[str, int]) -> dict[str, int]:
    """What it has counted since, ``<frontend|backend|server>.<field>``; empty where it does not answer."""
    return parse(_ask(hops, b"show stat\n"))


def _ask(hops: Hops, question: bytes) -> str:
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_ANSWERS_WITHIN_S)
            link.connect(b"\0" + hops.private_name.encode().ljust(_SUN_PATH_BYTES - 1, b"\0"))
            link.sendall(question)
            return b"".join(iter(lambda: link.recv(1 << 16), b"")).decode()
    except OSError:
        return ""


_ROWS = {("clients", "FRONTEND"): "frontend", ("servers", "BACKEND"): "backend", ("servers", "server"): "server"}


def parse(text: str) -> dict[str, int]:
    """The CSV of ``show stat``."""
    found: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(text.removeprefix("# "))):
        part = _ROWS.get((row["pxname"], row["svname"]))
        if part is not None:
            found |= {f"{part}.{name}": int(value) for name in KEPT if (value := row.get(name) or "").isdigit()}
    return found
