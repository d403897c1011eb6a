"""Clients that try again: each failed attempt is a row of its own, and its request goes on with the next."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from time import monotonic_ns

from harness.events.rows import Outcome, Rows
from harness.load.python.client import Client
from harness.load.python.connecting import NOT_ISSUED, OTHER_ERROR
from harness.load.python.connections import Connections
from harness.load.python.record import RequestRecord
from harness.load.python.schedule import Schedule
from harness.plan import Retries
from harness.plan.slices import Slice

RETRIED = frozenset(
    (Outcome.connect_timeout, Outcome.answer_timeout, Outcome.refused, Outcome.reset, Outcome.closed_early)
)
"""A wrong answer is an answer, and what could not be issued or was interrupted is the client's own affair."""
MOST_TOKENS = 100.0
"""A budget saves up no more than this in quiet times; gRPC's retry throttling (its proposal A6) is bounded alike."""
NEVER_NS = 1 << 62


class Backoff:
    """What one agent's clients wait between attempts, and how many retries their requests have earned."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._earns = retries.retry_budget
        self._tokens = 0.0

    def earn(self) -> None:
        """A request is begun."""
        if self._earns is not None:
            self._tokens = min(MOST_TOKENS, self._tokens + self._earns)

    def allows(self, tries: int) -> bool:
        """Whether there may be another attempt after so many; if so it is spent."""
        if tries >= self._retries.attempts:
            return False
        if self._earns is None:
            return True
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait_ns(self, tries: int) -> int:
        """What is waited after so many attempts."""
        longest_ns = self._retries.wait_ms(tries) * 1e6
        return int(longest_ns * random.random() if self._retries.jitter == "full" else longest_ns)


class RetryingSchedule(Schedule):
    """Deadlines and waits in order of time, whatever the order in which they were made."""

    def _prepare(self) -> None:
        super()._prepare()
        self._prepare_queues()

    def _prepare_queues(self) -> None:
        self.admits = True
        self.deadlines = deque(maxlen=0)  # attempts do not end in the order in which they begin
        self._due: list[tuple[int, int, Client]] = []
        self._later: list[tuple[int, int, Client]] = []
        self._pushed = 0

    def expect(self, client: Client) -> None:
        """An attempt has begun, and is over at its client's deadline."""
        self._pushed += 1
        heappush(self._due, (client.deadline_ns, self._pushed, client))

    def again(self, client: Client, when_ns: int) -> None:
        """Its turn comes (again) at this time."""
        self._pushed += 1
        heappush(self._later, (when_ns, self._pushed, client))

    def admit_due(self) -> None:
        super().admit_due()
        self._admit_later()

    def _admit_later(self) -> None:
        now_ns = monotonic_ns()
        while self._later and self._later[0][0] <= now_ns:
            self.ready.append(heappop(self._later)[2])

    def slot_of(self, client: Client) -> int:
        return 0 if client.tries > 1 else super().slot_of(client)

    def sleep_until_ns(self, now_ns: int) -> int:
        moments = [queue[0][0] for queue in (self._due, self._later) if queue]
        if self.next_slot is not None:
            moments.append(self.next_slot[0])
        return min(moments, default=now_ns + self.timeout_ns)

    def overdue(self, now_ns: int) -> Iterator[Client]:
        due = self._due
        while due and due[0][0] <= now_ns:
            client = heappop(due)[2]
            if client.under_way and client.deadline_ns <= now_ns:
                yield client


class RetryingConnections(Connections):
    """A request ends with its last attempt; a client between two attempts is under way and has no connection."""

    schedule: RetryingSchedule

    def __init__(self, slice_: Slice, rows: Rows, schedule: RetryingSchedule) -> None:
        super().__init__(slice_, rows, schedule)
        self.tried = self.requests = RequestRecord(rows)
        self.backoff = Backoff(slice_.retries)
        seconds = slice_.retries.attempt_timeout_s
        self.attempt_ns = self.timeout_ns if seconds is None else int(seconds * 1e9)

    def begin(self, client: Client) -> None:
        client.tries += 1
        super().begin(client)

    def _issued(self, client: Client, scheduled_ns: int, issued_ns: int) -> None:
        if client.tries == 1:
            self.issued += 1
            self.backoff.earn()
            client.final_ns = (scheduled_ns or issued_ns) + self.timeout_ns
            self.tried.begun(client, scheduled_ns, issued_ns)
        else:
            self.tried.tried_again(client)
        client.deadline_ns = min(client.final_ns, issued_ns + self.attempt_ns)
        self.schedule.expect(client)

    def _end(self, client: Client, outcome: Outcome, now_ns: int, error: int = 0) -> None:
        if now_ns > client.deadline_ns and outcome is not NOT_ISSUED and outcome is not OTHER_ERROR:
            outcome = self.connector.timeout(client)
        if outcome is NOT_ISSUED and client.tries > 1:  # this attempt ended before it was written down as begun
            self.tried.tried_again(client)
        next_ns = now_ns + self.backoff.wait_ns(client.tries)
        if outcome not in RETRIED or next_ns >= client.final_ns or not self.backoff.allows(client.tries):
            client.tries = 0
            super()._end(client, outcome, now_ns, error)
            return
        self.tried.failed(client, outcome, error)
        self.connector.close(client, outcome, now_ns, error)
        client.begun -= 1
        client.deadline_ns = NEVER_NS
        self.schedule.again(client, next_ns)
