"""The event loop that drives one slice: it connects, sends, reads and gives up, and writes down what happened when.

It polls while it issues: a generator that issues everything before it polls sees connections late and invents
one-second connects. And it measures its own lag behind readiness: what is handled now became ready after the previous
poll at the earliest, so the time since then bounds the lag from above.
"""

from __future__ import annotations

import errno
import itertools
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from enum import Enum, auto

import httptools

from harness.load.http1 import Answer, request_bytes
from harness.load.rows import NOT_READ, Outcome, Rows
from harness.load.slices import Slice
from harness.load.tcp_info import ESTABLISHED, RESOLUTION_NS, TcpInfo, counted, tcp_info

ISSUES_BETWEEN_POLLS = 16
"""Connects in a row without a look at what became ready; at 20–60 µs each they add about 1 ms to the lag at most."""
EVENTS_PER_POLL = 256
RECEIVES_IN_A_ROW = 8
"""Then it is the others' turn: an answer without end must not hold up the rest."""
EXPIRE_EVERY_NS = 100_000_000
"""How long a busy loop may go without looking for requests whose time is over."""
RECEIVE_BYTES = 1 << 18
LONGEST_WAIT_S = 0.05
"""How long the loop sleeps at most before it looks whether it was asked to stop."""
RTO_MIN_NS = 190_000_000
"""TCP_RTO_MIN is 200 ms (include/net/tcp.h), less a generous jiffy: sooner than that nothing was sent again."""
_NEW_SOCKET = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR

_NOT_HTTP = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_TIMEOUTS = (Outcome.connect_timeout, Outcome.answer_timeout)

_OUTCOME_OF_ERRNO = {
    errno.ECONNREFUSED: Outcome.refused,
    errno.ECONNRESET: Outcome.reset,
    errno.EPIPE: Outcome.reset,
}


class State(Enum):
    """Where a client's connection is."""

    CLOSED = auto()
    CONNECTING = auto()
    WAITING = auto()
    """The request is sent, its answer not complete."""
    IDLE = auto()
    """Kept open between two requests."""


class Client:
    """One client and, while it has one, its connection."""

    __slots__ = ("answer", "attempts", "begun", "due_ns", "index", "received", "row", "socket", "state", "under_way")

    def __init__(self, index: int) -> None:
        self.index = index
        self.begun = 0
        self.under_way = False
        self.attempts = 0
        self.state = State.CLOSED
        self.row = -1
        self.received = 0
        self.socket: socket.SocketType
        self.answer: Answer | None = None
        self.due_ns: deque[int] | None = None
        """Open loop: slots that have come, of requests not begun."""


class Storm:
    """The loop and its state; edge-triggered, so that a connection is registered once."""

    def __init__(self, slice_: Slice, start_ns: int, rows: Rows) -> None:
        self.slice = slice_
        self.start_ns = start_ns
        self.header = rows.header
        self.rows = rows.connection
        self.requests = rows.request
        self.timeout_ns = int(slice_.timeout_s * 1e9)
        self.per_client = slice_.requests_per_client
        self.family = socket.AF_INET6 if ":" in slice_.target else socket.AF_INET
        self.target = (slice_.target, slice_.port)
        self.request = request_bytes(slice_.target, slice_.port, slice_.path, close=self.per_client == 1)
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))
        self.epoll = select.epoll()
        self.open: dict[int, Client] = {}
        # One timeout for all and reference times in order: the oldest deadline is always in front.
        self.deadlines: deque[tuple[int, Client, int]] = deque()
        self.ready: deque[Client] = deque()
        """Clients whose next request can be issued at once."""
        self.newcomers = map(Client, range(slice_.clients))
        """Clients that have not begun; a closed loop lets one in as another is done."""
        self.slots: Iterator[tuple[int, Client]] = iter(())
        self.next_slot: tuple[int, Client] | None = None
        self.connections_made = 0
        self.finished = 0
        self.answered = 0
        self.waited_ns = 0
        self.late_us: Counter[int] = Counter()

    # ---- the loop -------------------------------------------------------------------------------------------

    def run(self) -> None:
        if self.slice.rate is None:
            at_once = self.slice.clients if self.slice.concurrency is None else self.slice.concurrency
            self.ready.extend(itertools.islice(self.newcomers, at_once))
        else:
            self.slots = self._pace(list(self.newcomers), self.slice.rate)
            self.next_slot = next(self.slots, None)
        looked_ns = expired_ns = time.monotonic_ns()
        while self.finished < self.slice.requests:
            self._issue()
            events, polled_ns, slept = self._poll()
            for file, mask in events:
                client = self.open.get(file)
                if client is not None:
                    self._advance(client, mask)
            if events:
                # Having slept, the loop was not late for what woke it up, only in what it did after.
                lag_us = (time.monotonic_ns() - (polled_ns if slept else looked_ns)) // 1000
                self.late_us[_two_digits(lag_us)] += len(events)
            saw_all = len(events) < EVENTS_PER_POLL  # else something may have been ready that was not looked at
            if saw_all:
                looked_ns = polled_ns
            if saw_all or polled_ns - expired_ns > EXPIRE_EVERY_NS:
                self._expire(polled_ns)
                expired_ns = polled_ns
            self._publish()
            if self.header["asked_to_stop"][0]:
                self._give_up()
                break
        self._publish()

    def _pace(self, clients: list[Client], rate: float) -> Iterator[tuple[int, Client]]:
        """The slots of this agent in time order: (due time in ns, client)."""
        for sequence in range(self.per_client):
            for client in clients:
                slot = (
                    sequence * self.slice.planned_clients + self.slice.first_client + client.index * self.slice.stride
                )
                yield self.start_ns + int(slot / rate * 1e9), client

    def _issue(self) -> None:
        while self.next_slot is not None and self.next_slot[0] <= time.monotonic_ns():
            due_ns, client = self.next_slot
            client.due_ns = client.due_ns or deque()
            client.due_ns.append(due_ns)
            self.deadlines.append((due_ns + self.timeout_ns, client, client.begun + len(client.due_ns)))
            if not client.under_way and len(client.due_ns) == 1:
                self.ready.append(client)
            self.next_slot = next(self.slots, None)
            if len(self.ready) >= ISSUES_BETWEEN_POLLS:
                break
        for _ in range(min(ISSUES_BETWEEN_POLLS, len(self.ready))):
            self._begin(self.ready.popleft())

    def _poll(self) -> tuple[list[tuple[int, int]], int, bool]:
        """What is ready, when that was asked, and whether the loop slept before."""
        events = self.epoll.poll(0, EVENTS_PER_POLL)
        now_ns = time.monotonic_ns()
        if events or self.ready:
            return events, now_ns, False
        until_ns = self.deadlines[0][0] if self.deadlines else now_ns + self.timeout_ns
        if self.next_slot is not None:
            until_ns = min(until_ns, self.next_slot[0])
        if until_ns <= now_ns:
            return events, now_ns, False
        # epoll's own timeout is whole milliseconds, which is too coarse to pace by; select's is not.
        select.select([self.epoll], [], [], min((until_ns - now_ns) / 1e9, LONGEST_WAIT_S))
        woken_ns = time.monotonic_ns()
        self.waited_ns += woken_ns - now_ns
        return self.epoll.poll(0, EVENTS_PER_POLL), woken_ns, True

    def _publish(self) -> None:
        self.header["answered"][0] = self.answered
        self.header["failed"][0] = self.finished - self.answered

    # ---- a request begins -----------------------------------------------------------------------------------

    def _begin(self, client: Client) -> None:
        client.begun += 1
        client.under_way = True
        scheduled_ns = client.due_ns.popleft() if client.due_ns else 0
        if scheduled_ns and scheduled_ns + self.timeout_ns <= time.monotonic_ns():
            # Its deadline passed while the request before it held the client: it is issued, and ends, too late.
            self.deadlines.appendleft((scheduled_ns + self.timeout_ns, client, client.begun))
        if client.state is State.IDLE:
            now_ns = time.monotonic_ns()
            self._write_begin(client, scheduled_ns, now_ns)
            self._send(client)
        else:
            self._connect(client, scheduled_ns)

    def _write_begin(self, client: Client, scheduled_ns: int, issued_ns: int) -> None:
        """The request has left or is leaving the client."""
        self.header["issued"][0] += 1
        if self.slice.rate is None:
            self.deadlines.append((issued_ns + self.timeout_ns, client, client.begun))
        if self.per_client > 1:
            request = client.index * self.per_client + client.begun - 1
            self.requests["scheduled_ns"][request] = scheduled_ns
            self.requests["issued_ns"][request] = issued_ns
            self.requests["connection"][request] = client.row

    def _connect(self, client: Client, scheduled_ns: int) -> None:
        client.attempts += 1
        client.received = 0
        row = client.row = client.index if self.per_client == 1 else self.connections_made
        rows = self.rows
        rows["client"][row] = self.slice.first_client + client.index * self.slice.stride
        rows["attempt"][row] = client.attempts
        rows["scheduled_ns"][row] = scheduled_ns
        rows["syn_retransmits"][row] = rows["total_retransmits"][row] = rows["unacked"][row] = NOT_READ
        self.connections_made += 1
        self.header["connections"][0] = self.connections_made
        source = self.slice.source
        try:
            connection = client.socket = socket.SocketType(self.family, _NEW_SOCKET, 0)
            if source is not None:
                address, port = self.slice.pair(row)
                connection.bind((source.addresses[address], port))
                rows["address"][row], rows["local_port"][row] = address, port
        except OSError as error:
            self._end(client, Outcome.not_issued, time.monotonic_ns(), error.errno or 0)
            return
        issued_ns = time.monotonic_ns()
        code = connection.connect_ex(self.target)
        if code and code != errno.EINPROGRESS and code not in _OUTCOME_OF_ERRNO:
            connection.close()
            self._end(client, Outcome.not_issued, time.monotonic_ns(), code)
            return
        client.state = State.CONNECTING
        rows["issued_ns"][row] = issued_ns
        self._write_begin(client, scheduled_ns, issued_ns)
        if source is None:
            rows["local_port"][row] = connection.getsockname()[1]
        if code in _OUTCOME_OF_ERRNO:
            self._end(client, _OUTCOME_OF_ERRNO[code], time.monotonic_ns(), code)
            return
        # On loopback the handshake is mostly over when connect() returns, though it says EINPROGRESS.
        self._try_established(client)
        if client.state is not State.CLOSED:
            file = connection.fileno()
            self.open[file] = client
            self.epoll.register(file, _EDGES)

    # ---- it goes on -----------------------------------------------------------------------------------------

    def _advance(self, client: Client, mask: int) -> None:
        if client.state is State.CONNECTING:
            self._try_established(client)
        if mask & _READABLE and client.state in (State.WAITING, State.IDLE):
            self._receive(client)
        if mask & select.EPOLLRDHUP and client.state is State.IDLE:  # the server's last answer on this connection
            self._close(client, Outcome.answered, time.monotonic_ns(), 0)

    def _try_established(self, client: Client) -> None:
        """Send the request if the connection is there to take it; the kernel takes nothing before."""
        rows, row = self.rows, client.row
        late = time.monotonic_ns() - rows["issued_ns"][row] > RESOLUTION_NS
        # Asked before sending: the request's own acknowledgement may come at once.
        info = tcp_info(client.socket) if late else None
        try:
            client.socket.send(self.request)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(client, error)
            return
        now_ns = rows["established_ns"][row] = time.monotonic_ns()
        rows["syn_retransmits"][row] = 0
        if info is not None:
            rows["syn_retransmits"][row] = counted(info.retransmits)
            rows["synack_ns"][row] = now_ns - info.last_ack_ms_ago * 1_000_000
        client.state = State.WAITING

    def _send(self, client: Client) -> None:
        """Send another request over a kept connection."""
        client.state = State.WAITING
        try:
            client.socket.send(self.request)
        except OSError as error:
            self._fail(client, error)

    def _fail(self, client: Client, error: OSError) -> None:
        code = error.errno or 0
        self._end(client, _OUTCOME_OF_ERRNO.get(code, Outcome.other_error), time.monotonic_ns(), code)

    def _receive(self, client: Client) -> None:
        """Read until the answer is complete or nothing is left: with edges, what is left unread stays unread."""
        for _ in range(RECEIVES_IN_A_ROW):
            try:
                received = client.socket.recv_into(self.buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if client.state is State.IDLE:
                    self._close(client, Outcome.answered, time.monotonic_ns(), 0)
                else:
                    self._fail(client, error)
                return
            now_ns = time.monotonic_ns()
            if client.state is State.IDLE:  # the server ends it, or speaks unasked: of no use for another request
                self._close(client, Outcome.answered, now_ns, 0)
                return
            answer = client.answer
            if not received:
                if answer is not None and answer.ends_with_stream:
                    answer.keep_alive = False
                    self._end(client, self._judge(answer), now_ns)
                else:
                    self._end(client, Outcome.closed_early, now_ns)
                return
            if answer is None:
                answer = client.answer = Answer()
            self._write_first_byte(client, now_ns)
            client.received += received
            try:
                answer.feed(self.buffer[:received])
            except _NOT_HTTP:
                self._end(client, Outcome.bad_answer, now_ns)
                return
            if answer.complete:
                self._end(client, self._judge(answer), now_ns)
                return
        self.epoll.modify(client.socket.fileno(), _EDGES)  # what is left to read makes another edge

    def _write_first_byte(self, client: Client, now_ns: int) -> None:
        rows, row = self.rows, client.row
        if not rows["first_byte_ns"][row]:
            rows["first_byte_ns"][row] = now_ns
            if self.per_client > 1 and now_ns - rows["established_ns"][row] > RTO_MIN_NS:
                self._write_resent(row, tcp_info(client.socket))  # later it would be another request's
        if self.per_client > 1:
            first_byte_ns = self.requests["first_byte_ns"]
            request = client.index * self.per_client + client.begun - 1
            if not first_byte_ns[request]:
                first_byte_ns[request] = now_ns

    @staticmethod
    def _judge(answer: Answer) -> Outcome:
        return Outcome.answered if 200 <= answer.status < 300 else Outcome.bad_answer

    # ---- it ends --------------------------------------------------------------------------------------------

    def _end(self, client: Client, outcome: Outcome, now_ns: int, error: int = 0) -> None:
        """The request under way has ended, and its connection too unless it can carry another."""
        if outcome not in (Outcome.not_issued, Outcome.other_error) and now_ns > self._deadline_ns(client):
            outcome = self._timeout(client)
        client.under_way = False
        self.finished += 1
        self.answered += outcome is Outcome.answered
        status = client.answer.status if client.answer is not None else 0
        if self.per_client > 1:
            request = client.index * self.per_client + client.begun - 1
            self.requests["last_byte_ns"][request] = now_ns if outcome is Outcome.answered else 0
            self.requests["status"][request] = status
            self.requests["errno"][request] = error
            self.requests["accepted_ns"][request] = client.answer.accepted_ns if client.answer is not None else 0
            self.requests["outcome"][request] = outcome
        answer = client.answer
        kept = answer is not None and answer.complete and answer.keep_alive and outcome not in _TIMEOUTS
        if answer is not None and kept and client.begun < self.per_client:
            answer.next()
            client.state = State.IDLE
        else:
            self._close(client, outcome, now_ns, error)
        self._continue(client)

    def _timeout(self, client: Client) -> Outcome:
        """Which timeout it is: by what there was at the deadline, not when this loop came to see it."""
        established_ns = self.rows["established_ns"][client.row]
        in_time = 0 < established_ns <= self._deadline_ns(client)
        return Outcome.answer_timeout if in_time else Outcome.connect_timeout

    def _deadline_ns(self, client: Client) -> int:
        rows, index = self.rows, client.row
        if self.per_client > 1:
            rows, index = self.requests, client.index * self.per_client + client.begun - 1
        return (rows["scheduled_ns"][index] or rows["issued_ns"][index]) + self.timeout_ns

    def _continue(self, client: Client) -> None:
        """Who is next: this client's next request, or in a closed loop the next client."""
        if self.slice.rate is not None:
            if client.due_ns:
                self.ready.append(client)
        elif client.begun < self.per_client:
            self.ready.append(client)
        elif self.slice.concurrency is not None:
            self.ready.extend(itertools.islice(self.newcomers, 1))

    def _close(self, client: Client, outcome: Outcome, now_ns: int, error: int) -> None:
        rows, row = self.rows, client.row
        if client.state is not State.CLOSED:
            self._write_last_words(client, tcp_info(client.socket), now_ns, outcome)
            rows["closed_ns"][row] = now_ns
            self.open.pop(client.socket.fileno(), None)
            client.socket.close()
            client.state = State.CLOSED
        rows["bytes_received"][row] = client.received
        rows["errno"][row] = error
        rows["outcome"][row] = outcome
        if client.answer is not None:
            rows["status"][row] = client.answer.status
            rows["accepted_ns"][row] = client.answer.accepted_ns
            client.answer.forget_parser()
            client.answer = None

    def _write_last_words(self, client: Client, info: TcpInfo, now_ns: int, outcome: Outcome) -> None:
        """What the kernel knows of a connection that is about to end, and when what was not read in time had come."""
        rows, row = self.rows, client.row
        rows["unacked"][row], rows["total_retransmits"][row] = counted(info.unacked), counted(info.retransmits)
        if client.state is State.CONNECTING and info.state == ESTABLISHED:  # but this loop did not come to see it
            rows["synack_ns"][row] = time.monotonic_ns() - info.last_ack_ms_ago * 1_000_000
        if client.state is not State.WAITING:
            return
        if not (self.per_client > 1 and rows["first_byte_ns"][row]):
            self._write_resent(row, info)
        complete = client.answer is not None and client.answer.complete
        if complete or info.bytes_received > client.received + 1:  # the end of the stream counts as a byte
            came_ms_ago = info.last_received_ms_ago
        elif outcome in (Outcome.answered, Outcome.closed_early):  # ended by the end of the stream, which is no data
            came_ms_ago = info.last_ack_ms_ago
        else:
            return
        arrived_ns = time.monotonic_ns() - came_ms_ago * 1_000_000
        if now_ns - arrived_ns > RESOLUTION_NS:
            rows["arrived_ns"][row] = arrived_ns

    def _write_resent(self, row: int, info: TcpInfo) -> None:
        if info.retransmits > self.rows["syn_retransmits"][row]:
            self.rows["resent_ns"][row] = time.monotonic_ns() - info.last_sent_ms_ago * 1_000_000

    def _expire(self, now_ns: int) -> None:
        deadlines = self.deadlines
        while deadlines and deadlines[0][0] <= now_ns:
            _, client, sequence = deadlines.popleft()
            if client.begun == sequence and client.under_way:
                self._end(client, self._timeout(client), time.monotonic_ns())

    def _give_up(self) -> None:
        """Asked to stop: what is under way ends here, what was not issued stays ``not_issued``."""
        now_ns = time.monotonic_ns()
        for client in list(self.open.values()):
            if client.under_way:
                self._end(client, Outcome.other_error, now_ns, errno.ECANCELED)
            else:
                self._close(client, Outcome.answered, now_ns, 0)


def _two_digits(value: int) -> int:
    """Rounded up to two significant digits, which keeps the histogram small."""
    unit = 1
    while value >= 100 * unit:
        unit *= 10
    return -(-value // unit) * unit
