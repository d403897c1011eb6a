"""Who is compared: how each load generator is found and started for a load, and how to read what it says in the end.

``{url}``, ``{port}``, ``{start_ns}`` and ``{folder}`` in a command line are filled in where it is started.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.plan import Load
from harness.trial.foreign import tools as foreign

LAB = "storm lab"
"""The lab with its native engine or, where that is not built, with the one in Python."""
PYTHON_ENGINE = "storm lab, Python"
EPOLL = "epoll loop in C"
CLOSE = "Connection: close"
SHORT_S, LONG_S = 1, 2
"""Those that are given a time instead of a number of requests. A second of new connections is about as many as the
others make: the kernel searches longer for a free port once half of them are used."""
BUILT = "python -m harness.trial.foreign "
"""What builds a generator that is no package of Debian's, where the lab has use for it elsewhere."""
RESULTS = "results"
"""In the trial's folder: what a generator leaves of each request."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a contender says that it did, over how many seconds."""

    answered: int
    failed: int
    seconds: float
    late_us: tuple[float, ...] | None = None
    """Of an open loop, where it says that of each request: how long after it was due it was issued, sorted."""


@dataclass(frozen=True, slots=True)
class Said:
    """What there is to read of a process that has ended."""

    output: str
    program: str
    folder: Path
    load: Load


@dataclass(frozen=True, slots=True)
class Tool:
    """A load generator other than the lab's."""

    program: str
    source: str
    """Where it is to be had: ``Debian: PACKAGE``, or a command."""
    commands: Callable[[Load, int], list[str]]
    """The command lines, one for each process, for a load that this many processes or threads share."""
    read: Callable[[Said], Tally]

    @property
    def path(self) -> str | None:
        """As installed, or as ``python -m harness.trial.foreign`` has built it; None where it is not here."""
        if (found := shutil.which(self.program)) is not None:
            return found
        built = foreign.tools().get(self.source.removeprefix(BUILT))
        return str(built.path) if built is not None and built.unit.missing is None else None

    @property
    def version(self) -> str | None:
        """As the program says it, or its package where it does not know; empty where neither does; None: not here."""
        if self.path is None:
            return None
        asks = {
            "ab": [self.path, "-V"],
            "hey": ["dpkg-query", "-W", "hey"],
            "vegeta": ["go", "version", "-m", self.path],
            "bombardier": ["go", "version", "-m", self.path],
        }
        try:
            asked = subprocess.run(asks.get(self.program, [self.path, "--version"]), capture_output=True, text=True)
        except FileNotFoundError:
            return ""
        said = asked.stdout + asked.stderr
        built = re.search(rf"^\s*mod\s+\S*{self.program}\S*\s+v([\d.]+)", said, re.MULTILINE)
        found = built or re.search(r"(\d+\.\d+[\d.]*)", said)
        return found[1] if found else ""


def number(pattern: str, said: str) -> float:
    """The number that the first group of a pattern finds; 0 where it finds none, as tools leave out zero failures."""
    found = re.search(pattern, said)
    return float(found[1]) if found else 0.0


def of_rate(answered: float, failed: float, rate: float) -> Tally:
    """Where a tool says its rate more precisely than its time."""
    return Tally(int(answered), int(failed), answered / rate if rate else 0.0)


def in_flight(load: Load) -> int:
    """Connections at a time."""
    return load.connections or load.concurrency or load.clients


def kept(load: Load) -> bool:
    return load.requests_per_client > 1


# ---- programs of C --------------------------------------------------------------------------------------------


def wrk(load: Load, threads: int) -> list[str]:
    how = f"-d{LONG_S}s" if kept(load) else f"-d{SHORT_S}s -H '{CLOSE}'"
    return [f"wrk -t{threads} -c{in_flight(load)} {how} {{url}}"]


def read_wrk(said: Said) -> Tally:
    sockets = said.output.partition("Socket errors:")[2]
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", sockets)))
    bad = number(r"Non-2xx or 3xx responses: (\d+)", said.output)
    answered = number(r"(\d+) requests in", said.output) - bad
    return of_rate(answered, errors + bad, number(r"Requests/sec:\s+([\d.]+)", said.output))


def ab(load: Load, processes: int) -> list[str]:
    each = f"-c {in_flight(load) // processes}"
    how = f"-k -t {LONG_S} -n {load.planned // processes}" if kept(load) else f"-n {load.clients // processes}"
    return [f"ab -q {how} {each} {{url}}"] * processes


def read_ab(said: Said) -> Tally:
    failed = number(r"Failed requests:\s+(\d+)", said.output) + number(r"Non-2xx responses:\s+(\d+)", said.output)
    answered = number(r"Complete requests:\s+(\d+)", said.output) - failed
    return Tally(int(answered), int(failed), number(r"Time taken for tests:\s+([\d.]+)", said.output))


def h2load(load: Load, threads: int) -> list[str]:
    how = f"-n {load.planned} -c {in_flight(load)} -t {threads}"
    if load.http2:
        return [f"h2load {how} -m 100 {{url}}"]
    return [f"h2load --h1 {how} {{url}}" if kept(load) else f"h2load --h1 {how} -H '{CLOSE}' {{url}}"]


def read_h2load(said: Said) -> Tally:
    answered = number(r"status codes: (\d+) 2xx", said.output)
    planned = number(r"requests: (\d+) total", said.output)
    return of_rate(answered, planned - answered, number(r"finished in \S+, ([\d.]+) req/s", said.output))


def epoll_storm(load: Load, processes: int) -> list[str]:
    shares = [len(range(first, load.clients, processes)) for first in range(processes)]
    return [f"epoll_storm {{port}} {first} {processes} {n} {{start_ns}}" for first, n in enumerate(shares)]


def read_epoll_storm(said: Said) -> Tally:
    answered, failed, seconds = said.output.split()
    return Tally(int(answered), int(failed), float(seconds))


# ---- programs of Go -------------------------------------------------------------------------------------------


def hey(load: Load, cpus: int) -> list[str]:
    how = f"-z {LONG_S}s" if kept(load) else f"-n {load.clients} -disable-keepalive"
    return [f"hey {how} -c {in_flight(load)} -cpus {cpus} {{url}}"]


def read_hey(said: Said) -> Tally:
    responses = [(status, int(count)) for status, count in re.findall(r"\[(\d+)\]\s+(\d+) responses", said.output)]
    errors = said.output.partition("Error distribution:")[2]
    answered = sum(count for status, count in responses if status.startswith("2"))
    failed = sum(count for status, count in responses if not status.startswith("2"))
    failed += sum(map(int, re.findall(r"\[(\d+)\]", errors)))
    return Tally(answered, failed, number(r"Total:\s+([\d.]+) secs", said.output))


def bombardier(load: Load, cpus: int) -> list[str]:
    how = f"-d {LONG_S}s" if kept(load) else f"-n {load.clients} -H '{CLOSE}'"
    return [f"bombardier {how} -c {in_flight(load)} --print r --format json {{url}}"]


def read_bombardier(said: Said) -> Tally:
    result = json.loads(said.output[said.output.index("{") :])["result"]
    failed = sum(result[name] for name in ("req1xx", "req3xx", "req4xx", "req5xx", "others"))
    return Tally(result["req2xx"], failed, float(result["timeTakenSeconds"]))


def vegeta(load: Load, cpus: int) -> list[str]:
    """It has no number of requests: without a rate, each worker makes one after the other until the time is over."""
    how = f"-rate 0 -max-workers {in_flight(load)} -duration {SHORT_S}s"
    if load.rate is not None:
        how = f"-rate {load.rate:.0f} -duration {load.planned / load.rate:g}s"
    return [f"vegeta attack {how} -keepalive=false -targets {{folder}}/targets -output {{folder}}/{RESULTS}"]


def read_vegeta(said: Said) -> Tally:
    """From each request's moment, answer and latency, as ``vegeta encode`` gives them away."""
    command = [said.program, "encode", "-to=csv", str(said.folder / RESULTS)]
    encoded = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    begun, took, answered = [], [], 0
    csv.field_size_limit(1 << 24)
    for row in csv.reader(encoded.splitlines()):
        begun.append(int(row[0]))
        took.append(int(row[2]))
        answered += row[1].startswith("2")
    begun_ns = min(begun, default=0)
    ended_ns = max((at + for_ns for at, for_ns in zip(begun, took, strict=True)), default=0)
    late = lateness([at / 1e9 for at in begun], said.load.rate)
    return Tally(answered, len(begun) - answered, (ended_ns - begun_ns) / 1e9, late)


def lateness(begun_s: list[float], rate: float | None) -> tuple[float, ...] | None:
    """How late each request of a loop at this rate left, in µs, sorted; None without a rate.

    Its start is not said: the request that was least late counts as on time, which is to its advantage.
    """
    if rate is None:
        return None
    late = [at - nth / rate for nth, at in enumerate(sorted(begun_s))]
    return tuple(sorted(1e6 * (each - min(late)) for each in late))


# ---- programs of Rust -----------------------------------------------------------------------------------------


def oha(load: Load, threads: int) -> list[str]:
    words = [f"oha --no-tui --worker-threads {threads} --output-format {'json' if load.rate is None else 'csv'}"]
    if load.http2:
        words.append(f"--http2 -n {load.planned} -c {in_flight(load)} -p 100")
    elif kept(load):
        words.append(f"-z {LONG_S}s -c {in_flight(load)}")
    elif load.rate is not None:
        words.append(f"--disable-keepalive -n {load.planned} -q {load.rate:.0f} -c 1000")
    else:
        words.append(f"--disable-keepalive -n {load.planned} -c {in_flight(load)}")
    return [" ".join([*words, "{url}"])]


def read_oha(said: Said) -> Tally:
    if said.load.rate is not None:
        return read_oha_rows(said)
    document = json.loads(said.output[said.output.index("{") :])
    by_status: Mapping[str, int] = document["statusCodeDistribution"]
    answered = sum(count for status, count in by_status.items() if status.startswith("2"))
    # What its deadline cuts off is no failure: the others that are given a time do not count that either.
    errors = sum(count for what, count in document["errorDistribution"].items() if "deadline" not in what)
    return Tally(answered, sum(by_status.values()) - answered + errors, float(document["summary"]["total"]))


def read_oha_rows(said: Said) -> Tally:
    """From a row for each request: when it began and how long it took, in seconds, and its status at the end."""
    rows = [row for row in csv.reader(said.output.splitlines()) if len(row) > 2 and row[0][:1].isdigit()]
    begun = [float(row[0]) for row in rows]
    ended = [at + float(row[4]) for at, row in zip(begun, rows, strict=True)]
    answered = sum(row[-1].startswith("2") for row in rows)
    seconds = max(ended, default=0.0) - min(begun, default=0.0)
    return Tally(answered, said.load.planned - answered, seconds, lateness(begun, said.load.rate))


TOOLS = {
    "wrk": Tool("wrk", "Debian: wrk", wrk, read_wrk),
    "ab": Tool("ab", "Debian: apache2-utils", ab, read_ab),
    "h2load": Tool("h2load", "Debian: nghttp2-client", h2load, read_h2load),
    "hey": Tool("hey", "Debian: hey", hey, read_hey),
    "oha": Tool("oha", f"{BUILT}oha-1.16.0", oha, read_oha),
    "vegeta": Tool("vegeta", f"{BUILT}vegeta-12.13.0", vegeta, read_vegeta),
    "bombardier": Tool(
        "bombardier", "go install github.com/codesenberg/bombardier@v1.2.6", bombardier, read_bombardier
    ),
    EPOLL: Tool("cc", "Debian: build-essential", epoll_storm, read_epoll_storm),
}


def together(tallies: list[Tally]) -> Tally:
    """What processes did that were started at once."""
    return Tally(
        sum(tally.answered for tally in tallies),
        sum(tally.failed for tally in tallies),
        max(tally.seconds for tally in tallies),
        tallies[0].late_us,
    )
