"""The clients' connections, from connect() to close(): what is done with them, and which outcome that has.

What happens for each connection or request here is counted in tenths of microseconds: see ``benchmarks/generator.py``.
"""

from __future__ import annotations

import errno
import select
import socket
from collections import Counter
from time import monotonic_ns

import httptools

from harness.events.rows import Outcome, Rows
from harness.load.python.client import Client, State
from harness.load.python.http1 import LIBRARY, Answer, protocol_of, request_bytes
from harness.load.python.record import ANSWERED, CONNECTING, WAITING, ConnectionRecord, RequestRecord
from harness.load.python.schedule import Schedule
from harness.load.python.tcp_info import RESOLUTION_NS, tcp_info
from harness.plan.slices import Slice

RECEIVES_IN_A_ROW = 8
"""Then it is the others' turn: an answer without end must not hold up the rest."""
RECEIVE_BYTES = 1 << 18
_NEW_SOCKET = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_ANSWER = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
UNTIL_CONNECTED = _ANSWER | select.EPOLLOUT
READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
HUNG_UP = select.EPOLLRDHUP

CLOSED, IDLE = State.CLOSED, State.IDLE
BAD_ANSWER, CLOSED_EARLY = Outcome.bad_answer, Outcome.closed_early
NOT_ISSUED, OTHER_ERROR = Outcome.not_issued, Outcome.other_error
CONNECT_TIMEOUT, ANSWER_TIMEOUT = Outcome.connect_timeout, Outcome.answer_timeout
OUTCOME_OF_ERRNO = {
    errno.ECONNREFUSED: Outcome.refused,
    errno.ECONNRESET: Outcome.reset,
    errno.EPIPE: Outcome.reset,
}
_NOT_HTTP = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class Connections:
    """Edge-triggered, so that a connection is registered once."""

    def __init__(self, slice_: Slice, rows: Rows, schedule: Schedule) -> None:
        self.slice = slice_
        self.schedule = schedule
        self.record = ConnectionRecord(slice_, rows)
        self.requests = None if slice_.one_each else RequestRecord(rows)
        """None: each connection carries one request, and its row is the request's."""
        self.per_client = slice_.requests_per_client
        self.timeout_ns = schedule.timeout_ns
        self.family = socket.AF_INET6 if ":" in slice_.target else socket.AF_INET
        self.target = (slice_.target, slice_.port)
        self.addresses: tuple[str, ...] = ()
        """None: the kernel chooses."""
        if slice_.source is not None:
            self.addresses = slice_.source.addresses
            slice_.pair(0)  # what it lays out for the first connection is laid out now
        self.request = request_bytes(slice_.target, slice_.port, slice_.path, close=slice_.carries_one)
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))
        self.epoll = select.epoll()
        self.open: dict[int, Client] = {}
        self.protocol = ""
        """How the first answer began."""
        self.frames: Counter[str] = Counter()
        self.library = LIBRARY
        self.made_so_far = rows.header["connections"]
        self.made = 0
        self.issued = 0
        self.finished = 0
        self.answered = 0

    # ---- a request begins -----------------------------------------------------------------------------------

    def begin(self, client: Client) -> None:
        """Issue a client's next request, over the connection it has or a new one."""
        client.begun += 1
        client.under_way = client.unheard = True
        if self.requests is not None:
            client.request = self.schedule.request_of(client)
        scheduled_ns = self.schedule.slot_of(client) if self.schedule.paced else 0
        if client.state is IDLE:
            self._issued(client, scheduled_ns, monotonic_ns())
            client.state = WAITING
            try:
                client.socket.send(self.request)
            except OSError as error:
                self._fail(client, error)
        else:
            self._connect(client, scheduled_ns)

    def _issued(self, client: Client, scheduled_ns: int, issued_ns: int) -> None:
        """The request has left or is leaving the client."""
        self.issued += 1
        client.deadline_ns = deadline_ns = (scheduled_ns or issued_ns) + self.timeout_ns
        if not scheduled_ns:
            self.schedule.deadlines.append((deadline_ns, client, client.begun))
        if self.requests is not None:
            self.requests.begun(client, scheduled_ns, issued_ns)

    def _connect(self, client: Client, scheduled_ns: int) -> None:
        record = self.record
        row = client.row = self._new_row(client)
        client.received = 0
        client.attempts += 1
        record.attempt[row] = client.attempts
        if scheduled_ns:
            record.scheduled_ns[row] = scheduled_ns
        try:
            connection = client.socket = self._new_socket()
            begun_ns = monotonic_ns()
            if self.addresses:
                address, port = self.slice.pair(row)
                connection.bind((self.addresses[address], port))
                record.address[row] = address
                record.local_port[row] = port
        except OSError as error:
            self._end(client, NOT_ISSUED, monotonic_ns(), error.errno or 0)
            return
        issued_ns = monotonic_ns()
        code = connection.connect_ex(self.target)
        record.connect_us[row] = (monotonic_ns() - begun_ns) // 1000
        if code and code != errno.EINPROGRESS and code not in OUTCOME_OF_ERRNO:
            connection.close()
            self._end(client, NOT_ISSUED, monotonic_ns(), code)
            return
        client.state = CONNECTING
        record.issued_ns[row] = issued_ns
        self._issued(client, scheduled_ns, issued_ns)
        if not self.addresses:
            record.local_port[row] = connection.getsockname()[1]
        if code in OUTCOME_OF_ERRNO:
            self._end(client, OUTCOME_OF_ERRNO[code], monotonic_ns(), code)
            return
        # On loopback the handshake is mostly over when connect() returns, though it says EINPROGRESS.
        self._try_established(client)
        if client.state is not CLOSED:
            file = connection.fileno()
            self.open[file] = client
            # A socket that can be written to is an event at once, of no use to who has sent all there is to send.
            self.epoll.register(file, UNTIL_CONNECTED if client.state is CONNECTING else _ANSWER)

    def _new_socket(self) -> socket.SocketType:
        return socket.SocketType(self.family, _NEW_SOCKET, 0)

    def _new_row(self, client: Client) -> int:
        if self.requests is None:
            self.made += 1
            return client.index
        row = self.made
        self.record.client[row] = self.slice.first_client + client.index * self.slice.stride
        self.made += 1
        # At once: rows beyond this number are none, and those of an agent that is killed now must not be lost.
        self.made_so_far[0] = self.made
        return row

    # ---- it goes on -----------------------------------------------------------------------------------------

    def advance(self, client: Client, mask: int) -> None:
        """Do what an event on a connection allows."""
        if client.state is CONNECTING:
            self._try_established(client)
        if mask & READABLE and (client.state is WAITING or client.state is IDLE):
            self._receive(client)
        if mask & HUNG_UP and client.state is IDLE:  # the server's last answer on this connection
            self._close(client, ANSWERED, monotonic_ns(), 0)

    def _try_established(self, client: Client) -> None:
        """Send the request if the connection is there to take it; the kernel takes nothing before."""
        late = monotonic_ns() - self.record.issued_ns[client.row] > RESOLUTION_NS
        # Asked before sending: the request's own acknowledgement may come at once.
        info = tcp_info(client.socket) if late else None
        try:
            client.socket.send(self.request)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(client, error)
            return
        self.record.established(client.row, info)
        client.state = WAITING

    def _fail(self, client: Client, error: OSError) -> None:
        code = error.errno or 0
        self._end(client, OUTCOME_OF_ERRNO.get(code, OTHER_ERROR), monotonic_ns(), code)

    def _receive(self, client: Client) -> None:
        """Read until the answer is complete or nothing is left: with edges, what is left unread stays unread."""
        for _ in range(RECEIVES_IN_A_ROW):
            try:
                received = client.socket.recv_into(self.buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if client.state is IDLE:
                    self._close(client, ANSWERED, monotonic_ns(), 0)
                else:
                    self._fail(client, error)
                return
            now_ns = monotonic_ns()
            if client.state is IDLE:  # the server ends it, or speaks unasked: of no use for another request
                self._close(client, ANSWERED, now_ns, 0)
                return
            answer = client.answer
            if not received:
                if answer is not None and answer.ends_with_stream:
                    answer.keep_alive = False
                    self._end(client, _judge(answer), now_ns)
                else:
                    self._end(client, CLOSED_EARLY, now_ns)
                return
            if answer is None:
                answer = client.answer = Answer()
            if client.unheard:
                self._hear(client, now_ns)
            client.received += received
            try:
                answer.feed(self.buffer[:received])
            except _NOT_HTTP:
                self._end(client, BAD_ANSWER, now_ns)
                return
            if answer.complete:
                self._end(client, _judge(answer), now_ns)
                return
        self.epoll.modify(client.socket.fileno(), _ANSWER)  # what is left to read makes another edge

    def _hear(self, client: Client, now_ns: int) -> None:
        """The first bytes of an answer are there."""
        client.unheard = False
        if not client.received:
            self.record.first_byte(client, now_ns)
            if not self.protocol:
                self.protocol = protocol_of(self.buffer)
        if self.requests is not None:
            self.requests.first_byte(client, now_ns)

    # ---- it ends --------------------------------------------------------------------------------------------

    def expire(self, client: Client) -> None:
        """The request under way has had its time."""
        self._end(client, self._timeout(client), monotonic_ns())

    def give_up(self) -> None:
        """Asked to stop: what is under way ends here, what was not issued stays ``not_issued``."""
        now_ns = monotonic_ns()
        for client in list(self.open.values()):
            if client.under_way:
                self._end(client, OTHER_ERROR, now_ns, errno.ECANCELED)
            else:
                self._close(client, ANSWERED, now_ns, 0)

    def _end(self, client: Client, outcome: Outcome, now_ns: int, error: int = 0) -> None:
        """The request under way has ended, and its connection too unless it can carry another."""
        if now_ns > client.deadline_ns and outcome is not NOT_ISSUED and outcome is not OTHER_ERROR:
            outcome = self._timeout(client)
        client.under_way = False
        self.finished += 1
        if outcome is ANSWERED:
            self.answered += 1
        answer = client.answer
        if self.requests is not None:
            self.requests.ended(client, outcome, now_ns, error)
        if (
            client.begun < self.per_client
            and answer is not None
            and answer.complete
            and answer.keep_alive
            and outcome is not CONNECT_TIMEOUT
            and outcome is not ANSWER_TIMEOUT
        ):
            answer.next()
            client.state = IDLE
        else:
            self._close(client, outcome, now_ns, error)
        self.schedule.ended(client)

    def _timeout(self, client: Client) -> Outcome:
        """Which timeout it is: by what there was at the deadline, not when this loop came to see it."""
        in_time = 0 < self.record.established_ns[client.row] <= client.deadline_ns
        return ANSWER_TIMEOUT if in_time else CONNECT_TIMEOUT

    def _close(self, client: Client, outcome: Outcome, now_ns: int, error: int) -> None:
        if client.state is not CLOSED:
            self.record.last_words(client, now_ns, outcome)
            self.open.pop(client.socket.fileno(), None)
            client.socket.close()
            client.state = CLOSED
        self.record.ended(client, outcome, error)
        if client.answer is not None:
            client.answer.forget_parser()
            client.answer = None


def _judge(answer: Answer) -> Outcome:
    return ANSWERED if 200 <= answer.status < 300 else BAD_ANSWER
