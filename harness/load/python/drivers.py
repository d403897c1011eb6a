"""Who drives a slice: the schedule and the connections that its load takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.events.rows import Rows
from harness.load.python.connections import Connections
from harness.load.python.fast_open import FastOpenConnections
from harness.load.python.pool import PooledConnections, PoolSchedule
from harness.load.python.retrying import RetryingConnections, RetryingSchedule
from harness.load.python.schedule import Schedule
from harness.plan.slices import Slice

if TYPE_CHECKING:  # h2 is imported where it is spoken
    from harness.load.python.http2 import Http2Connections


def driver(slice_: Slice, rows: Rows) -> tuple[Schedule, Connections | Http2Connections]:
    """One connection for each client, or a pool; with retries or without; HTTP/1.1 or HTTP/2."""
    if slice_.http2:
        from harness.load.python.http2 import Http2Connections
        from harness.load.python.links import LinkSchedule

        links = LinkSchedule(slice_)
        return links, Http2Connections(slice_, rows, links)
    if slice_.pool is not None:
        pool = PoolSchedule(slice_)
        return pool, PooledConnections(slice_, rows, pool)
    if slice_.retries.attempts > 1:
        retrying = RetryingSchedule(slice_)
        return retrying, RetryingConnections(slice_, rows, retrying)
    schedule = Schedule(slice_)
    kind = FastOpenConnections if slice_.fast_open else Connections
    return schedule, kind(slice_, rows, schedule)
