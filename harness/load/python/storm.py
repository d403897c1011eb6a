"""The event loop that drives one slice: it issues, polls, hands on what is ready, and measures how late it is.

It polls while it issues: a generator that issues everything before it polls sees connections late and invents
one-second connects. And it measures its own lag behind readiness: what is handled now became ready after the previous
poll at the earliest, so the time since then bounds the lag from above.
"""

from __future__ import annotations

import select
from collections import Counter
from time import monotonic_ns
from typing import TYPE_CHECKING

from harness.events.rows import Rows
from harness.load.python.connections import Connections
from harness.load.python.fast_open import FastOpenConnections
from harness.load.python.pool import PooledConnections, PoolSchedule
from harness.load.python.retrying import RetryingConnections, RetryingSchedule
from harness.load.python.schedule import ISSUES_BETWEEN_POLLS, Schedule
from harness.plan.slices import Slice

if TYPE_CHECKING:  # h2 is imported where it is spoken
    from harness.load.python.http2 import Http2Connections

EVENTS_PER_POLL = 256
EXPIRE_EVERY_NS = 100_000_000
"""How long a busy loop may go without looking for requests whose time is over."""
LONGEST_WAIT_S = 0.05
"""How long the loop sleeps at most before it looks whether it was asked to stop."""


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


class Storm:
    """The loop and its state; made before the start, so that nothing is prepared while the storm runs."""

    def __init__(self, slice_: Slice, rows: Rows) -> None:
        self.slice = slice_
        self.header = rows.header
        self._planned, self._asked_to_stop = slice_.requests, rows.header["asked_to_stop"]
        self.schedule, self.connections = driver(slice_, rows)
        self.waited_ns = 0
        self._look_by_ns = 0
        """When deadlines are to be looked at again, whatever else there is to do."""
        self._lags_us: Counter[int] = Counter()

    def run(self, start_ns: int) -> None:
        self.schedule.start(start_ns)
        looked_ns = monotonic_ns()
        while not self._over():
            self._issue()
            events, polled_ns, slept = self._poll()
            self._hand_on(events)
            if events:
                # Having slept, the loop was not late for what woke it up, only in what it did after.
                self._lags_us[(monotonic_ns() - (polled_ns if slept else looked_ns)) // 1000] += len(events)
            if len(events) < EVENTS_PER_POLL:  # else something may have been ready that was not looked at
                looked_ns = polled_ns
                self._expire(polled_ns)
        self.connections.give_up()
        self._publish()

    def _over(self) -> bool:
        """Whether every request has ended, or somebody asked to stop."""
        return self.connections.finished + self.schedule.never_issued >= self._planned or self._asked_to_stop[0] != 0

    def _hand_on(self, events: list[tuple[int, int]]) -> None:
        """Whoever floods this loop must keep no other from its beginning or its end."""
        connections, clients = self.connections, self.connections.connector.open
        for file, mask in events:
            client = clients.get(file)
            if client is None:
                continue
            connections.advance(client, mask)
            if (now_ns := monotonic_ns()) > self._look_by_ns:
                self._expire(now_ns)
                if self._over():
                    return
                self._issue()

    def _expire(self, now_ns: int) -> None:
        """End what has had its time."""
        self._look_by_ns = now_ns + EXPIRE_EVERY_NS
        for client in self.schedule.overdue(now_ns):
            self.connections.expire(client)

    @property
    def late_us(self) -> dict[int, int]:
        """(lag in µs, rounded up to two digits: events handled with at most that lag), in order."""
        found: Counter[int] = Counter()
        for lag_us, events in sorted(self._lags_us.items()):
            found[_two_digits(lag_us)] += events
        return found

    def _issue(self) -> None:
        if self.schedule.admits:
            self.schedule.admit_due()
        ready, begin = self.schedule.ready, self.connections.begin
        for _ in range(min(ISSUES_BETWEEN_POLLS, len(ready))):
            begin(ready.popleft())
        self._publish()

    def _publish(self) -> None:
        """Once in a turn, and before a sleep: others follow the progress, and a stopped server waits for it."""
        header, connections = self.header, self.connections
        header["issued"][0] = connections.issued
        header["connections"][0] = connections.connector.made
        header["answered"][0] = connections.answered
        header["failed"][0] = connections.finished + self.schedule.never_issued - connections.answered

    def _poll(self) -> tuple[list[tuple[int, int]], int, bool]:
        """What is ready, when that was asked, and whether the loop slept before."""
        epoll = self.connections.connector.epoll
        events = epoll.poll(0, EVENTS_PER_POLL)
        now_ns = monotonic_ns()
        if events or self.schedule.ready:
            return events, now_ns, False
        until_ns = self.schedule.sleep_until_ns(now_ns)
        if until_ns <= now_ns:
            return events, now_ns, False
        # epoll's own timeout is whole milliseconds, which is too coarse to pace by; select's is not.
        select.select([epoll], [], [], min((until_ns - now_ns) / 1e9, LONGEST_WAIT_S))
        woken_ns = monotonic_ns()
        self.waited_ns += woken_ns - now_ns
        return epoll.poll(0, EVENTS_PER_POLL), woken_ns, True


def _two_digits(value: int) -> int:
    """Rounded up to two significant digits, which keeps the histogram small."""
    unit = 1
    while value >= 100 * unit:
        unit *= 10
    return -(-value // unit) * unit
