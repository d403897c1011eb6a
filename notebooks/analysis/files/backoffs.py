"""When a server did not accept: was somebody waiting for it, and had it run out of files?

A silence is a stretch between two accepts. The connection that ends it, which of all in the accept queue had waited
longest, says whose silence it was: the server's as long as it lay in the queue, the clients' before. The period alone
does not tell a server out of files from SYNs sent again: both can be a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.thought.episodes import APART_US
from harness.thought.inference import RESAMPLES, SEED, Floats

SHORTEST_MS = 4.0
"""Stacks wait 5 ms and longer before they try again: net/http is the quickest."""
NEAR_US = 10_000
"""Files are sampled each 5 ms on small machines: what a wait began with lies within two samples of it."""
SHIFTS = 201


@dataclass(frozen=True)
class Bond:
    """What several storms of one kind say of a bond between their waits and what these are said to begin with."""

    share: float
    """Of each storm, what the bond has: mean."""
    by_chance: float
    """The same share when the storm is shifted, in the mean over all shifts."""
    p: float
    """One-sided: how often storms shifted at random come as near."""
    storms: int


def silences(lives: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Stretches between two accepts of one run, of :data:`SHORTEST_MS` and longer, in order of time.

    ``lives`` has a row for each connection with what was concluded of it, ``samples`` are the run's. Columns:
    ``begin_us``, ``end_us``, ``ms``; ``waited_ms``, how long of it a connection lay in the queue, and ``since_us``,
    from when on; ``sent_again``, whether that one had sent its SYN more than once; ``at_limit``, whether all files were
    open as its wait began, and ``overslept_ms``, how long of the wait at least one was free again, NaN where they were
    not all open; ``cpus``, how many the server used in the wait.
    """
    taken = lives.dropna(subset=["accepted_us", "queue_wait_us"]).sort_values("accepted_us", ignore_index=True)
    accepted = taken["accepted_us"].to_numpy(np.float64)
    begin, end = accepted[:-1], accepted[1:]
    since = np.maximum(begin, end - taken["queue_wait_us"].to_numpy(np.float64)[1:])
    found = pd.DataFrame(
        {
            "begin_us": begin,
            "end_us": end,
            "ms": (end - begin) / 1000,
            "since_us": since,
            "waited_ms": (end - since) / 1000,
            "sent_again": taken["syn_retransmits"].fillna(0).gt(0).to_numpy()[1:],
        }
    )
    found = found[found["ms"] >= SHORTEST_MS].reset_index(drop=True)
    since, end, full = found["since_us"].to_numpy(), found["end_us"].to_numpy(), full_at(lives, samples)
    limited = _near(full, since)
    overslept = np.where(limited, (end - _free_again(full, since, end)) / 1000, np.nan)
    return found.assign(at_limit=limited, overslept_ms=overslept, cpus=_cpus(samples, since, end))


def waits(found: pd.DataFrame) -> pd.DataFrame:
    """Of the silences, those in which a connection waited for the server as long as a stack's shortest backoff."""
    return found[found["waited_ms"] >= SHORTEST_MS]


def full_at(lives: pd.DataFrame, samples: pd.DataFrame) -> Floats:
    """Moments at which all files of the server were open, µs from the run's start, in order.

    From the samples; and between two of them from the rows: as many connections accepted and not yet answered as it
    had files left before the storm. A client sees an end a little after the server made it, so that this may last a
    little too long.
    """
    known = samples.dropna(subset=["server_files", "server_files_limit"])
    if known.empty:
        return np.empty(0)
    limit = float(known["server_files_limit"].max())
    sampled = known.loc[known["server_files"] >= limit, "time_us"].to_numpy(np.float64)
    taken = lives.dropna(subset=["accepted_us", "closed_us"])
    ends = np.fmin(taken["arrived_us"].to_numpy(np.float64), taken["closed_us"].to_numpy(np.float64))
    moments = np.concatenate([taken["accepted_us"].to_numpy(np.float64), ends])
    steps = np.repeat([1, -1], len(taken))
    order = np.lexsort((steps, moments))
    full = np.cumsum(steps[order]) >= limit - float(known["server_files"].iloc[0])
    return np.sort(np.concatenate([sampled, moments[order][full]]))


def out_of_files_share(found: pd.DataFrame, full: Floats, span_us: float = 0.0, shift_us: float = 0.0) -> float:
    """Of the time in which connections waited for a silent server, the share that began with all files open.

    ``found`` are the silences of a run, ``full`` its moments with all files open. ``shift_us`` moves the silences, all
    alike and around within ``span_us``, away from what was.
    """
    waited = waits(found)
    if waited.empty:
        return 0.0
    since = waited["since_us"].to_numpy(np.float64)
    if shift_us:
        first = float(since.min())
        since = first + (since - first + shift_us) % span_us
    return float(np.average(_near(full, since), weights=waited["waited_ms"]))


def measures(lives: pd.DataFrame, samples: pd.DataFrame) -> dict[str, float]:
    """What one run says of its silences; means and medians are NaN where there is nothing to take them of.

    Of waits that began with all files open: their number ``backoffs``, ``longest_ms``, ``waited_s`` and
    ``overslept_s`` in all, ``longest_rest_ms`` in which a file was free, ``cpus`` used meanwhile, and ``pause_ms``,
    the median of those through most of which a file was free: what the server rests for by itself. Of all silences:
    ``silent_s``, of it ``nobody_s`` in which no connection was there to be accepted, and ``sent_again``, the share of
    silent time that ended with a connection whose SYN had been sent again. ``out_of_files`` as
    :func:`out_of_files_share`.
    """
    found = silences(lives, samples)
    limited = waits(found)
    limited = limited[limited["at_limit"]]
    rested = limited.loc[limited["overslept_ms"] > limited["waited_ms"] / 2, "waited_ms"]
    weights = limited["waited_ms"].to_numpy(np.float64)
    known = limited["cpus"].notna().to_numpy()
    silent_ms = float(found["ms"].sum())
    return {
        "backoffs": float(len(limited)),
        "pause_ms": float(rested.median()),
        "longest_ms": float(limited["waited_ms"].max()),
        "waited_s": float(weights.sum()) / 1000,
        "longest_rest_ms": float(limited["overslept_ms"].max()),
        "overslept_s": float(limited["overslept_ms"].sum()) / 1000,
        "cpus": float(np.average(limited["cpus"][known], weights=weights[known])) if known.any() else np.nan,
        "silent_s": silent_ms / 1000,
        "nobody_s": (silent_ms - float(found["waited_ms"].sum())) / 1000,
        "sent_again": float(found.loc[found["sent_again"], "ms"].sum()) / silent_ms if silent_ms else np.nan,
        "out_of_files": out_of_files_share(found, full_at(lives, samples)),
    }


def find_backoffs(storms: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> Bond:
    """Test storms, each its lives and samples: do waits begin when files run out, more than chance would have it?

    Without a bond between the two, the waits of a storm would begin as often with all files open if all were moved by
    one and the same time, around within the storm. The storm is the unit: each is moved by a draw of its own.
    """
    measured, curves = [], []
    for lives, samples in storms:
        found, full = silences(lives, samples), full_at(lives, samples)
        span_us = float(lives["closed_us"].max() - lives["issued_us"].min())
        measured.append(out_of_files_share(found, full))
        shifts = np.linspace(0, span_us, SHIFTS, endpoint=False)
        curves.append([out_of_files_share(found, full, span_us, shift) for shift in shifts])
    return _against_shifts(measured, np.array(curves))


def _against_shifts(measured: Sequence[float], curves: Floats) -> Bond:
    """What was ``measured`` of each storm against the same storms shifted; ``curves`` has shape (storms, shifts)."""
    storms, shifts = curves.shape
    drawn = np.random.default_rng(SEED).integers(0, shifts, (RESAMPLES, storms))
    by_chance = curves[np.arange(storms), drawn].mean(axis=1)
    found = float(np.mean(measured))
    p = (1 + int((by_chance >= found - 1e-12).sum())) / (1 + RESAMPLES)
    return Bond(found, float(curves.mean()), p, storms)


def _near(moments: Floats, since: Floats) -> NDArray[np.bool_]:
    """Whether one of the ordered ``moments`` lies within :data:`NEAR_US` of each beginning."""
    before, after = (np.searchsorted(moments, since + side * NEAR_US) for side in (-1, 1))
    return np.asarray(after > before)


def _free_again(full: Floats, since: Floats, end: Floats) -> Floats:
    """When the stretch of full moments that a wait began in was over; its end, where it was not before.

    A server that accepts again may be at its limit again before it says so: only the first stretch counts.
    """
    if not len(full):
        return since
    last = np.append(full[:-1][np.diff(full) > APART_US], full[-1])  # of each stretch
    at = np.searchsorted(full, since - NEAR_US).clip(max=len(full) - 1)
    return np.asarray(np.clip(last[np.searchsorted(last, full[at])], since, end))


def _cpus(samples: pd.DataFrame, begin: Floats, end: Floats) -> Floats:
    """CPUs used between two moments, interpolated between samples; NaN where the server was not sampled."""
    known = samples.dropna(subset=["server_cpu_us"])
    if len(known) < 2:
        return np.full(len(begin), np.nan)
    times, used = known["time_us"].to_numpy(np.float64), known["server_cpu_us"].to_numpy(np.float64)
    return np.asarray((np.interp(end, times, used) - np.interp(begin, times, used)) / np.maximum(end - begin, 1))
