"""What was seen of a server under audit, the word for what it does without files, and its columns of the table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness.errors import printable
from harness.servers.audit.strace import Trace

SPINS_FROM_SHARE = 0.5
"""Of the time in which a server that is out of files, and has nothing else to do, runs or waits for a CPU."""
SPINS_FROM_TRIES_PER_S = 1000.0
"""Failed accepts a second that nobody needs; under a trace a loop makes several thousand."""
PAUSES_FROM_MS = 100.0
"""A server that accepts again later than this after files are free has waited for a timer."""
LONGEST_LINE = 160
_ON_FILES = re.compile(r"too many open files|EMFILE|no file descriptors|os error 24|errno 24|worker_connections", re.I)
_PATH = re.compile(r"(?<![\w.])(?:/[\w.@+-]+){2,}/?")
_NOISE = re.compile(
    r"^[\[(]?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?(?: ?[+-]\d{4})?[\])]?\s*"
    r"|\x1b\[[0-9;]*m|0x[0-9a-f]{6,}|\d+#\d+: "
)
Word = Literal["ends", "restarts", "stuck", "closes", "spins", "pauses", "waits", "not_reached", "unknown"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One server with ``limit`` open files at most, and more connections than that."""

    limit: int
    most_files: int
    ended: str | None = None
    """How it ended, if it did."""
    restarted: bool = False
    """Whether the process that had run out ended, and another took its place."""
    cpu_share: float | None = None
    """Of one CPU, used while it had no file left."""
    busy_share: float | None = None
    """The same with the time in which it waited for a CPU: what it would use if it had the machine to itself."""
    closed: int = 0
    """Connections that it closed meanwhile."""
    freed_after_ms: tuple[float | None, ...] = ()
    """From its clients closing all connections to a file being free again, once a round; None: as the next."""
    resumed_after_ms: tuple[float | None, ...] = ()
    """From a file being free again to a new connection's answer, once a round; None: not within the patience."""
    failed_accepts_per_s: float | None = None
    """From the trace of system calls, as the next two."""
    pause_ms: float | None = None
    longest_pause_ms: float | None = None
    log: str | None = None
    """A line of its log that says so."""
    log_lines_per_s: float | None = None


def verdict(seen: Seen | None) -> Word:
    """The one word; the first that applies.

    ends: the process is gone · restarts: so is the worker, whose place another takes · not_reached: it never ran out ·
    stuck: it does not accept again once files are free · closes: it takes new connections and closes them · pauses: it
    does not accept for a time, also when files are free again · spins: it tries without pause · waits: it uses no CPU,
    and accepts as soon as files are free.
    """
    if seen is None:
        return "unknown"
    if seen.ended is not None:
        return "ends"
    if seen.restarted:
        return "restarts"
    if seen.most_files < seen.limit and not seen.failed_accepts_per_s:
        return "not_reached"
    if seen.resumed_after_ms and all(after is None for after in seen.resumed_after_ms):
        return "stuck"
    if seen.closed:
        return "closes"
    if seen.resumed_after_ms and all((after or 0) >= PAUSES_FROM_MS for after in seen.resumed_after_ms):
        return "pauses"  # asyncio tries as often as its backlog is long, and then not for a second
    if (seen.busy_share or seen.cpu_share or 0) >= SPINS_FROM_SHARE or (
        seen.failed_accepts_per_s or 0
    ) >= SPINS_FROM_TRIES_PER_S:
        return "spins"
    if any((after or 0) >= PAUSES_FROM_MS for after in seen.resumed_after_ms):
        return "pauses"
    return "waits" if seen.resumed_after_ms else "unknown"


def lines_on_files(log: Iterable[str]) -> str | None:
    """The first line of a log that says so, without times, colours, addresses in memory and paths; None: none does."""
    for line in log:
        if _ON_FILES.search(line):
            return _PATH.sub("…", _NOISE.sub("", printable(line))).strip()[:LONGEST_LINE]
    return None


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of one server. ``None`` is what could not be."""

    somaxconn: int
    somaxconn_raised: int | None
    """What it was raised to for ``backlog_raised``; None where that is not allowed."""
    addresses: tuple[str, ...]
    backlog: int | None
    backlog_raised: int | None
    answers_ipv4: bool
    answers_ipv6: bool | None
    """None where this machine has no IPv6."""
    keeps_alive: bool
    honours_close: bool
    trace: Trace
    """Of its system calls; no server listens without one."""
    burst: int | None
    """How many connections met it when it woke."""
    announced: str
    """The version that it says it has."""
    out_of_files: Seen | None

    @property
    def follows_somaxconn(self) -> bool | None:
        """Whether its backlog is whatever net.core.somaxconn is; None where that could not be raised."""
        if self.backlog is None or self.backlog_raised is None:
            return None
        return self.backlog == self.somaxconn and self.backlog_raised == self.somaxconn_raised

    @property
    def asked(self) -> int | None:
        """The backlog passed to listen(2).

        From the trace, where there is one. Else from the kernel: a value below the limit is what was asked for, also
        with the limit raised; who follows the limit asked for that much or more, and how much is not known.
        """
        if self.trace.asked:
            return self.trace.asked[-1]
        if self.backlog is None or self.backlog == self.somaxconn:
            return None if self.follows_somaxconn else self.backlog_raised
        return self.backlog

    def columns(self) -> dict[str, Any]:
        """The contract's columns, then those that say more; null is what could not be seen.

        ``evidence`` says where ``backlog_asked`` and ``accepts_per_wakeup`` come from; the rest is the kernel's, or
        seen by a client.
        """
        traced = bool(self.trace.asked)
        return {
            "version": self.announced or "unknown",
            "backlog_asked": self.asked,
            "backlog_effective": self.backlog,
            "backlog_uncapped": self.backlog_raised,
            "follows_somaxconn": self.follows_somaxconn,
            "on_emfile": verdict(self.out_of_files),
            "emfile": None if self.out_of_files is None else asdict(self.out_of_files),
            "dual_stack": None if self.answers_ipv6 is None else self.answers_ipv4 and self.answers_ipv6,
            "addresses": list(self.addresses),
            "honours_close": self.honours_close,
            "keeps_alive": self.keeps_alive,
            "accepts_per_wakeup": self.trace.longest_run,
            "burst": self.burst,
            "accept_blocks": self.trace.blocking if traced else None,
            "evidence": "strace" if traced else "kernel",
        }
