"""What can be typed: the options of every command, which is all that its help takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from harness.events.store import default_data
from harness.plan.search import SEARCHES

MOST_CPUS = 8192
"""CONFIG_NR_CPUS of the largest kernels."""
FULL_ROWS, SHORT_ROWS = 3_000, 300
"""Connections of each fault of a calibration."""


def _doctor(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_json(parser)


def _servers(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)


def _run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--server", metavar="NAME", help="a server of the catalogue (default: python)")
    what.add_argument("--command", dest="server_command", metavar="CMD", help="a server of your own: 'CMD … {port}'")
    what.add_argument("--plan", type=Path, metavar="FILE", help="run the trials of a plan file, shuffled; resumes")
    add("--afresh", action="store_true", help="with --plan: begin anew, not where an interrupted batch stopped")
    add("--repeats", type=int, metavar="N", help="runs of each trial (default: 1, or the plan's)")
    _add_data(parser)
    _add_json(parser)

    load = parser.add_argument_group("load").add_argument
    load("--clients", type=_count, metavar="N", help="(default: 50000)")
    load("--requests-per-client", type=_count, metavar="N", help="(default: 1)")
    load("--concurrency", type=int, metavar="N", help="closed loop: this many clients at a time")
    load("--rate", type=float, metavar="N", help="open loop: this many requests a second")
    load("--connections", type=_count, metavar="N", help="a pool of so many kept ones (default: one per client)")
    load("--http2", action="store_true", default=None, help="HTTP/2 with prior knowledge, many requests a connection")
    load("--spread-ms", type=float, metavar="D", help="open the pool's first connections over D ms, not at once")
    load("--timeout", dest="timeout_s", type=float, metavar="S", help="seconds each request may take (default: 10)")
    load("--processes", type=int, metavar="N", help="agents (default: as many as it takes)")
    load("--target-host", metavar="HOST", help="127.0.0.1 (default), ::1 or localhost")
    load("--path", metavar="PATH", help="what is asked for (default: /)")
    load("--source-ports", metavar="HOW", help="assigned (default), or searched by the kernel")
    load("--fast-open", action="store_true", default=None, help="requests in the SYN (TCP_FASTOPEN_CONNECT)")

    retries = parser.add_argument_group("retries").add_argument
    retries("--attempts", type=int, metavar="N", help="how often a failed request is tried, in all (default: 1)")
    retries(
        "--attempt-timeout", dest="attempt_timeout_s", type=float, metavar="S", help="seconds each of them may take"
    )
    retries("--backoff-ms", type=float, metavar="D", help="wait before the second, twice as long before each further")
    retries("--backoff-cap-ms", type=float, metavar="D", help="the longest such wait (default: 30000)")
    retries("--jitter", metavar="HOW", help="none (default), or full: a random part of each wait")
    retries("--retry-budget", type=float, metavar="SHARE", help="each request earns this much of a retry for all")

    server = parser.add_argument_group("server").add_argument
    server("--backlog", type=_number_or_default, metavar="N|default", help="what it asks of listen(2)")
    server("--allocator", metavar="NAME", help="system (what it comes with, the default), jemalloc or mimalloc")
    server("--workers", type=int, metavar="N", help="threads or processes (default: its runtime's own choice)")
    server("--accept-loops", type=int, metavar="N", help="tasks that accept (default: one); hyper, tokio, go")
    server("--reuseport", action="store_true", default=None, help="each of them with a listener of its own")
    server("--accept-batch", type=int, metavar="N", help="accept at most so many in a row; hyper, tokio")
    server("--work-us", type=int, metavar="N", help="busy work for each request")
    server("--body-bytes", type=int, metavar="N", help="(default: 12)")
    server("--nofile", type=int, metavar="N", help="its limit of open files (default: yours)")
    server("--fast-open-queue", type=int, metavar="N", help="TCP_FASTOPEN of its listening sockets")
    server("--defer-accept-s", type=int, metavar="S", help="TCP_DEFER_ACCEPT of its listening sockets, seconds")
    server("--nofile-hard", type=int, metavar="N", help="how far it may raise that by itself (default: not at all)")
    server("--no-stamps", dest="stamps", action="store_false", default=None, help="no accept times from the server")
    server("--no-probe", dest="probe", action="store_false", default=None, help="no samples of queue and counters")
    server("--no-ledger", dest="ledger", action="store_false", default=None, help="no SYNs counted by nftables")
    server("--trace", action="store_true", default=None, help="root only: follow the kernel's tracepoints as well")
    server("--settle-s", type=float, metavar="S", help="watch the server for S seconds more when the storm is over")
    server("--ready", metavar="WHEN", help="the storm begins when it answered (default), is listening, or none")
    server("--cpu", metavar="HOW", help="shared (default), or disjoint: server and clients on different CPUs")
    server("--server-cpus", type=_cpus, metavar="LIST", help="e.g. 0,2-3")
    server("--client-cpus", type=_cpus, metavar="LIST")

    front = parser.add_argument_group("load balancer").add_argument
    front("--front", metavar="NAME", help="haproxy or nginx before the server, started and ended with it")
    front("--front-backlog", type=int, metavar="N", help="what it asks of listen(2) (default: its own)")
    front("--front-maxconn", type=int, metavar="N", help="connections at a time (nginx: of each worker, both sides)")
    front("--front-workers", type=int, metavar="N", help="HAProxy's threads, nginx's processes (default: its own)")
    front("--front-server-maxconn", type=int, metavar="N", help="requests that are at the server at a time")
    front("--front-queue-s", type=float, metavar="S", help="how long one may wait for that in HAProxy (then 503)")
    front("--front-reuse", action="store_true", default=None, help="kept connections to the server, for all clients")
    front("--front-rate", type=float, metavar="N", help="let so many requests a second through")
    front("--front-rate-status", type=int, metavar="N", help="what those beyond are told: 429 (default) or 503")

    faults = parser.add_argument_group("faults and kernel").add_argument
    faults("--stall-ms", type=float, metavar="D", help="stop the server from before the first connect until D ms after")
    faults("--stall-at-s", type=float, metavar="S", help="begin that stall S seconds after the start instead")
    faults("--hold-ms", type=float, metavar="D", help="lose all packets of one connection for D ms")
    faults("--hold-at-s", type=float, metavar="S", help="begin that S seconds after the start")
    faults("--stall-loop-ms", type=float, metavar="D", help="block the first accept loop until D ms after the start")
    faults("--client-pause-ms", type=float, metavar="D", help="stop the agents for D ms when half the clients tried")
    faults("--client-nofile", type=int, metavar="N", help="the agents' limit of open files (default: all there are)")
    faults("--syn-loss", type=float, metavar="SHARE", help="lose this share of the SYNs on the way")
    faults(
        "--sysctl", type=_setting, action="append", metavar="KEY=VALUE", help="set in the private namespace; repeatable"
    )
    faults(
        "--host-sysctl",
        type=_setting,
        action="append",
        metavar="KEY=VALUE",
        help="root only: set on this host for the length of the run, for what no namespace has; repeatable",
    )


def _list(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_json(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_data(parser)
    _add_json(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_data(parser)
    _add_json(parser)


def _calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="the beginning of a fault's name (default: all)")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_ROWS} connections a fault instead of {FULL_ROWS}")
    parser.add_argument("--export", action="store_true", help="write the result to data/reference and docs/")
    _add_data(parser)
    _add_json(parser)


def _audit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="a server, or the beginning of several names (default: all)")
    add("--command", dest="server_command", metavar="CMD", help="a server of your own: 'CMD … {port}'")
    add("--build", action="store_true", help="get what is missing: other versions, other stacks, into .build/audit")
    add("--export", action="store_true", help="write data/reference/audit.json and docs/audit.md")
    _add_json(parser)


def _tune(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("search", type=_file, metavar="FILE", help=f"a search: its TOML file, or a name in {SEARCHES.name}/")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--server", metavar="NAME", help="another server of the catalogue than the search names")
    what.add_argument("--command", dest="server_command", metavar="CMD", help="a server of your own: 'CMD … {port}'")
    add("--success", type=float, metavar="SHARE", help="another target: share of requests that are answered")
    add("--p99-ms", type=float, metavar="MS", help="another target: within which 99 %% of all requests are answered")
    add("--clients", type=int, metavar="N", help="another load")
    _add_data(parser)
    _add_json(parser)


def _notebooks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="e.g. 01-stack-comparison, or 01 (default: all)")
    parser.add_argument(
        "-p",
        dest="parameters",
        nargs=2,
        action="append",
        default=[],
        metavar=("KEY", "VALUE"),
        help="a parameter of the notebook, its value read as YAML; repeatable",
    )
    parser.add_argument(
        "--export",
        action="store_true",
        help="write figures into figures/, and the notebooks in place where no parameter was changed",
    )
    _add_data(parser)


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "doctor": ("say what this machine allows", _doctor),
    "servers": ("list the servers there are", _servers),
    "run": ("run storms and record every connection", _run),
    "list": ("list recorded runs", _list),
    "show": ("show one run", _show),
    "explain": ("say why connections ended as they did", _explain),
    "calibrate": ("hold the conclusions against faults made on purpose", _calibrate),
    "audit": ("ask running servers what they ask of the kernel: backlog, EMFILE, …", _audit),
    "tune": ("find the cheapest configuration that is good enough", _tune),
    "notebooks": ("execute notebooks", _notebooks),
}
"""Name → a line of help, and what adds its options."""


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=lambda text: Path(text).absolute(),
        default=default_data(),
        metavar="DIR",
        help="where runs are kept (default: data/runs of the checkout, or STORMLAB_DATA)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_name",
        metavar="RUN",
        nargs="?",
        default="latest",
        help="id of a run, the beginning of one, a run's folder, or `latest` (default)",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def _file(text: str) -> Path:
    named = SEARCHES / f"{text}.toml"
    return named if named.is_file() else Path(text)


def _count(text: str) -> int:
    """An integer; also as people write large ones, 50,000 or 50_000."""
    return int(text.replace(",", ""))


_count.__name__ = "number"


def _number_or_default(text: str) -> int | str:
    return text if text == "default" else int(text)


_number_or_default.__name__ = "number"  # argparse names the type in its message


def _cpus(text: str) -> list[int]:
    """``0,2-3`` as [0, 2, 3]."""
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high < MOST_CPUS:
            raise ValueError
        cpus.extend(range(low, high + 1))
    return cpus


_cpus.__name__ = "CPU list"


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
