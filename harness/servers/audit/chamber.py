"""One server under audit, in a private network: ``python -m harness.servers.audit.chamber``.

The job is a JSON document on standard input, what was seen one on standard output (:meth:`Observed.columns`). The
server is started several times: once to look at its listener and to ask it, once under strace, once with a raised
``net.core.somaxconn``, and with few open files, with and without strace. Whatever happens, all of it is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import ServerError
from harness.machine import children, host, namespace
from harness.machine.chamber import answer
from harness.machine.listeners import Listener
from harness.servers.audit import asking, strace
from harness.servers.audit.asking import Idle
from harness.servers.audit.row import Observed, Seen, lines_on_files
from harness.servers.process import RunningServer

SOMAXCONN = "net.core.somaxconn"
RAISED = 1_000_000
"""More than any stack asks for by itself: who follows this asks for all there is."""
BURST = 256
CONNECTED_WITHIN_S, ANSWERED_WITHIN_S, RETURNS_WITHIN_S = 0.2, 3.0, 0.1
"""Until the last of a burst is connected; is answered; and until the server is back where it waits."""
FILE_LIMITS = (64, 128, 256, 512)
"""The first with which a server can start at all is taken."""
BEYOND = 3
"""Connections opened after the last file is used; the queue of the smallest backlog (5) has room for them."""
STARTING_TO_RUN_OUT_S, WATCHED_S, TRACED_S = 0.3, 1.0, 3.2
ROUNDS = 2
PATIENCE_S, FREED_WITHIN_S = 5.0, 10.0
WHAT_IS_AUDITED = (
    "what is audited must stay in the foreground and speak HTTP/1.1 on {port} of 127.0.0.1, ::1 or all addresses"
)


class Chamber:
    """The audit of one server, in the order of :meth:`observe`."""

    def __init__(self, argv: list[str], port: int, folder: Path, cwd: Path, isolated: bool) -> None:
        self.argv, self.port, self.cwd, self.isolated = argv, port, cwd, isolated
        self.host = ""
        """Where it answers, once that is known."""
        self.trace_file = folder / "strace"
        self.log = folder / "log"

    def observe(self) -> Observed:
        """Raises: ServerError: it cannot be started, or does not answer."""
        limit = somaxconn()
        with self.running() as server:
            announced = server.announced_version()
            listening = server.listeners(self.port)
            kept = asking.reply(self.host, self.port, close=False)
            closing = asking.reply(self.host, self.port, close=True)
            ipv4 = asking.reply("127.0.0.1", self.port, close=True)
            ipv6 = asking.reply("::1", self.port, close=True) if asking.has_ipv6() else None
        trace, burst = self.traced()
        return Observed(
            somaxconn=limit,
            somaxconn_raised=RAISED if self.isolated else None,
            addresses=tuple(sorted({listener.address for listener in listening})),
            backlog=_smallest_backlog(listening),
            backlog_raised=self.backlog_with_raised_somaxconn(),
            answers_ipv4=ipv4.answered,
            answers_ipv6=None if ipv6 is None else ipv6.answered,
            keeps_alive=kept.answered and not kept.closed,
            honours_close=closing.answered and closing.closed,
            trace=trace,
            burst=burst,
            announced=announced,
            out_of_files=self.out_of_files(traced=bool(trace.asked)),
        )

    @contextlib.contextmanager
    def running(self, *, files: int | None = None, trace: bool = False) -> Iterator[RunningServer]:
        """The server, from its first answer on; traced if asked to."""
        self.trace_file.unlink(missing_ok=True)
        argv = [*strace.prefix(self.trace_file), *self.argv] if trace else self.argv
        limits = host.files_limit() if files is None else (files, files)
        server = RunningServer(argv, self.log, self.cwd, host.usable_cpus(), limits)
        try:
            self.host = self.wait_for_answer(server)
            yield server
        finally:
            server.end()
            children.end_descendants() if not trace else _let_go()

    def wait_for_answer(self, server: RunningServer) -> str:
        """Where on loopback it answers, once it does.

        Raises:
            ServerError: it ended, or nobody answers.
        """
        try:
            server.wait_until_ready("listening", "127.0.0.1", self.port, asking.PATH)
            addresses = [listener.address for listener in server.listeners(self.port)]
            candidates = [self.host] if self.host else asking.loopback_of(addresses)
            for host in candidates[:-1]:
                if asking.reply(host, self.port, close=True).answered:
                    return host
            server.wait_until_ready("answered", candidates[-1], self.port, asking.PATH)
        except ServerError as error:
            raise ServerError(error.message, WHAT_IS_AUDITED) from error
        return candidates[-1]

    def traced(self) -> tuple[strace.Trace, int | None]:
        """What the trace of its system calls says, and how many connections met it when it woke; nothing without."""
        if strace.missing_tracer() is not None:
            return strace.Trace(), None
        try:
            with self.running(trace=True) as server:
                resumed_s, burst = self.burst(server)
        except ServerError:  # it does not start under a tracer: some programs and sandboxes do not bear one
            return strace.Trace(), None
        return self.read_trace(resumed_s), burst

    def idle(self) -> contextlib.closing[Idle]:
        return contextlib.closing(Idle(self.host, self.port))

    def read_trace(self, since_s: float) -> strace.Trace:
        if not self.trace_file.exists():
            return strace.Trace()
        with self.trace_file.open(errors="replace") as lines:
            return strace.read(lines, self.port, since_s)

    def burst(self, server: RunningServer) -> tuple[float, int]:
        """(time from which accepts count, connections in the queue then): the server stands still meanwhile."""
        with self.idle() as clients:
            children.signal_group(server.pid, signal.SIGSTOP)
            time.sleep(0.05)
            for _ in range(BURST):
                clients.add()
            queued = clients.request_where_connected(CONNECTED_WITHIN_S)
            resumed_s = time.time()
            children.signal_group(server.pid, signal.SIGCONT)
            clients.wait_for_answers(queued, ANSWERED_WITHIN_S)
            time.sleep(RETURNS_WITHIN_S)
        return resumed_s, queued

    def backlog_with_raised_somaxconn(self) -> int | None:
        if not self.isolated:
            return None
        before = somaxconn()
        namespace.set_private({SOMAXCONN: str(RAISED)})
        try:
            with self.running() as server:
                return _smallest_backlog(server.listeners(self.port))
        finally:
            namespace.set_private({SOMAXCONN: str(before)})

    # ---- out of files -------------------------------------------------------------------------------------------

    def out_of_files(self, *, traced: bool) -> Seen | None:
        """What it does with more connections than open files; None where it does not start with few."""
        for limit in FILE_LIMITS:
            try:
                with self.running(files=limit) as server:
                    seen = self.run_out(server, limit)
            except ServerError:
                continue
            return self.traced_too(seen) if traced and seen.ended is None else seen
        return None

    def run_out(self, server: RunningServer, limit: int) -> Seen:
        most_files, closed, restarted = 0, 0, False
        shares, log_rates = [], []
        freed: list[float | None] = []
        resumed: list[float | None] = []
        for round_number in range(ROUNDS):
            with self.idle() as clients:
                filled, fullest = self.fill(server, clients, limit)
                # The second round lets go at another moment of a timer's second.
                time.sleep(STARTING_TO_RUN_OUT_S + 0.35 * round_number)
                lines_before, begun = _count_lines(self.log), time.monotonic()
                shares.append(_watch(server, WATCHED_S))
                log_rates.append((_count_lines(self.log) - lines_before) / (time.monotonic() - begun))
                most_files = max(most_files, filled, _most_files(server.pid)[0])
                closed = max(closed, clients.closed_by_server())
            if server.exit_status is not None or not server.listeners(self.port):
                ended = server.exit_status or "it closed its listener"
                return Seen(limit, most_files, ended=ended, log=self.log_says())
            freed.append(_freed_after_ms(server.pid, limit))
            resumed.append(asking.answered_after_ms(self.host, self.port, PATIENCE_S))
            restarted = restarted or fullest not in children.members(server.pid)
        return Seen(
            limit,
            most_files,
            restarted=restarted,
            cpu_share=round(max(used for used, _ in shares), 2),
            busy_share=round(max(busy for _, busy in shares), 2),
            closed=closed,
            freed_after_ms=tuple(freed),
            resumed_after_ms=tuple(resumed),
            log=self.log_says(),
            log_lines_per_s=round(max(log_rates), 1),
        )

    def fill(self, server: RunningServer, clients: Idle, limit: int) -> tuple[int, int]:
        """Open connections until its last file is used, and a few more; returns the :func:`_most_files` seen."""
        fullest = (0, server.pid)
        for _ in range(limit + BEYOND):
            clients.add()
            time.sleep(0.003)
            fullest = max(fullest, _most_files(server.pid), key=lambda each: each[0])
            if fullest[0] >= limit or server.exit_status is not None:
                break
        for _ in range(BEYOND):
            clients.add()
        return fullest

    def traced_too(self, seen: Seen) -> Seen:
        """The same again under strace, which shows every try and the time between two."""
        with contextlib.suppress(ServerError):
            with self.running(files=seen.limit, trace=True) as server, self.idle() as clients:
                self.fill(server, clients, seen.limit)
                since_s = time.time()
                time.sleep(TRACED_S)
            trace = self.read_trace(since_s)
            return replace(
                seen,
                failed_accepts_per_s=round(trace.failed / TRACED_S, 1),
                pause_ms=trace.pause_ms,
                longest_pause_ms=max(trace.pauses_ms, default=None),
            )
        return seen

    def log_says(self) -> str | None:
        with self.log.open(errors="replace") as log:
            return lines_on_files(log)


def _smallest_backlog(listening: list[Listener]) -> int | None:
    return min((listener.backlog for listener in listening), default=None)


def somaxconn() -> int:
    """The most that a backlog can be in this network."""
    return int(namespace.setting_path(SOMAXCONN).read_text())


def _most_files(group: int) -> tuple[int, int]:
    """(open files, process) of that process of a group which has most of them open."""
    found = [(0, group)]
    for pid in children.members(group):
        with contextlib.suppress(OSError):
            found.append((sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), pid))
    return max(found, key=lambda each: each[0])


def _freed_after_ms(group: int, limit: int) -> float | None:
    """How long until no process of a group has all its files open any more; some keep those of clients long gone."""
    begun = time.monotonic()
    while (lasted_s := time.monotonic() - begun) < FREED_WITHIN_S:
        if _most_files(group)[0] < limit:
            return round(lasted_s * 1000, 1)
        time.sleep(0.002)
    return None


def _watch(server: RunningServer, for_s: float) -> tuple[float, float]:
    """(share of one CPU used, share of moments in which a thread of the server's ran or waited for a CPU)."""
    begun, before = time.monotonic(), server.usage().cpu_s or 0.0
    seen_running = []
    while (lasted_s := time.monotonic() - begun) < for_s:
        seen_running.append("R" in children.states(server.pid))
        time.sleep(0.02)
    return ((server.usage().cpu_s or 0.0) - before) / lasted_s, sum(seen_running) / len(seen_running)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 16), b""))


def _let_go() -> None:
    """Let a tracer, whose server is gone, write its last lines, and end what is left."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline and children.has_children():
        time.sleep(0.01)
    children.end_descendants()


def observe(document: dict[str, Any]) -> dict[str, Any]:
    os.environ.update(document["environment"])
    isolated = namespace.enter().isolated
    folder, cwd = Path(document["folder"]), Path(document["cwd"])
    return Chamber(document["argv"], document["port"], folder, cwd, isolated).observe().columns()


if __name__ == "__main__":
    answer(observe)
