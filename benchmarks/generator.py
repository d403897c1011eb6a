"""The lab's generator beside others: interleaved rounds against one fast server, ratios with 95 % intervals.

``python benchmarks/generator.py [--rounds N] [--quick] [--server NAME] [--json FILE] [--export]``. Equal conditions for
all: the same server on CPUs of its own, the same CPUs for every generator, equal numbers of processes or threads, a
private network for each trial, the order within each round by lot. Every answer is read to its end. Load generators
that are not here are left out with a line that names their Debian package. ``--export`` makes the committed page
(README.md here, with its figures and results.json) of what was measured; nothing else writes beside this file.
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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from rich.progress import Progress

from arena import HOST, PORT, SETTINGS, TICKS_PER_S
from contenders import LAB, TOOLS
from harness.errors import INTERRUPTED, MachineError, StormLabError
from harness.machine import host, namespace
from harness.page.tables import print_rows
from harness.plan import Load, Placement, Server
from harness.plan.slices import FILES_RESERVED
from harness.servers.catalogue import catalogue
from harness.trial.ground import place

HERE = Path(__file__).parent
FAST = ("hyper", "tokio", "go", "python")
"""The first that is here is the server; python, the slowest, is the one that always is."""
ROUNDS = 10
RESAMPLES = 10_000
CONFIDENCE = 0.95
BACKLOG = 20_000
"""More than any storm here has clients."""
TRIAL_ENDS_WITHIN_S = 120.0
SATURATED = 0.9
"""A server busier than this was the limit, not the generators: their rates are then the server's."""
QUIET = 0.05
"""Where others had more than this of the server's or the generators' CPU, rates say little; CPU time still does."""
LEGEND = """\
answers/s: from the first issue to the last answer; wrk counts the answers of whole seconds instead
lab ÷ it: above 1 the lab is faster; mean of the rounds' ratios, with a bootstrap over rounds
by CPU: the same of answers for a second of the generator's CPU, which others on the machine change less
CPU µs an answer: user + system, of the generator; with its start and end, but for the lab's agents, which say theirs
server busy: of its CPU; others: what everybody else had of the server's or the generators' CPU, the larger
ports: the lab and the C loop bring their own, the others have the kernel search in 1024 to 65535"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One load, driven by each of several contenders with the same number of processes or threads."""

    title: str
    load: Load
    processes: int
    contenders: tuple[str, ...]
    ambition: float | None = None
    """What the lab, which records every row meanwhile, wants to reach of each contender's speed."""

    @property
    def name(self) -> str:
        return f"{self.title}, {self.processes} against {self.processes}"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the trials happen: the same for all."""

    server: Server
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    folder: Path

    def client_cpus_of(self, processes: int) -> tuple[int, ...]:
        """As many as there are processes or threads: none can wander, and none has more than another."""
        return self.client_cpus[:processes]


Trial = dict[str, Any]
"""One trial as it is kept: round, comparison, contender, and what arena.py measured, or an ``error``."""


def comparisons(quick: bool) -> list[Comparison]:
    """All there is to compare; ``quick`` only shows that it works."""
    short, long, paced = (2_000, 5_000, 1_000) if quick else (20_000, 50_000, 10_000)
    storm = min(2_000 if quick else 15_000, host.files_limit()[1] - FILES_RESERVED)
    found = []
    for processes in (1, 2):
        found += [
            Comparison(
                "closed loop, 100 in flight, new connections",
                Load(clients=short, concurrency=100),
                processes,
                ("wrk", "ab", "hey", "h2load"),
                1.0,
            ),
            Comparison(f"storm of {storm:,} connections", Load(clients=storm), processes, ("epoll loop in C",), 0.95),
            Comparison(
                "10 kept connections", Load(clients=10, requests_per_client=long // 10), processes, ("wrk",), 0.9
            ),
        ]
    return [*found, Comparison("open loop, 2,000 a second", Load(clients=paced, rate=2_000.0), 1, ())]


def lab_command(load: Load, processes: int) -> str:
    """The flags with which `stormlab run` drives the same load."""
    how = f" --concurrency {load.concurrency}" if load.concurrency else f" --rate {load.rate:g}" if load.rate else ""
    many = f" --requests-per-client {load.requests_per_client}" if load.requests_per_client > 1 else ""
    return f"stormlab run --clients {load.clients}{many}{how} --processes {processes} --no-probe --no-ledger"


def commands(comparison: Comparison, contender: str) -> list[str]:
    """What is run, one line for each process, as a reader would type it."""
    if contender == LAB:
        return [lab_command(comparison.load, comparison.processes)]
    lines = TOOLS[contender].commands(comparison.load, comparison.processes)
    url = f"http://{HOST}:{PORT}{comparison.load.path}"
    return [line.format(url=url, port=PORT, epoll_storm="epoll_storm", start_ns="START_NS") for line in lines]


def size(comparison: Comparison, contender: str) -> str:
    processes = comparison.processes if contender == LAB else len(commands(comparison, contender))
    return f"{processes} × {comparison.processes // processes}"


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
            "load": asdict(comparison.load),
            "processes": comparison.processes,
            "server": asdict(ground.server),
            "server_cpus": ground.server_cpus,
            "client_cpus": ground.client_cpus_of(comparison.processes),
            "folder": folder,
            "epoll_storm": str(ground.folder / "epoll_storm"),
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


def measure(ground: Ground, compared: list[Comparison], rounds: int) -> Iterator[Trial]:
    """All trials, round by round; within a round each comparison's contenders in an order by lot."""
    with Progress(transient=True) as progress:
        task = progress.add_task("", total=rounds * sum(1 + len(one.contenders) for one in compared))
        for number in range(1, rounds + 1):
            for comparison in compared:
                everyone = (LAB, *comparison.contenders)
                for contender in random.sample(everyone, len(everyone)):
                    progress.update(task, description=f"round {number} of {rounds}: {contender}")
                    measured = one_trial(ground, comparison, contender)
                    yield {"round": number, "comparison": comparison.name, "contender": contender, **measured}
                    progress.advance(task)


# ---- what came of it ----------------------------------------------------------------------------------------


def rate(trial: Trial) -> float:
    """Answers a second from the first issue to the last answer."""
    return float(trial["answered"] / trial["seconds"]) if trial["seconds"] else 0.0


def per_cpu_s(trial: Trial) -> float:
    """Answers for a second of the generator's CPU: what is left of the rate where others had the CPUs too."""
    used_s = trial["cpu_user_s"] + trial["cpu_system_s"]
    return float(trial["answered"] / used_s) if used_s > 0 else 0.0


def ratio(speed: Callable[[Trial], float], lab: list[Trial], other: list[Trial]) -> dict[str, Any]:
    """The lab's speed over the other's, paired within each round in which both answered something.

    Geometric mean of the rounds' ratios, which are in ``each``, and its 95 % interval: percentiles of a bootstrap over
    rounds.
    """
    speeds = [{trial["round"]: speed(trial) for trial in trials if speed(trial)} for trials in (lab, other)]
    paired = [number for number in speeds[0] if number in speeds[1]]
    if not paired:
        return {"rounds": 0, "ratio": None, "low": None, "high": None, "each": []}
    logs = np.log([speeds[0][number] / speeds[1][number] for number in paired])
    means = np.random.default_rng(1).choice(logs, (RESAMPLES, len(logs))).mean(axis=1)
    low, high = np.exp(np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    found = {"ratio": float(np.exp(logs.mean())), "low": float(low), "high": float(high)}
    return {"rounds": len(paired), **found, "each": np.exp(logs).tolist()}


def others(trial: Trial, comparison: Comparison, ground: Ground) -> float | None:
    """Share that everybody else had of the server's or the generators' CPUs, the larger."""
    if not trial.get("seconds"):
        return None
    clients_s = trial["others_cpu_s"] / len(ground.client_cpus_of(comparison.processes))
    return float(max(clients_s, trial["others_server_cpu_s"] / len(ground.server_cpus)) / trial["seconds"])


def summary(comparison: Comparison, contender: str, trials: list[Trial], ground: Ground) -> dict[str, Any]:
    """One contender of one comparison, over all rounds: medians, its ratio, and what went wrong."""
    mine = [trial for trial in trials if trial["comparison"] == comparison.name and "error" not in trial]
    done = [trial for trial in mine if trial["contender"] == contender]
    lab = [trial for trial in mine if trial["contender"] == LAB]

    def median(values: list[float]) -> float | None:
        return float(np.median(values)) if values else None

    some = [trial for trial in done if trial["answered"] and trial["seconds"]]
    return {
        "contender": contender,
        "commands": commands(comparison, contender),
        "processes_threads": size(comparison, contender),
        "rate_per_s": median([rate(trial) for trial in some]),
        "user_us": median([1e6 * trial["cpu_user_s"] / trial["answered"] for trial in some]),
        "system_us": median([1e6 * trial["cpu_system_s"] / trial["answered"] for trial in some]),
        "server_busy": median([trial["server_cpu_s"] / trial["seconds"] / len(ground.server_cpus) for trial in some]),
        "others": median([share for trial in some if (share := others(trial, comparison, ground)) is not None]),
        "failed": sum(trial["failed"] for trial in done),
        "by_rate": None if contender == LAB else ratio(rate, lab, done),
        "by_cpu": None if contender == LAB else ratio(per_cpu_s, lab, done),
    }


def remarks(comparison: Comparison, trials: list[Trial]) -> list[str]:
    """What the table's numbers do not say of themselves: rounds that were not clean."""
    found = []
    for trial in (one for one in trials if one["comparison"] == comparison.name):
        where = f"round {trial['round']}, {trial['contender']}"
        if "error" in trial:
            found.append(f"{where}: {trial['error']}")
            continue
        if trial["failed"]:
            found.append(f"{where}: {trial['failed']:,} requests failed")
        if trial["syns_resent"]:
            found.append(f"{where}: {trial['syns_resent']:,} SYNs sent again, each a second or more of waiting")
        if comparison.load.requests_per_client == 1 and trial["connections"] < trial["answered"]:
            found.append(f"{where}: {trial['connections']:,} connections for {trial['answered']:,} answers")
    return found


def with_interval(found: dict[str, Any] | None) -> tuple[str, str]:
    if found is None or found["ratio"] is None:
        return "", ""
    return f"{found['ratio']:.2f}", f"{found['low']:.2f} to {found['high']:.2f}"


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


def print_lateness(comparison: Comparison, trials: list[Trial]) -> None:
    """How late an open loop issued: of each round its quantiles, of these the median and the worst."""
    late = [trial["lateness_us"] for trial in trials if trial["comparison"] == comparison.name and "error" not in trial]
    late = [one for one in late if one]
    print(f"\n{comparison.name}: {lab_command(comparison.load, comparison.processes)}")
    names = ("p50", "p99", "max") if late else ()
    rows = [(name, *(f"{f([one[name] for one in late]):,.0f}" for f in (np.median, max))) for name in names]
    print_rows(("issued − scheduled, µs", "median round", "worst round"), rows, right=("median round", "worst round"))
    print("  nothing beside it: wrk2 is not in Debian; hey -q and h2load --rps do not say how late they were")
    for remark in remarks(comparison, trials):
        print(f"  {remark}")


# ---- the command line ---------------------------------------------------------------------------------------


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}; fewer are no result")
    parser.add_argument("--quick", action="store_true", help="small loads and two rounds: only shows that it works")
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
    return Ground(Server(name=name, backlog=BACKLOG), server_cpus, client_cpus, folder)


def without_missing(compared: list[Comparison]) -> list[Comparison]:
    """Leave out what is not here, and say so once."""
    missing = {name for name, tool in TOOLS.items() if tool.missing}
    for name in sorted(missing):
        print(f"left out: {name}, as there is no {TOOLS[name].program} here (Debian: {TOOLS[name].package})")
    kept = []
    for one in compared:
        here = tuple(name for name in one.contenders if name not in missing)
        kept.append(replace(one, contenders=here))
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
    if found := [f"{tool.program} {tool.version}" for tool in TOOLS.values() if not tool.missing]:
        print(f"versions: {', '.join(found)}")
    print(LEGEND)


def _list(cpus: tuple[int, ...]) -> str:
    return ", ".join(map(str, cpus))


def compare(asked: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ground = ground_for(asked.server, Path(folder))
        compared = without_missing(comparisons(asked.quick))
        if any("epoll loop in C" in one.contenders for one in compared):
            compile_epoll_storm(ground.folder)
        print_conditions(ground, asked.rounds)
        begun = datetime.now(UTC)
        trials = list(measure(ground, compared, asked.rounds))
    by_comparison = []
    for one in compared:
        summaries = [summary(one, name, trials, ground) for name in (LAB, *one.contenders)]
        by_comparison.append(summaries)
        if one.load.rate is None:
            print_comparison(one, summaries, trials)
        else:
            print_lateness(one, trials)
    document = {
        **conditions(ground, asked, begun),
        "comparisons": [described(*one, trials, ground) for one in zip(compared, by_comparison, strict=True)],
        "trials": [
            {**trial, "others": others(trial, one, ground)}
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
        "resamples": RESAMPLES,
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
        "lab": LAB,
        "lab_version": version("stormlab"),
        "tools": {
            name: {"program": tool.program, "package": tool.package, "version": None if tool.missing else tool.version}
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
        "title": comparison.title,
        "processes": comparison.processes,
        "client_cpus": ground.client_cpus_of(comparison.processes),
        "clients": load.clients,
        "requests_per_client": load.requests_per_client,
        "concurrency": load.concurrency,
        "rate": load.rate,
        "ambition": comparison.ambition,
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
