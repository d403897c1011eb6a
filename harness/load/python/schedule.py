"""Which client's turn it is, and until when its request must have ended."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from time import monotonic_ns

from harness.load.python.client import Client
from harness.plan.slices import Slice

ISSUES_BETWEEN_POLLS = 16
"""Connects in a row without a look at what became ready; at 20–60 µs each they add about 1 ms to the lag at most."""


class Schedule:
    """The order of a slice's requests: all at once, one as another is done, or each at its slot."""

    def __init__(self, slice_: Slice) -> None:
        self.slice = slice_
        self.per_client = slice_.requests_per_client
        self.timeout_ns = int(slice_.timeout_s * 1e9)
        self.paced = slice_.rate is not None
        """Whether a request may have a moment at which it is wanted, before it is issued."""
        self.admits = self.paced
        """Whether :meth:`admit_due` is to be called in each turn of the loop."""
        self.never_issued = 0
        """Requests whose time was over before there was a connection for them."""
        self.ready: deque[Client] = deque()
        """Clients whose next request can be issued at once."""
        # One timeout for all and reference times in order: the oldest deadline is always in front.
        self.deadlines: deque[tuple[int, Client, int]] = deque()
        """(deadline, client, which of its requests), also of requests that have ended."""
        self.next_slot: tuple[int, int] | None = None
        """(due time in ns, request)"""
        self._slots: Iterator[tuple[int, int]] = iter(())
        self._newcomers: Iterator[Client] = iter(())
        """Clients that have not begun; a closed loop lets one in as another is done."""
        self._paced_clients: list[Client] = []
        self._prepare()

    def _prepare(self) -> None:
        """Here, not in :meth:`start`: thousands of clients are not made while a storm waits for them."""
        self._newcomers = map(Client, range(self.slice.clients))
        if self.paced:
            self._paced_clients = list(self._newcomers)
        else:
            at_once = self.slice.clients if self.slice.concurrency is None else self.slice.concurrency
            self.ready.extend(itertools.islice(self._newcomers, at_once))

    def start(self, start_ns: int) -> None:
        if self.slice.rate is not None:
            self._slots = self._pace(start_ns, self.slice.rate)
            self.next_slot = next(self._slots, None)

    def _pace(self, start_ns: int, rate: float) -> Iterator[tuple[int, int]]:
        """The slots of this agent in time order: (due time in ns, request)."""
        slice_ = self.slice
        for sequence in range(self.per_client):
            for index in range(slice_.clients):
                slot = sequence * slice_.planned_clients + slice_.first_client + index * slice_.stride
                yield start_ns + int(slot / rate * 1e9), index * self.per_client + sequence

    def admit_due(self) -> None:
        """Open loop: whose slot has come is ready, unless a request before it still holds the client."""
        while self.next_slot is not None and self.next_slot[0] <= monotonic_ns():
            due_ns, request = self.next_slot
            client = self._paced_clients[request // self.per_client]
            client.due_ns = client.due_ns or deque()
            client.due_ns.append(due_ns)
            self.deadlines.append((due_ns + self.timeout_ns, client, client.begun + len(client.due_ns)))
            if not client.under_way and len(client.due_ns) == 1:
                self.ready.append(client)
            self.next_slot = next(self._slots, None)
            if len(self.ready) >= ISSUES_BETWEEN_POLLS:
                break

    def request_of(self, client: Client) -> int:
        """The row of the request that its client has just begun."""
        return client.index * self.per_client + client.begun - 1

    def slot_of(self, client: Client) -> int:
        """The slot of the request that its client has just begun, in ns; 0 where there are none."""
        if not client.due_ns:
            return 0
        due_ns = client.due_ns.popleft()
        if due_ns + self.timeout_ns <= monotonic_ns():
            # Its deadline passed while the request before it held the client: it is issued, and ends, too late.
            self.deadlines.appendleft((due_ns + self.timeout_ns, client, client.begun))
        return due_ns

    def ended(self, client: Client) -> None:
        """Who is next: this client's next request, or in a closed loop the next client."""
        if self.paced:
            if client.due_ns:
                self.ready.append(client)
        elif client.begun < self.per_client:
            self.ready.append(client)
        else:  # in a burst nobody is left
            newcomer = next(self._newcomers, None)
            if newcomer is not None:
                self.ready.append(newcomer)

    def sleep_until_ns(self, now_ns: int) -> int:
        """When there is something to do next, if nothing becomes ready before."""
        until_ns = self.deadlines[0][0] if self.deadlines else now_ns + self.timeout_ns
        return until_ns if self.next_slot is None else min(until_ns, self.next_slot[0])

    def overdue(self, now_ns: int) -> Iterator[Client]:
        """Whose request under way has had its time; each is to be ended before the next is asked for."""
        deadlines = self.deadlines
        while deadlines and deadlines[0][0] <= now_ns:
            _, client, sequence = deadlines.popleft()
            if client.begun == sequence and client.under_way:
                yield client
