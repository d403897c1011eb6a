"""The load generators that are compared: how each is started for a load, and how to read what it says in the end.

``{url}``, ``{port}``, ``{start_ns}`` and ``{epoll_storm}`` in a command line are filled in where it is started.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from harness.plan import Load

LAB = "storm lab"
CLOSE = "Connection: close"
WRK_S = {"short": 1, "long": 2}
"""wrk takes whole seconds. One is about as many connections as the others make: the kernel searches longer for a free
port once half of them are used, so tools that have it search must be compared over like numbers."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a contender says that it did, over how many seconds."""

    answered: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tool:
    """A load generator other than the lab's; ``package`` is what provides it on Debian."""

    program: str
    package: str
    commands: Callable[[Load, int], list[str]]
    """The command lines, one for each process, for a load that this many processes or threads share."""
    read: Callable[[str], Tally]

    @property
    def missing(self) -> bool:
        return shutil.which(self.program) is None

    @property
    def version(self) -> str:
        """As the program says it when asked; hey does not know its own: its Debian package's, empty without one."""
        asks = {"ab": ["ab", "-V"], "hey": ["dpkg-query", "-W", self.package]}
        try:
            asked = subprocess.run(asks.get(self.program, [self.program, "--version"]), capture_output=True)
        except FileNotFoundError:
            return ""
        found = re.search(rb"\d+\.\d+[\d.]*", asked.stdout)
        return found[0].decode() if found else ""


def number(pattern: str, said: str) -> float:
    """The number that the first group of a pattern finds; 0 where it finds none, as tools leave out zero failures."""
    found = re.search(pattern, said)
    return float(found[1]) if found else 0.0


def of_rate(answered: float, failed: float, rate: float) -> Tally:
    """Where a tool says its rate more precisely than its time."""
    return Tally(int(answered), int(failed), answered / rate if rate else 0.0)


def wrk(load: Load, threads: int) -> list[str]:
    if load.requests_per_client > 1:
        return [f"wrk -t{threads} -c{load.clients} -d{WRK_S['long']}s {{url}}"]
    return [f"wrk -t{threads} -c{load.concurrency} -d{WRK_S['short']}s -H '{CLOSE}' {{url}}"]


def read_wrk(said: str) -> Tally:
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said.partition("Socket errors:")[2])))
    bad = number(r"Non-2xx or 3xx responses: (\d+)", said)
    answered = number(r"(\d+) requests in", said) - bad
    return of_rate(answered, errors + bad, number(r"Requests/sec:\s+([\d.]+)", said))


def ab(load: Load, processes: int) -> list[str]:
    each = f"-n {load.clients // processes} -c {(load.concurrency or load.clients) // processes}"
    return [f"ab -q {each} {{url}}"] * processes


def read_ab(said: str) -> Tally:
    failed = number(r"Failed requests:\s+(\d+)", said) + number(r"Non-2xx responses:\s+(\d+)", said)
    answered = number(r"Complete requests:\s+(\d+)", said) - failed
    return Tally(int(answered), int(failed), number(r"Time taken for tests:\s+([\d.]+)", said))


def hey(load: Load, cpus: int) -> list[str]:
    return [f"hey -n {load.clients} -c {load.concurrency} -cpus {cpus} -disable-keepalive {{url}}"]


def read_hey(said: str) -> Tally:
    responses = [(status, int(count)) for status, count in re.findall(r"\[(\d+)\]\s+(\d+) responses", said)]
    errors = said.partition("Error distribution:")[2]
    answered = sum(count for status, count in responses if status.startswith("2"))
    failed = sum(count for status, count in responses if not status.startswith("2"))
    failed += sum(map(int, re.findall(r"\[(\d+)\]", errors)))
    return Tally(answered, failed, number(r"Total:\s+([\d.]+) secs", said))


def h2load(load: Load, threads: int) -> list[str]:
    return [f"h2load --h1 -n {load.clients} -c {load.concurrency} -t {threads} -H '{CLOSE}' {{url}}"]


def read_h2load(said: str) -> Tally:
    answered = number(r"status codes: (\d+) 2xx", said)
    planned = number(r"requests: (\d+) total", said)
    return of_rate(answered, planned - answered, number(r"finished in \S+, ([\d.]+) req/s", said))


def epoll_storm(load: Load, processes: int) -> list[str]:
    shares = [len(range(first, load.clients, processes)) for first in range(processes)]
    return [f"{{epoll_storm}} {{port}} {first} {processes} {n} {{start_ns}}" for first, n in enumerate(shares)]


def read_epoll_storm(said: str) -> Tally:
    answered, failed, seconds = said.split()
    return Tally(int(answered), int(failed), float(seconds))


TOOLS = {
    "wrk": Tool("wrk", "wrk", wrk, read_wrk),
    "ab": Tool("ab", "apache2-utils", ab, read_ab),
    "hey": Tool("hey", "hey", hey, read_hey),
    "h2load": Tool("h2load", "nghttp2-client", h2load, read_h2load),
    "epoll loop in C": Tool("cc", "build-essential", epoll_storm, read_epoll_storm),
}


def together(tallies: list[Tally]) -> Tally:
    """What processes did that were started at once."""
    return Tally(
        sum(tally.answered for tally in tallies),
        sum(tally.failed for tally in tallies),
        max(tally.seconds for tally in tallies),
    )
