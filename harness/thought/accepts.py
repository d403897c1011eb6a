"""When the server accepted each connection: by its own stamp, or between two moments that the samples leave.

An accept queue is first in, first out. Of the connections that entered it until a sample was taken, as many as the
sample counts are still in it, the last ones; all others have been accepted. This dates also the connections that were
never answered, which no stamp can. With several queues nobody knows which of them a connection is in; but where they
hold together as many as can still be waiting, all of those are in them.

The order is known as long as the socket is the same: with the first that comes, goes or is replaced that ends. How many
wait in all of them together goes on to be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.events.rowtimes import Bools, Floats
from harness.thought.phases import Life

READ_WITHIN_US = 1_000
"""A queue is read a little after its sample's time."""


class Accepts(NamedTuple):
    """Shape (connections,) each; infinite where it was not accepted while the client waited, NaN where not known."""

    accepted_us: Floats
    """The stamp, or the most likely moment between the two that follow."""
    not_before_us: Floats
    not_after_us: Floats
    stamped: Bools
    queued_when_last_seen: Bools
    """In the queue in the last sample before its end."""
    listened_afterwards: Bools
    """A sample after its end shows the listening socket still there."""


@dataclass(frozen=True, slots=True)
class _Queue:
    """Samples of what waits; shape (samples,) each."""

    times: Floats
    depths: Floats


_UNSEEN = _Queue(np.empty(0), np.empty(0))


def accepts(life: Life, stamps_us: Floats, samples: pa.Table | None, listeners: int) -> Accepts:
    """Stamps where there are any, bounds where there are samples of the one queue that all went through.

    ``listeners`` is how many sockets there were before the storm; samples that say so themselves know better.
    """
    stamped = ~np.isnan(stamps_us)
    first, together = _seen(samples, listeners)
    if len(first.times):
        typically, not_before, not_after, queued = _bounded(life, first)
    else:
        typically = not_before = not_after = np.where(np.isinf(life.entered), np.inf, np.nan)
        queued = np.zeros(len(stamped), np.bool_)
    in_vain = np.isnan(typically) & _never(life, stamps_us, together)
    last_seen = first.times[-1] if len(first.times) else -np.inf
    known, early, late = (
        np.where(stamped, stamps_us, np.where(in_vain, np.inf, us)) for us in (typically, not_before, not_after)
    )
    return Accepts(known, early, late, stamped, queued, life.stop <= last_seen)


def _seen(samples: pa.Table | None, listeners: int) -> tuple[_Queue, _Queue]:
    """The one queue while its socket was the same, and all queues together."""
    if samples is None:
        return _UNSEEN, _UNSEEN
    times, depths = (samples[name].to_numpy().astype(np.float64) for name in ("time_us", "accept_queue"))
    if "listeners" not in samples.column_names:  # recorded before sockets were told apart
        there = ~np.isnan(depths)
        return (_Queue(times[there], depths[there]) if listeners == 1 else _UNSEEN), _UNSEEN
    sockets, inodes, together = (
        samples[name].to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("listeners", "listener_inodes", "accept_queues")
    )
    there = sockets > 0
    if not np.any(there):
        return _UNSEEN, _UNSEEN
    first = int(np.argmax(there))
    changed = np.flatnonzero((sockets != sockets[first]) | (inodes != inodes[first]))
    end = int(np.append(changed[changed > first], len(times))[0])
    one = _Queue(times[first:end], depths[first:end]) if sockets[first] == 1 else _UNSEEN
    return one, _Queue(times[there], together[there])


@dataclass(frozen=True, slots=True)
class _Entries:
    """When each connection entered a queue: at the earliest, most likely, and at the latest; shape (connections,)."""

    earliest: Floats
    likely: Floats
    latest: Floats

    @classmethod
    def of(cls, life: Life) -> _Entries:
        likely = np.where(np.isnan(life.entered), np.inf, life.entered)
        tick_us = life.tick_us
        earliest = np.where(life.by_jiffies, likely - tick_us, life.issued)
        latest = np.where(life.by_jiffies, likely + tick_us, likely)
        # A ghost's request is heard at the latest when it is sent again, but a SYN-ACK sent again may let it in before.
        earliest = np.where(life.is_ghost, life.established - tick_us, earliest)
        latest = np.where(life.is_ghost, likely + 2 * tick_us, latest)
        # Where its last ACK was ignored, the request took the ACK's place, and nothing was sent again.
        latest = np.fmax(latest, np.where(np.isinf(likely), likely, life.seen))
        # One that was never heard may yet enter after its client has gone: its kernel goes on sending.
        earliest = np.where(np.isinf(likely) & ~life.is_ghost, np.inf, earliest)
        return cls(earliest, likely, latest)


def _bounded(life: Life, seen: _Queue) -> tuple[Floats, Floats, Floats, Bools]:
    """When a connection left the one queue: most likely, not before, not after; NaN where the clocks leave it open.

    And whether the last sample before its end shows it there.
    """
    times, depths, entries = seen.times, seen.depths, _Entries.of(life)
    entered = entries.likely
    # How many have left the queue only grows: a lower bound holds from then on, an upper bound until then.
    at_least = np.maximum.accumulate(_count(entries.latest, times) - depths)
    at_most = np.minimum.accumulate((_count(entries.earliest, times) - depths)[::-1])[::-1]
    typically = np.clip(np.maximum.accumulate(_count(entered, times) - depths), at_least, at_most)
    rank = _count(entered, entered)
    highest_rank = _count(entries.earliest, entries.latest)
    lowest_rank = np.searchsorted(np.sort(entries.latest), entries.earliest, side="left") + 1

    seen_gone = _at(times, np.searchsorted(typically, rank, side="left"))
    surely = _at(times, np.searchsorted(at_least, highest_rank, side="left"))
    surely = np.minimum(surely, _first_empty(times, depths, entries.latest))  # then there is no doubt about ranks
    still_there = np.searchsorted(at_most, lowest_rank, side="left")  # so many samples at the beginning show it there
    not_before = np.fmax(np.append(-np.inf, times)[still_there], entries.earliest)
    after_end = np.searchsorted(times, life.stop, side="left")
    surely_not = np.append(at_most, np.inf)[after_end] < lowest_rank
    before_end = after_end - 1
    queued = (before_end >= 0) & (np.append(at_most, np.inf)[before_end] < lowest_rank)
    queued &= times[before_end] >= entries.latest

    accepted = np.where(surely <= life.stop, np.minimum(seen_gone, surely), np.nan)
    # How it ended may prove an accept; else only the samples can.
    accepted = np.where(np.isnan(accepted) & life.surely_accepted, np.fmin(seen_gone, life.stop), accepted)
    never = np.isinf(entered) | (surely_not & ~life.surely_accepted)
    accepted = np.where(never, np.inf, accepted)
    not_after = np.where(np.isfinite(accepted), np.fmin(surely, life.stop), accepted)
    not_before = np.where(np.isfinite(accepted), np.fmin(not_before, not_after), accepted)
    return accepted, not_before, not_after, queued


def _never(life: Life, stamps_us: Floats, together: _Queue) -> Bools:
    """Whether it was in some queue at its end or later: all that could be waiting then were."""
    gone = np.where(np.isnan(stamps_us), np.where(life.surely_accepted, life.stop, np.inf), stamps_us)
    earliest = _Entries.of(life).earliest
    waiting = _count(earliest, together.times + READ_WITHIN_US) - _count(gone, together.times)
    all_there = together.times[together.depths >= waiting]
    last = all_there[-1] if len(all_there) else -np.inf
    return np.isinf(gone) & (life.stop <= last) & ~np.isnan(life.entered)


def _count(events: Floats, until: Floats) -> NDArray[np.intp]:
    """How many of the events had happened by each moment."""
    return np.searchsorted(np.sort(events), until, side="right")


def _first_empty(times: Floats, depths: Floats, since: Floats) -> Floats:
    """The first sample at or after ``since`` that saw the queue empty; infinite if there is none."""
    empty = times[depths == 0]
    return _at(empty, np.searchsorted(empty, since, side="left"))


def _at(times: Floats, index: NDArray[np.intp]) -> Floats:
    """``times[index]``, infinite beyond the last."""
    return np.append(times, np.inf)[index]
