"""When the server accepted each connection: by its own stamp, or bounded from the samples.

The accept queue is first in, first out. Of the connections that entered it until a sample was taken, as many as the
sample counts are still in it, the last ones; all others have been accepted. This dates also the connections that were
never answered, which no stamp can.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.events.kernel import JIFFY_US
from harness.events.rowtimes import Bools, Floats
from harness.thought.phases import Life


class Accepts(NamedTuple):
    """Shape (connections,) each."""

    accepted_us: Floats
    """Infinite where it was not accepted while the client waited, NaN where that is not known."""
    stamped: Bools
    queued_when_last_seen: Bools
    """In the queue in the last sample before its end."""
    listened_afterwards: Bools
    """A sample after its end shows the listening socket still there."""


def accepts(life: Life, stamps_us: Floats, samples: pa.Table | None, listeners: int) -> Accepts:
    """Stamps where there are any, bounds where there are samples of the one queue that all went through."""
    stamped = ~np.isnan(stamps_us)
    times, depths = _depths(samples)
    if listeners != 1 or not len(times):
        known = np.where(np.isinf(life.entered), np.inf, np.nan)
        nothing_seen = np.zeros(len(stamped), np.bool_)
        return Accepts(np.where(stamped, stamps_us, known), stamped, nothing_seen, nothing_seen)
    bounded, queued = _bounded(life, times, depths)
    return Accepts(np.where(stamped, stamps_us, bounded), stamped, queued, life.stop <= times[-1])


def _bounded(life: Life, times: Floats, depths: Floats) -> tuple[Floats, Bools]:
    """The first sample that shows a connection gone from the queue; NaN where the clocks leave it open.

    And whether the last sample before its end shows it there.
    """
    entered = np.where(np.isnan(life.entered), np.inf, life.entered)
    earliest = np.where(life.by_jiffies, entered - JIFFY_US, life.issued)
    latest = np.where(life.by_jiffies, entered + JIFFY_US, entered)
    earliest = np.where(life.is_ghost, entered - 2 * JIFFY_US, earliest)
    latest = np.where(life.is_ghost, entered + 2 * JIFFY_US, latest)
    # One that was never heard may yet enter after its client has gone: its kernel goes on sending.
    earliest = np.where(np.isinf(entered), np.where(life.is_ghost, life.end, np.inf), earliest)

    # How many have left the queue only grows: a lower bound holds from then on, an upper bound until then.
    at_least = np.maximum.accumulate(_count(latest, times) - depths)
    at_most = np.minimum.accumulate((_count(earliest, times) - depths)[::-1])[::-1]
    typically = np.clip(np.maximum.accumulate(_count(entered, times) - depths), at_least, at_most)
    rank = _count(entered, entered)
    highest_rank = _count(earliest, latest)
    lowest_rank = np.searchsorted(np.sort(latest), earliest, side="left") + 1

    seen_gone = _at(times, np.searchsorted(typically, rank, side="left"))
    surely = _at(times, np.searchsorted(at_least, highest_rank, side="left"))
    surely = np.minimum(surely, _first_empty(times, depths, latest))  # an empty queue leaves no doubt about ranks
    after_end = np.searchsorted(times, life.stop, side="left")
    surely_not = np.append(at_most, np.inf)[after_end] < lowest_rank
    before_end = after_end - 1
    queued = (before_end >= 0) & (np.append(at_most, np.inf)[before_end] < lowest_rank)
    queued &= times[before_end] >= latest

    accepted = np.where(surely <= life.stop, np.minimum(seen_gone, surely), np.nan)
    # How it ended may prove an accept; else only the samples can.
    accepted = np.where(np.isnan(accepted) & life.surely_accepted, np.fmin(seen_gone, life.stop), accepted)
    accepted = np.where(surely_not & ~life.surely_accepted, np.inf, accepted)
    return np.where(np.isinf(entered), np.inf, accepted), queued


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


def _depths(samples: pa.Table | None) -> tuple[Floats, Floats]:
    """When the queue was looked at, and its depth."""
    if samples is None:
        return np.empty(0), np.empty(0)
    depth = samples["accept_queue"].to_numpy().astype(np.float64)
    there = ~np.isnan(depth)
    return samples["time_us"].to_numpy().astype(np.float64)[there], depth[there]
