"""Did an agent stand still while it had something to do? Told by the rows, where nothing of it was due at a rate.

An agent dates what it does: an issue, a connection seen established, a byte read, an end. A stretch without any of
these is the server's or the network's as long as nothing had come for the agent. What had come, the kernel dates: a
SYN-ACK, the end of an answer; and in a burst every client that has not begun is ready from the start.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from harness.events.rowtimes import Bools, Connections, Floats

DONE = ("issued_us", "established_us", "first_byte_us", "closed_us")
"""Moments of a connection that its agent dates; and of each request on it."""
OF_REQUESTS = ("issued_us", "first_byte_us", "last_byte_us")
COME = (("synack_us", "established_us"), ("arrived_us", "closed_us"))
"""What the kernel dates, and the agent's own moment after it."""
FEWEST_SHARE, SHORTEST_SHARE = 0.01, 0.05
"""Of a run's connections, and of its time: if fewer waited for their agent, and it was over sooner, it is no matter."""


def longest_standstill_ms(connections: pa.Table, requests: pa.Table, *, burst: bool, longer_ms: float) -> float:
    """How long the worst agent stood still with something to do; 0 where none did for longer than ``longer_ms``.

    It counts where a hundredth of all connections waited so long for it, or where it took a twentieth of the storm.
    ``burst``: all clients begin at once.
    """
    rows = Connections(connections)
    agents, issued, closed = (rows[name] for name in ("agent", "issued_us", "closed_us"))
    if np.isnan(issued).all() or np.isnan(closed).all():
        return 0.0
    lasted_ms = float(np.nanmax(closed) - np.nanmin(issued)) / 1000
    longest = 0.0
    for agent in np.unique(agents[~np.isnan(agents)]):
        mine = agents == agent
        done = np.sort(np.concatenate([rows[name][mine] for name in DONE] + list(_of_requests(requests, rows, mine))))
        done = done[np.isfinite(done)]
        begins = np.flatnonzero(np.diff(done) > longer_ms * 1000)
        for begin, end in zip(done[begins], done[begins + 1], strict=True):
            waited = _waited_ms(rows, mine, begin, end, burst)
            many = np.count_nonzero(waited > longer_ms) >= FEWEST_SHARE * len(rows)
            if (most := float(waited.max())) > longer_ms and (many or most >= SHORTEST_SHARE * lasted_ms):
                longest = max(longest, most)
    return longest


def _waited_ms(rows: Connections, mine: Bools, begin: float, end: float, burst: bool) -> Floats:
    """Of each connection of an agent how long it waited for it in a stretch without anything done, in ms."""
    waited = np.zeros(int(mine.sum()))
    for came, seen in COME:
        moments = rows[came][mine]
        there = (moments > begin) & (moments < end) & (rows[seen][mine] >= end)
        waited = np.where(there, np.fmax(waited, end - moments), waited)
    if burst:
        first = (rows["attempt"][mine] <= 1) & (rows["issued_us"][mine] >= end)
        waited = np.where(first, end - begin, waited)
    return np.asarray(waited / 1000)


def _of_requests(requests: pa.Table, rows: Connections, mine: Bools) -> Iterator[Floats]:
    """The agent's moments of requests, where a connection carried several."""
    if len(requests) == len(rows):
        return
    carried = requests["connection"].to_numpy(zero_copy_only=False).astype(np.float64)
    of_agent = np.isin(carried, rows["connection"][mine])
    for name in OF_REQUESTS:
        yield requests[name].to_numpy(zero_copy_only=False).astype(np.float64)[of_agent]
