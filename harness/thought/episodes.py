"""Episodes of a full accept queue, and why the server did not accept meanwhile: read from the samples.

One thing samples can miss: a server that runs out of files may have closed those it had within milliseconds, and then
sleep for a second. Its log says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from harness.events.rowtimes import Bools, Floats

DRIVERS = ("stalled", "cpu_starved", "out_of_files", "accept_bound", "unknown")
APART_US = 50_000
"""A queue that was not full for less than this between two samples has had no rest: it is one episode."""
BEFORE_US = 100_000
"""What a server met with just before an episode began may be why it did not accept."""
BUSY_FROM, ASLEEP_BELOW = 2 / 3, 1 / 3
"""Threads that ran or were ready to, on average: one that accepts without a pause is one, and whoever did so for less
than a third of the time slept for most of it. Between the two nothing is said."""
TICK_US = 10_000
"""The grain of CPU times in runs that were recorded before these were read from the processes' clocks."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a server did in a stretch of time: one of :data:`DRIVERS`, and the numbers on which it rests."""

    driver: str
    because: str
    asleep: bool = False
    """Whether it waited for something of its own accord: neither running nor ready to, and not stopped."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch of time in which the queue was full; counts and shares are of that time, None where not sampled."""

    begin_us: int
    end_us: int
    driver: str
    because: str
    """The numbers on which the driver rests."""
    deepest: int
    overflows: int | None
    """ListenOverflows meanwhile: SYNs dropped and final ACKs ignored."""
    running: float | None
    """CPUs that the server used."""
    waiting_for_cpu: float | None
    """Threads that were ready and had no CPU, on average."""
    asleep: bool = False
    """Whether it waited for something of its own accord: neither running nor ready to, and not stopped."""

    @property
    def duration_ms(self) -> float:
        return (self.end_us - self.begin_us) / 1000

    def to_json(self) -> dict[str, Any]:
        """Return an episode as ``explain`` tells it; whether the server slept is in its ``because``."""
        told = asdict(self) | {"duration_ms": self.duration_ms}
        del told["asleep"]
        return told


def episodes(samples: pa.Table | None, out_of_files_lines: int = 0) -> list[Episode]:
    """All episodes in order of time; a queue is full when it holds more than its backlog (sk_acceptq_is_full).

    ``out_of_files_lines`` is how often the server's log says that it ran out of files.
    """
    if samples is None or len(samples) == 0:
        return []
    seen = _columns(samples)
    full = seen["accept_queue"] > seen["backlog"]
    found = [_episode(seen, first, last) for first, last in _stretches(seen["time_us"], full)]
    because = of_files(sum(episode.asleep for episode in found), out_of_files_lines)
    if because is None:
        return found
    return [replace(one, driver="out_of_files", because=because) if one.asleep else one for one in found]


def of_files(times_asleep: int, out_of_files_lines: int) -> str | None:
    """Why a server slept whose log says at least as often that it ran out of files; None where it says less."""
    if not times_asleep or out_of_files_lines < times_asleep:
        return None
    return f"asleep; its log says {out_of_files_lines} times that it ran out of files"


def activity(samples: pa.Table | None, begin_us: int | None, end_us: int | None) -> Activity | None:
    """What the server did in a stretch of time; None if not sampled."""
    if samples is None or begin_us is None or end_us is None:
        return None
    seen = _columns(samples)
    inside = np.flatnonzero((seen["time_us"] >= begin_us) & (seen["time_us"] <= end_us))
    if len(inside) < 2:
        return None
    first, last = int(inside[0]), int(inside[-1])
    return _driver(seen, first, last, *_busy(seen, first, last))


def _busy(seen: dict[str, Floats], first: int, last: int) -> tuple[float | None, float | None]:
    """CPUs that the server used, and threads that were ready and had none."""
    running = _rate(seen["time_us"], seen["server_cpu_us"], first, last)
    return running, _rate(seen["time_us"], seen.get("server_wait_us"), first, last)


def _columns(samples: pa.Table) -> dict[str, Floats]:
    return {name: samples[name].to_numpy().astype(np.float64) for name in samples.column_names}


def _stretches(times: Floats, full: Bools) -> Iterator[tuple[int, int]]:
    """First and last sample of each stretch, both full."""
    at = np.flatnonzero(full)
    if not len(at):
        return
    # Samples that are far apart end nothing; one between them that shows the queue not full does.
    breaks = np.flatnonzero((np.diff(times[at]) > APART_US) & (np.diff(at) > 1))
    yield from zip(at[np.append(0, breaks + 1)], at[np.append(breaks, len(at) - 1)], strict=True)


def _episode(seen: dict[str, Floats], first: int, last: int) -> Episode:
    times = seen["time_us"]
    overflows = _change(seen["ListenOverflows"], first, last)
    running, waiting = _busy(seen, first, last)
    did = _driver(seen, first, last, running, waiting)
    if did.asleep and np.any(seen["accept_queue"][first : last + 1] == 0):
        did = Activity("unknown", f"{did.because}, and its queue was empty in between: it may have had nothing to take")
    return Episode(
        begin_us=int(times[first]),
        end_us=int(times[last]),
        driver=did.driver,
        because=did.because,
        asleep=did.asleep,
        deepest=int(np.nanmax(seen["accept_queue"][first : last + 1])),
        overflows=None if overflows is None else int(overflows),
        running=running,
        waiting_for_cpu=waiting,
    )


def _driver(seen: dict[str, Floats], first: int, last: int, running: float | None, waiting: float | None) -> Activity:
    before = int(np.searchsorted(seen["time_us"], seen["time_us"][first] - BEFORE_US))
    files, limits = (_within(seen[name], before, last) for name in ("server_files", "server_files_limit"))
    most, limit = files.max(initial=0), limits.max(initial=0) or np.inf
    if most >= limit:
        return Activity("out_of_files", f"{most:.0f} open files of {limit:.0f}")
    if running is None or waiting is None:
        sampled = len(_within(seen.get("server_wait_us", np.empty(0)), 0, len(seen["time_us"]))) > 1
        return Activity(
            "unknown", "too short for the samples of the server" if sampled else "the server was not sampled"
        )
    if running < 0 or waiting < 0:
        return Activity("unknown", "a process or a thread of the server ended meanwhile, and took its account with it")
    numbers = f"{running:.2f} CPUs used, {waiting:.2f} threads waiting for one"
    stopped, threads = (
        _within(seen[name], first, last) for name in ("server_threads_stopped", "server_threads") if name in seen
    )
    of_threads = np.median(threads) if len(threads) else 0
    if len(stopped) and np.median(stopped):
        all_are = np.median(stopped) == of_threads
        several = "listeners" in seen and np.nanmax(seen["listeners"][first : last + 1]) > 1
        if all_are or several:  # of several queues it is the deepest that is full: that of who was stopped
            whose = "" if all_are else f": {np.median(stopped):.0f} of {of_threads:.0f} threads"
            return Activity("stalled", f"{numbers}, stopped by a signal{whose}")
    error = 0.0 if "listeners" in seen else TICK_US / max(1.0, seen["time_us"][last] - seen["time_us"][first])
    if running + waiting - error >= BUSY_FROM:
        return Activity("cpu_starved" if waiting > running else "accept_bound", numbers)
    if running + waiting + error <= ASLEEP_BELOW:
        return Activity("stalled", f"{numbers}, asleep", asleep=True)
    return Activity("unknown", f"{numbers}: neither busy nor asleep for most of it")


def _within(values: Floats, first: int, last: int) -> Floats:
    inside = values[first : last + 1]
    return inside[~np.isnan(inside)]


def _around(values: Floats, first: int, last: int) -> tuple[int, int] | None:
    """The last sample with a value until ``first`` and the first from ``last`` on; inside, where there is none."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < 2:
        return None
    before = int(known[max(0, int(np.searchsorted(known, first, side="right")) - 1)])
    after = int(known[min(len(known) - 1, int(np.searchsorted(known, last, side="left")))])
    return (before, after) if after > before else None


def _change(values: Floats, first: int, last: int) -> float | None:
    around = _around(values, first, last)
    return None if around is None else float(values[around[1]] - values[around[0]])


def _rate(times: Floats, values: Floats | None, first: int, last: int) -> float | None:
    """Mean change a microsecond: for times in microseconds, how many did so at once.

    None where the samples are so far apart that they tell more of what was around.
    """
    around = None if values is None else _around(values, first, last)
    if values is None or around is None:
        return None
    begin, end = around
    if times[last] - times[first] < (times[end] - times[begin]) / 2:
        return None
    return float((values[end] - values[begin]) / (times[end] - times[begin]))
