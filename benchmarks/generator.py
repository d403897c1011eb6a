"""The lab's generator beside others: interleaved rounds against one fast server, ratios with 95 % intervals.

``python benchmarks/generator.py [--rounds N] [--quick] [--only KIND …] [--server NAME] [--json FILE] [--export]``.
Equal conditions for all: the same server on CPUs of its own, the same CPUs for every generator, equal numbers of
processes or threads, a private network for each trial, the order within each round by lot. Every answer is read to its
end. Load generators are found and never installed: one that is not here is left out with a line that says where it is
to be had. ``--export`` makes the committed page (README.md here, with its figures and results.json) of what was
measured; nothing else writes beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import numpy as np
from rich.progress import Progress

from arena import SETTINGS, TICKS_PER_S
from contenders import EPOLL, LAB, PYTHON_ENGINE, TOOLS
from harness.errors import INTERRUPTED, MachineError, StormLabError
from harness.machine import host, namespace
from harness.page.tables import print_rows
from harness.plan import Placement, Server
from harness.servers.catalogue import catalogue
from harness.thought.inference import CONFIDENCE
from harness.trial import engine
from harness.trial.ground import place
from loads import Comparison, Kind, comparisons, paced
from outcome import Ground, Trial, others, rate, remarks, summary

HERE = Path(__file__).parent
FAST = ("hyper", "tokio", "go", "python")
"""The first that is here is the server; python, the slowest, is the one that always is."""
ROUNDS = 10
CALIBRATING = 3
"""Trials of the lab's closed loop, whose median is the capacity that the open loop takes half of."""
BACKLOG = 20_000
"""More than any storm here has clients."""
TRIAL_ENDS_WITHIN_S = 120.0
SATURATED = 0.9
"""A server busier than this was the limit, not the generators: their rates are then the server's."""
QUIET = 0.05
"""Where others had more than this of the server's or the generators' CPU, rates say little; CPU time still does."""
USER_SHARE, LATE_P99_US = 0.08, 1_000.0
"""What the lab wants of itself: its own share of the generator's CPU time, and lateness in an open loop."""
LEGEND = """\
answers/s: from the first issue to the last answer; wrk counts the answers of whole seconds instead
lab ÷ it: above 1 the lab is faster; geometric mean of the rounds' ratios, with a t interval
by CPU: the same of answers for a second of the generator's CPU, which others on the machine change less
CPU µs an answer: user + system, of the generator; with its start and end, but for the lab's agents, which say theirs
server busy: of its CPU; others: what everybody else had of the server's or the generators' CPU, the larger
ports: the lab and the C loop bring their own, the others have the kernel search in 1024 to 65535"""


# ---- measuring ----------------------------------------------------------------------------------------------


def compile_epoll_storm(folder: Path) -> None:
    """Raises: MachineError."""
    program = ["cc", "-O2", "-o", str(folder / "epoll_storm"), str(HERE / "epoll_storm.c")]
    done = subprocess.run(program, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(
            f"cc cannot compile epoll_storm.c: {done.stderr.strip().partition(chr(10))[0]}",
            "install a C library's headers (Debian: build-essential)",
        )


def one_trial(ground: Ground, comparison: Comparison, contender: str) -> dict[str, Any]:
    """Run a trial in a process and a network of its own. What it measured, or ``{"error": message}``."""
    with tempfile.TemporaryDirectory(dir=ground.folder) as folder:
        task = {
            "contender": contender,
            "load": asdict(comparison.load_of(contender)),
            "processes": comparison.processes,
            "server": asdict(ground.server),
            "server_cpus": ground.server_cpus,
            "client_cpus": ground.client_cpus_of(comparison.processes),
            "folder": folder,
            "programs": programs(ground),
        }
        # A session of its own: Ctrl-C reaches this process alone, which passes it on.
        arena = subprocess.Popen(
            [sys.executable, str(HERE / "arena.py"), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = arena.communicate(json.dumps(task), timeout=TRIAL_ENDS_WITHIN_S)
        except BaseException:
            arena.terminate()
            arena.wait()
            raise
    measured: dict[str, Any] = json.loads(output) if output else {"error": "its process ended without a word"}
    return measured


def programs(ground: Ground) -> dict[str, str]:
    """Program → where it is, of all that are here."""
    found = {tool.program: tool.path for tool in TOOLS.values()} | {"epoll_storm": str(ground.folder / "epoll_storm")}
    return {name: path for name, path in found.items() if path is not None}


def capacity_per_s(ground: Ground, compared: list[Comparison]) -> float:
    """What the lab's closed loop of new connections comes to. Raises: MachineError: it cannot."""
    closed = next(one for one in compared if one.kind == "closed loop")
    tried = [one_trial(ground, closed, LAB) for _ in range(CALIBRATING)]
    found = [rate(trial) for trial in tried if "error" not in trial]
    if not found:
        raise MachineError(f"the lab's own closed loop fails: {tried[-1]['error']}", "see `stormlab doctor`")
    return float(np.median(found))


def measure(ground: Ground, compared: list[Comparison], rounds: int) -> Iterator[Trial]:
    """All trials, round by round; within a round each comparison's contenders in an order by lot."""
    with Progress(transient=True) as progress:
        task = progress.add_task("", total=rounds * sum(len(one.everyone) for one in compared))
        for number in range(1, rounds + 1):
            for comparison in compared:
                for contender in random.sample(comparison.everyone, len(comparison.everyone)):
                    progress.update(task, description=f"round {number} of {rounds}: {contender}")
                    measured = one_trial(ground, comparison, contender)
                    yield {"round": number, "comparison": comparison.name, "contender": contender, **measured}
                    progress.advance(task)


# ---- what came of it, printed --------------------------------------------------------------------------------


def with_interval(found: dict[str, Any] | None) -> tuple[str, str]:
    if found is None or found["ratio"] is None:
        return "", ""
    interval = "–" if found["kind"] == "none" else f"{found['low']:.2f} to {found['high']:.2f}"
    return f"{found['ratio']:.2f}", interval


def print_comparison(comparison: Comparison, summaries: list[dict[str, Any]], trials: list[Trial]) -> None:
    """A table, the command lines below it, and what is to be said of single rounds."""
    print(f"\n{comparison.name}")
    numbers = (
        "answers/s",
        "lab ÷ it",
        "95 % interval",
        "by CPU",
        "95 % interval ",
        "CPU µs an answer",
        "server busy",
        "others",
        "failed",
    )
    rows = []
    for one in summaries:
        known = one["rate_per_s"] is not None
        rows.append(
            (
                one["contender"],
                one["processes_threads"],
                f"{one['rate_per_s']:,.0f}" if known else "–",
                *with_interval(one["by_rate"]),
                *with_interval(one["by_cpu"]),
                f"{one['user_us']:.1f} + {one['system_us']:.1f}" if known else "–",
                f"{one['server_busy']:.0%}" if known else "–",
                f"{one['others']:.0%}" if known else "–",
                f"{one['failed']:,}",
            )
        )
    print_rows(("generator", "processes × threads", *numbers), rows, right=numbers)
    for one in summaries:
        print(f"  {one['contender']}: {' & '.join(one['commands'])}")
    if any((one["server_busy"] or 0) > SATURATED for one in summaries):
        print("  the server was busy nearly all the time: what is compared here is in part the server with itself")
    if any((one["others"] or 0) > QUIET for one in summaries):
        print("  this machine was not quiet: these rates are also those of what else it did; go by CPU")
    for remark in remarks(comparison, trials):
        print(f"  {remark}")


def print_lateness(summaries: list[dict[str, Any]]) -> None:
    """How late each open loop issued: of each round its quantiles, of these the median and the worst."""
    columns = ("p50", "p99", "worst p99", "max")
    rows = []
    for one in summaries:
        if (late := one["lateness_us"]) is not None:
            p99 = late["p99"]
            found = (late["p50"]["median"], p99["median"], p99["worst"], late["max"]["median"])
            rows.append((one["contender"], *(f"{value:,.0f}" for value in found)))
    print_rows(("issued − scheduled, µs", *columns), rows, right=columns)


# ---- the command line ---------------------------------------------------------------------------------------


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}; fewer are no result")
    parser.add_argument("--quick", action="store_true", help="small loads and two rounds: only shows that it works")
    parser.add_argument("--only", nargs="+", choices=get_args(Kind), metavar="KIND", help=", ".join(get_args(Kind)))
    parser.add_argument("--server", choices=list(catalogue()), help=f"default: the first there is of {', '.join(FAST)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trial and what came of all of them")
    parser.add_argument("--export", action="store_true", help="make the committed page beside this file of it")
    asked = parser.parse_args()
    if asked.rounds is None:
        asked.rounds = 2 if asked.quick else ROUNDS
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    if asked.json is not None and not asked.json.absolute().parent.is_dir():
        parser.error(f"--json {asked.json}: there is no such folder")
    return asked


def ground_for(name: str | None, folder: Path) -> Ground:
    """Raises: MachineError: there is one CPU only, no private network, or not this server."""
    if len(usable := host.usable_cpus()) < 2:
        raise MachineError(f"server and generators need a CPU each; usable here is {_list(usable)}", "use two CPUs")
    if not (isolation := namespace.available()).isolated:
        raise MachineError(isolation.reason, "allow user namespaces or run as root; see `stormlab doctor`")
    entries = catalogue()
    name = name or next(each for each in FAST if entries[each].missing is None)
    if (missing := entries[name].missing) is not None:
        raise MachineError(f"server {name!r} cannot run here: {missing.reason}", missing.next_step)
    server_cpus, client_cpus = place(Placement(cpu="disjoint"), usable, one_client_cpu=False)
    return Ground(Server(name=name, backlog=BACKLOG), server_cpus, client_cpus, folder, engine.choose("auto"))


def without_missing(compared: list[Comparison], ground: Ground) -> list[Comparison]:
    """Leave out what is not here, and say so once."""
    missing = {name for name, tool in TOOLS.items() if tool.path is None}
    for name in sorted(missing):
        print(f"left out: {name}, as there is no {TOOLS[name].program} here ({TOOLS[name].source})")
    if ground.engine == "python":
        missing.add(PYTHON_ENGINE)
        print("the native engine is not built (`make setup`, with Rust): the lab is its engine in Python here")
    if not catalogue()[ground.server.name].may_speak_http2:
        compared = [one for one in compared if not one.load.http2]
        print(f"left out: HTTP/2, which {ground.server.name} does not speak")
    kept = []
    for one in compared:
        here = tuple(name for name in one.contenders if name not in missing)
        kept.append(replace(one, contenders=here, peers=tuple(name for name in one.peers if name in here)))
    return kept


def print_conditions(ground: Ground, rounds: int) -> None:
    entry = catalogue()[ground.server.name]
    fallback = "; the only one here, and not a fast one" if ground.server.name == FAST[-1] else ""
    title = f"{entry.title} ({entry.version})" if entry.version else entry.title
    print(f"server: {title}{fallback}; on CPU {_list(ground.server_cpus)}")
    for processes in (1, 2):
        cpus = ground.client_cpus_of(processes)
        shared = ", which the two share" if len(cpus) < processes else ""
        print(f"generators, {processes} against {processes}: on CPU {_list(cpus)}{shared}")
    print(f"rounds: {rounds}, interleaved" + ("" if rounds >= ROUNDS else f"; fewer than {ROUNDS}, no result"))
    if found := [f"{tool.program} {tool.version}" for tool in TOOLS.values() if tool.path is not None]:
        print(f"versions: {', '.join(found)}")
    print(LEGEND)


def _list(cpus: tuple[int, ...]) -> str:
    return ", ".join(map(str, cpus))


def compare(asked: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ground = ground_for(asked.server, Path(folder))
        compared = without_missing(comparisons(asked.quick), ground)
        if any(EPOLL in one.contenders for one in compared):
            compile_epoll_storm(ground.folder)
        print_conditions(ground, asked.rounds)
        begun = datetime.now(UTC)
        capacity = None
        if asked.only is None or "open loop" in asked.only:
            capacity = capacity_per_s(ground, compared)
            print(f"capacity of the lab's closed loop, of which an open one has half: {capacity:,.0f} a second")
            compared = [paced(one, capacity) if one.kind == "open loop" else one for one in compared]
        compared = [one for one in compared if asked.only is None or one.kind in asked.only]
        trials = list(measure(ground, compared, asked.rounds))
    by_comparison = []
    for one in compared:
        summaries = [summary(one, name, trials, ground) for name in one.everyone]
        by_comparison.append(summaries)
        print_comparison(one, summaries, trials)
        if one.load.rate is not None:
            print_lateness(summaries)
    document = {
        **conditions(ground, asked, begun),
        "capacity_per_s": capacity,
        "comparisons": [described(*one, trials, ground) for one in zip(compared, by_comparison, strict=True)],
        "trials": [
            {**known(trial), "others": others(trial, one, ground)}
            for one in compared
            for trial in trials
            if trial["comparison"] == one.name
        ],
    }
    if asked.json is not None:
        asked.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if asked.export:
        from page import make  # draws figures: a second that nobody waits for who only measures

        make(document)


def known(trial: Trial) -> Trial:
    """Without what it says nothing of."""
    return {name: value for name, value in trial.items() if value is not None}


def conditions(ground: Ground, asked: argparse.Namespace, begun: datetime) -> dict[str, Any]:
    """All that a reader of the results must know of where they come from; no name and no path of the machine."""
    entry = catalogue()[ground.server.name]
    return {
        "host": host.this_host().to_json(),
        "begun": begun.isoformat(timespec="minutes"),
        "ended": datetime.now(UTC).isoformat(timespec="minutes"),
        "quick": asked.quick,
        "rounds": asked.rounds,
        "rounds_wanted": ROUNDS,
        "confidence": CONFIDENCE,
        "saturated": SATURATED,
        "quiet": QUIET,
        "tick_s": 1 / TICKS_PER_S,
        "kernel_settings": SETTINGS,
        "server": {
            "name": ground.server.name,
            "title": entry.title,
            "version": entry.version,
            "backlog": ground.server.backlog,
        },
        "server_cpus": ground.server_cpus,
        "user_share_wanted": USER_SHARE,
        "late_p99_us_wanted": LATE_P99_US,
        "lab": LAB,
        "python_engine": PYTHON_ENGINE,
        "engine": ground.engine,
        "lab_version": version("stormlab"),
        "tools": {
            name: {"program": tool.program, "source": tool.source, "version": tool.version}
            for name, tool in TOOLS.items()
        },
    }


def described(
    comparison: Comparison, summaries: list[dict[str, Any]], trials: list[Trial], ground: Ground
) -> dict[str, Any]:
    """One comparison with what came of it."""
    load = comparison.load
    return {
        "name": comparison.name,
        "kind": comparison.kind,
        "title": comparison.title,
        "processes": comparison.processes,
        "client_cpus": ground.client_cpus_of(comparison.processes),
        "clients": load.clients,
        "requests_per_client": load.requests_per_client,
        "concurrency": load.concurrency,
        "connections": load.connections,
        "http2": load.http2,
        "rate": load.rate,
        "ambition": comparison.ambition,
        "peers": comparison.peers,
        "contenders": summaries,
        "remarks": remarks(comparison, trials),
    }


def main() -> int:
    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        compare(options())
    except KeyboardInterrupt:
        print("interrupted; nothing is left behind", file=sys.stderr)
        return INTERRUPTED
    except StormLabError as error:
        print(f"{error.message}; {error.next_step}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
