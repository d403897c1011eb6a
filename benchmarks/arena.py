"""One trial of the generator's benchmark as a process of its own: ``arena.py CALLER``, a :class:`Task` on stdin.

It moves into a private network, starts the server there, lets one contender at it, and says as JSON what came of it.
Every trial has a network of its own, so nobody meets the connections in TIME_WAIT of whoever came before. Whatever
happens, it ends what it started; if CALLER is gone, it stops.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from contenders import LAB, PYTHON_ENGINE, TOOLS, Said, Tally, together
from harness import PROJECT
from harness.errors import MachineError, ServerError
from harness.events.rows import Outcome, Rows
from harness.machine import children, counters, host, namespace
from harness.machine.ports import ports_in_use
from harness.plan import Load, Retries, Server
from harness.plan.slices import Slice, cut, source_pool
from harness.servers import catalogue
from harness.servers.process import RunningServer
from harness.trial import engine

HOST, PORT = "127.0.0.1", 8080
SETTINGS = {
    "net.ipv4.ip_local_port_range": "1024 65535",
    "net.ipv4.ip_local_reserved_ports": str(PORT),
    "net.core.somaxconn": "65535",
}
"""Ports enough for tools that let the kernel search, and an accept queue that no storm fills: a SYN sent again is a
second in which no generator does anything."""
LATENESS = {f"p{percent:g}": percent / 100 for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)} | {"max": 1.0}
"""Name → share of an open loop's requests that were at most this late: enough to draw the distribution of."""
ENDS_WITHIN_S = 60.0
START_IN_S = 0.05
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived."""


@dataclass(frozen=True, slots=True)
class Task:
    """Who drives what load, with how many processes or threads, against which server, on which CPUs."""

    contender: str
    load: Load
    processes: int
    server: Server
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    folder: str
    """For rows and logs."""
    programs: dict[str, str]
    """Of the generators that are not the lab's: program → where it is."""

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Task:
        cpus = {name: tuple(document[name]) for name in ("server_cpus", "client_cpus")}
        load = Load(**{**document["load"], "retries": Retries(**document["load"]["retries"])})
        return cls(**{**document, **cpus, "load": load, "server": Server(**document["server"])})


@dataclass(frozen=True, slots=True)
class Spent:
    """What a contender's work took: CPU seconds of its processes, and of the server meanwhile."""

    cpu_user_s: float
    cpu_system_s: float
    server_cpu_s: float
    others_cpu_s: float
    """What everybody else had of the generators' CPUs: not the contender's doing, and the less the better."""
    others_server_cpu_s: float
    """And of the server's."""
    connections: int
    """Accepted by the kernel, of whoever: tells who did not make a new one for each request."""
    syns_resent: int

    def measured(self, tally: Tally) -> Measured:
        late_us = quantiles(tally.late_us)
        return Measured(
            **asdict(self),
            answered=tally.answered,
            failed=tally.failed,
            seconds=tally.seconds,
            lateness_us=late_us,
        )


@dataclass(frozen=True, slots=True)
class Measured(Spent):
    """What came of a trial, and what it took."""

    answered: int
    failed: int
    seconds: float
    lateness_us: dict[str, float] | None = None
    """Of an open loop: issued − scheduled."""


class Arena:
    """A trial's phases; ``processes`` are the contender's."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.processes: list[subprocess.Popen[str]] = []
        self.server: RunningServer | None = None

    def run(self) -> Measured:
        """Raises: MachineError, ServerError."""
        engines = {LAB: engine.choose("auto"), PYTHON_ENGINE: engine.choose("python")}
        try:
            isolation = namespace.enter()
            if not isolation.isolated:
                raise MachineError(isolation.reason, "allow user namespaces or run as root; see `stormlab doctor`")
            namespace.set_private(SETTINGS)
            server = self._start_server()
            if (chosen := engines.get(self.task.contender)) is not None:
                return self._lab(server, engine.program(chosen))
            return self._tool(server)
        finally:
            for process in self.processes:
                children.end(process, grace_s=0.2)
            if self.server is not None:
                self.server.end()
            children.end_descendants()

    def _start_server(self) -> RunningServer:
        task, files = self.task, (host.files_limit()[1],) * 2
        command = catalogue.argv(catalogue.find(task.server), task.server, HOST, PORT, http2=task.load.http2)
        log = Path(task.folder) / "server.log"
        self.server = RunningServer(command, log, Path(task.folder), task.server_cpus, files)
        self.server.wait_until_ready("answered", HOST, PORT, task.load.path, http2=task.load.http2)
        return self.server

    # ---- the other generators -------------------------------------------------------------------------------

    def _tool(self, server: RunningServer) -> Measured:
        task, tool = self.task, TOOLS[self.task.contender]
        url = f"http://{HOST}:{PORT}{task.load.path}"
        (Path(task.folder) / "targets").write_text(f"GET {url}\n")
        start_ns = time.monotonic_ns() + int(START_IN_S * 1e9)
        values = {"port": PORT, "url": url, "start_ns": start_ns, "folder": task.folder}
        lines = [
            [word.format(**values) for word in shlex.split(line)] for line in tool.commands(task.load, task.processes)
        ]
        before = Readings(server.pid, task)
        said = self._run_all([[task.programs.get(program, program), *words] for program, *words in lines])
        after = before.read_again()
        path = task.programs.get(tool.program, tool.program)
        tally = together([tool.read(Said(output, path, Path(task.folder), task.load)) for output in said])
        return after.measured(tally)

    def _run_all(self, commands: list[list[str]]) -> list[str]:
        """Run command lines at once, to their end; what each said."""
        prepared = children.prepare(self.task.client_cpus, (host.files_limit()[1],) * 2)
        for argv in commands:
            self.processes.append(
                children.start(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, prepared=prepared)
            )
        said = []
        for process in self.processes:
            output = _rest(process)
            if process.returncode:
                last = output.strip().rpartition("\n")[2]
                raise MachineError(f"{self.task.contender} ended with status {process.returncode}: {last}")
            said.append(output)
        return said

    # ---- the lab --------------------------------------------------------------------------------------------

    def _lab(self, server: RunningServer, program: Sequence[str | Path]) -> Measured:
        """As the supervisor does it, without what watches meanwhile."""
        task = self.task
        slices = cut(
            task.load,
            task.processes,
            target=HOST,
            port=PORT,
            source=source_pool(HOST, task.load, ports_in_use()),
            cpus=task.client_cpus,
            folder=task.folder,
        )
        rows = [Rows(Path(s.rows_path), s.connection_rows, s.request_rows, create=True) for s in slices]
        for slice_ in slices:
            self._start_agent(slice_, program)
        before = Readings(server.pid, task)
        # From ready to the report: the interpreter's start and end are no part of the load.
        started = [_begun_cpu_s(agent.pid) for agent in self.processes]
        start_ns = time.monotonic_ns() + int(START_IN_S * 1e9)
        for agent in self.processes:
            _tell(agent, str(start_ns))
        reports = []
        for agent in self.processes:
            said = _rest(agent)
            if agent.returncode:
                raise MachineError(f"an agent ended with status {agent.returncode}")
            reports.append(json.loads(said))
        ended = [(report["cpu_user_s"], report["cpu_system_s"]) for report in reports]
        after = before.read_again((started, ended))
        return after.measured(tally(slices, rows))

    def _start_agent(self, slice_: Slice, program: Sequence[str | Path]) -> None:
        agent = children.start(
            list(map(str, program)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
        )
        self.processes.append(agent)
        _tell(agent, json.dumps(slice_.to_json()))
        assert agent.stdout is not None
        if agent.stdout.readline() != "ready\n":
            raise MachineError("an agent did not start")


def _tell(agent: subprocess.Popen[str], line: str) -> None:
    assert agent.stdin is not None
    agent.stdin.write(line + "\n")
    agent.stdin.flush()


def _rest(process: subprocess.Popen[str]) -> str:
    """What a process says until it ends. Raises: MachineError: it does not end."""
    try:
        return process.communicate(timeout=ENDS_WITHIN_S)[0]
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"it was not over after {ENDS_WITHIN_S:g} s and was ended") from error


# ---- what the rows say --------------------------------------------------------------------------------------


def tally(slices: list[Slice], agents: list[Rows]) -> Tally:
    """From the first issue to the last answer."""
    issued, ended, answered = [], [], 0
    for slice_, rows in zip(slices, agents, strict=True):
        table, end = (rows.request, "last_byte_ns") if slice_.request_rows else (rows.connection, "closed_ns")
        good = [outcome == Outcome.answered for outcome in table["outcome"]]
        issued += [at for at in table["issued_ns"] if at]
        ended += [at for at, was in zip(table[end], good, strict=True) if was]
        answered += sum(good)
    planned = sum(slice_.requests for slice_ in slices)
    seconds = (max(ended) - min(issued)) / 1e9 if ended else 0.0
    return Tally(answered, planned - answered, seconds, lateness(slices, agents))


def lateness(slices: list[Slice], agents: list[Rows]) -> tuple[float, ...] | None:
    """How long after its slot each request of an open loop was issued, in µs, sorted; None for other loads."""
    if slices[0].rate is None:
        return None
    columns = [(rows.connection["scheduled_ns"], rows.connection["issued_ns"]) for rows in agents]
    return tuple(sorted((at - due) / 1000 for both in columns for due, at in zip(*both, strict=True) if at))


def quantiles(late_us: tuple[float, ...] | None) -> dict[str, float] | None:
    if not late_us:
        return None
    return {name: late_us[max(0, round(share * len(late_us)) - 1)] for name, share in LATENESS.items()}


# ---- what the kernel says -----------------------------------------------------------------------------------


Times = tuple[float, float]
"""User and system time of a process, in seconds."""


class Readings:
    """CPU time and counters from here on."""

    def __init__(self, server: int, task: Task) -> None:
        self._server, self._task = server, task
        self._busy_s = _busy_s(task.client_cpus)
        self._server_busy_s = _busy_s(task.server_cpus)
        self._server_cpu_s = sum(_cpu_s(server))
        self._children = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._counters = counters.read_counters()

    def read_again(self, span: tuple[list[Times], list[Times]] = ([], [])) -> Spent:
        """When the contender's processes have ended; ``span``: their times where what counts began, and ended."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_s = (used.ru_utime - self._children.ru_utime, used.ru_stime - self._children.ru_stime)
        started_s, ended_s = _sum(span[0]), _sum(span[1]) if span[1] else used_s
        counted = counters.deltas(self._counters, counters.read_counters())
        others_s = _busy_s(self._task.client_cpus) - self._busy_s - (sum(used_s) - sum(started_s))
        server_s = sum(_cpu_s(self._server)) - self._server_cpu_s
        return Spent(
            cpu_user_s=max(0.0, ended_s[0] - started_s[0]),
            cpu_system_s=max(0.0, ended_s[1] - started_s[1]),
            server_cpu_s=server_s,
            others_cpu_s=max(0.0, others_s),
            others_server_cpu_s=max(0.0, _busy_s(self._task.server_cpus) - self._server_busy_s - server_s),
            connections=counted["PassiveOpens"],
            syns_resent=counted["TCPSynRetrans"],
        )


def _sum(times: list[Times]) -> Times:
    return sum(user for user, _ in times), sum(system for _, system in times)


def _cpu_s(pid: int) -> Times:
    """Of all threads of a process, in the kernel's ticks of 10 ms (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S


def _begun_cpu_s(pid: int) -> Times:
    """Of a process's only thread, to the nanosecond; less than a tick is system time."""
    whole_s = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    user_s, system_s = _cpu_s(pid)
    own_s = whole_s * user_s / (user_s + system_s) if user_s else 0.0
    return own_s, whole_s - own_s


def _busy_s(cpus: tuple[int, ...]) -> float:
    """Time in which CPUs ran processes, anybody's, or were taken away by the hypervisor (proc(5), /proc/stat)."""
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{cpu}" for cpu in cpus}:
            user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, fields[:8])
            busy += user + nice + system + steal
    return busy / TICKS_PER_S


def main() -> int:
    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        for one in children.STOPPING:  # once is enough: what follows must not be interrupted in turn
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted

    try:
        for one in children.STOPPING:
            signal.signal(one, interrupt)
        children.die_with_parent(signal.SIGTERM)
        children.adopt_orphans()
        if os.getppid() != int(sys.argv[1]):
            return 1
        answer = asdict(Arena(Task.from_json(json.load(sys.stdin))).run())
    except Interrupted:
        return 1
    except (MachineError, ServerError) as error:
        answer = {"error": error.message}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
