"""What can be typed: the options of every command, which is all that its help takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from harness.events.store import default_data
from harness.plan.load import Engine
from harness.plan.option import Option, declared
from harness.plan.options import PARTS
from harness.plan.search import SEARCHES

_GROUPS = {
    "load": "load",
    "retries": "retries",
    "server": "server",
    "placement": "CPUs",
    "front": "load balancer",
    "faults": "faults",
    "kernel": "kernel",
    "trial": "witnesses",
}
"""What the parts of a trial are called in help."""
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
    _add_server(what)
    what.add_argument("--plan", type=Path, metavar="FILE", help="run the trials of a plan file, shuffled; resumes")
    add("--afresh", action="store_true", help="with --plan: begin anew, not where an interrupted batch stopped")
    add("--repeats", type=int, metavar="N", help="runs of each trial (default: 1, or the plan's)")
    _add_data(parser)
    _add_json(parser)

    for part, cls in PARTS.items():
        group = parser.add_argument_group(_GROUPS[part])
        for one in declared(cls):
            if one.name not in ("server", "command"):  # which exclude each other, and a plan
                _add_option(group, one)


def _add_server(group: argparse._MutuallyExclusiveGroup) -> None:
    group.add_argument("--server", metavar="NAME", help="a server of the catalogue (default: python)")
    # ``command`` is that of stormlab itself
    group.add_argument("--command", dest="server_command", metavar="CMD", help="a server of your own: 'CMD … {port}'")


def _add_option(group: argparse._ArgumentGroup, one: Option) -> None:
    """An option of a storm as it is typed. Without it there is no value, so that what was given can be told."""
    if one.kind == "true or false":
        group.add_argument(
            one.flag, dest=one.name, action=f"store_{not one.default}".lower(), default=None, help=one.help
        )
        return
    kinds: dict[str, Callable[[str], Any]] = {"whole number": _count, "number": float, "CPU list": _cpus}
    read = kinds.get(one.kind, type(one.default) if one.kind == "word" else str)
    if one.kind == "settings":
        group.add_argument(one.flag, dest=one.name, type=_setting, action="append", metavar=one.metavar, help=one.help)
        return
    metavar = "N|default" if one.name == "backlog" else one.metavar
    default = "" if one.default is None else f" (default: {one.default})"
    group.add_argument(
        one.flag,
        dest=one.name,
        type=_number_or_default if one.name == "backlog" else read,
        metavar=metavar,
        help=(one.help + default).replace("%", "%%"),
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
    parser.add_argument("--engine", choices=get_args(Engine), default="auto", help="what drives the storms")
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
    _add_server(parser.add_mutually_exclusive_group())
    add("--success", type=float, metavar="SHARE", help="another target: share of requests that are answered")
    add("--p99-ms", type=float, metavar="MS", help="another target: within which 99 %% of all requests are answered")
    add("--clients", type=int, metavar="N", help="another load")
    _add_data(parser)
    _add_json(parser)


def _watch(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--port", type=_count, metavar="P", help="all that listens on this port, in this network namespace"
    )
    what.add_argument(
        "--pid", type=_count, metavar="PID", help="all on which a process or its children listen, wherever"
    )
    parser.add_argument(
        "--every-ms", type=_interval_ms, default=1000, metavar="MS", help="how often it is told (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="for so long (default: until Ctrl-C)")
    parser.add_argument(
        "--prometheus",
        type=lambda text: Path(text).absolute(),
        metavar="FILE",
        help="keep this file, NAME.prom, up to date for a node exporter's textfile collector",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON document a line")


def _interval_ms(text: str) -> int:
    """Not more often than the queues are looked at."""
    value = _count(text)
    if value < 20:
        raise argparse.ArgumentTypeError(f"{value} ms: queues are looked at every 10 ms; 20 or more")
    return value


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
        "--grid",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="execute it for each of these values, and with several of these for each combination; goes on where it "
        "stopped, and ends with a table",
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
    "watch": ("watch the accept queues of a server that already serves", _watch),
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
