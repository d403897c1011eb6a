"""What a server does when it has no file left for a connection: what was seen, and the word for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

SPINS_FROM_SHARE = 0.5
"""Of the time in which a server that is out of files, and has nothing else to do, runs or waits for a CPU."""
SPINS_FROM_TRIES_PER_S = 1000.0
"""Failed accepts a second that nobody needs; under a trace a loop makes several thousand."""
PAUSES_FROM_MS = 100.0
"""A server that accepts again later than this after files are free has waited for a timer."""
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Seen:
        moments = {name: tuple(document[name]) for name in ("freed_after_ms", "resumed_after_ms")}
        return cls(**{**document, **moments})


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
