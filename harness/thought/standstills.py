"""Stretches in which nobody took from a queue that was not full: what is slow without a single drop.

A queue that only grows says it from where all that came in since is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from harness.events.rowtimes import Bools, Connections, Floats
from harness.thought.episodes import Episode, activity, of_files

SHORTEST_US = 300_000
"""Shorter than what a client waits before it sends anything again is nothing to tell of."""
STILL_THERE = 0.9
"""Of what came in meanwhile; a client may see late that its connection is established."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Nobody took from the queue: times in µs from the run's start, and what the server did meanwhile."""

    begin_us: int
    end_us: int
    waited: int
    """Connections in the queue when it ended."""
    driver: str
    because: str
    asleep: bool = False
    """As :attr:`Episode.asleep`."""

    @property
    def duration_ms(self) -> float:
        return (self.end_us - self.begin_us) / 1000

    def to_json(self) -> dict[str, Any]:
        """Return a standstill as ``explain`` tells it; whether the server slept is in its ``because``."""
        told = asdict(self) | {"duration_ms": self.duration_ms}
        del told["asleep"]
        return told


def standstills(
    connections: pa.Table, samples: pa.Table | None, episodes: Sequence[Episode], out_of_files_lines: int = 0
) -> list[Standstill]:
    """In order of time; none that an episode of a full queue tells of.

    ``out_of_files_lines`` is how often the server's log says that it ran out of files.
    """
    if samples is None or len(samples) == 0:
        return []
    times = samples["time_us"].to_numpy().astype(np.float64)
    name = "accept_queues" if "accept_queues" in samples.column_names else "accept_queue"
    depths = samples[name].to_numpy(zero_copy_only=False).astype(np.float64)
    rows = Connections(connections)
    entered = np.sort(np.fmin(rows["synack_us"], rows["established_us"]))
    stamps = np.sort(rows["accepted_us"])
    found = []
    for first, last in _never_falling(depths):
        came, accepted = (np.searchsorted(moments, times[first : last + 1]) for moments in (entered, stamps))
        still_there = depths[last] - depths[first : last + 1] >= STILL_THERE * (came[-1] - came)
        begin, end = times[first + int(np.argmax(still_there & (accepted == accepted[-1])))], times[last]
        told = any(one.begin_us < end and one.end_us > begin for one in episodes)
        if end - begin < SHORTEST_US or told:
            continue
        did = activity(samples, int(begin), int(end))
        driver, because = ("unknown", "the server was not sampled") if did is None else (did.driver, did.because)
        asleep = did is not None and did.asleep
        found.append(Standstill(int(begin), int(end), int(depths[last]), driver, because, asleep))
    asleep_before = sum(one.asleep for one in episodes)
    says = of_files(asleep_before + sum(one.asleep for one in found), out_of_files_lines)
    if says is None:
        return found
    return [replace(one, driver="out_of_files", because=says) if one.asleep else one for one in found]


def _never_falling(depths: Floats) -> list[tuple[int, int]]:
    """First and last sample of each stretch in which something waits and the depth does not fall."""
    going_on: Bools = (depths[:-1] > 0) & (depths[1:] >= depths[:-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], going_on, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
