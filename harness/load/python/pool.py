"""A pool of keep-alive connections: requests wait in one queue, and a place that is free takes the next.

A place connects for the request it has taken, as pools do that open their connections on demand. Its connections have
its own number as their ``client``; the clients are those of the requests.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator
from time import monotonic_ns

from harness.events.rows import Rows
from harness.load.python.client import Client
from harness.load.python.retrying import RetryingConnections, RetryingSchedule
from harness.load.python.schedule import ISSUES_BETWEEN_POLLS
from harness.plan.slices import Slice


class PoolSchedule(RetryingSchedule):
    """First come, first served: in a burst all requests are wanted at the start, in an open loop at their slots."""

    place: type[Client] = Client

    def _prepare(self) -> None:
        slice_ = self.slice
        assert slice_.pool is not None
        self.paced = False  # the requests have slots, the places have none
        self._prepare_queues()
        self._start_ns = 0
        self._places = [self.place(index) for index in range(slice_.pool)]
        self.idle: deque[Client] = deque()
        self.waiting: deque[tuple[int, int]] = deque()
        """(when it is wanted, in ns from the start; request)"""
        if slice_.rate is None:
            for sequence in range(self.per_client):
                self.waiting.extend((0, index * self.per_client + sequence) for index in range(slice_.clients))

    def start(self, start_ns: int) -> None:
        super().start(start_ns)
        self._start_ns = start_ns
        if not self.slice.spread_ms:
            self.ready.extend(self._places)
            return
        for place in self._places:
            self.again(place, start_ns + int(random.random() * self.slice.spread_ms * 1e6))

    def admit_due(self) -> None:
        while self.next_slot is not None and self.next_slot[0] <= monotonic_ns():
            due_ns, request = self.next_slot
            self.waiting.append((due_ns - self._start_ns, request))
            if self.idle:  # the one that has been idle longest, so that all are used alike
                self.ready.append(self.idle.popleft())
            self.next_slot = next(self._slots, None)
            if len(self.ready) >= ISSUES_BETWEEN_POLLS:
                break
        self._admit_later()

    def waits(self) -> bool:
        """Whether any request does; those whose time is over are given up."""
        oldest_ns = monotonic_ns() - self._start_ns - self.timeout_ns
        while self.waiting and self.waiting[0][0] <= oldest_ns:
            self.waiting.popleft()
            self.never_issued += 1
        return bool(self.waiting)

    def offers(self, place: Client) -> bool:
        """Whether there is a request for a place, which else is idle."""
        if place.tries or self.waits():
            return True
        self.idle.append(place)
        return False

    def overdue(self, now_ns: int) -> Iterator[Client]:
        self.waits()  # also where no place ever comes to be free
        return super().overdue(now_ns)

    def request_of(self, client: Client) -> int:
        if client.tries > 1:
            return client.request
        wanted_ns, request = self.waiting.popleft()
        client.final_ns = self._start_ns + wanted_ns + self.timeout_ns
        return request

    def ended(self, client: Client) -> None:
        (self.ready if self.waiting else self.idle).append(client)


class PooledConnections(RetryingConnections):
    """The places and their connections; nothing but failure and the end of the storm closes one from this side."""

    schedule: PoolSchedule

    def __init__(self, slice_: Slice, rows: Rows, schedule: PoolSchedule) -> None:
        super().__init__(slice_, rows, schedule)
        self.per_client = sys.maxsize

    def begin(self, client: Client) -> None:
        if self.schedule.offers(client):
            super().begin(client)

    def _issued(self, client: Client, scheduled_ns: int, issued_ns: int) -> None:
        super()._issued(client, client.final_ns - self.timeout_ns, issued_ns)
