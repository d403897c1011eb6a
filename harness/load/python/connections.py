"""HTTP/1.1 over the clients' connections: what is asked and answered, and which outcome that has.

What happens for each connection or request here is counted in tenths of microseconds: see ``benchmarks/generator.py``.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from time import monotonic_ns

from harness.events.rows import Outcome, Rows
from harness.load.python.client import Client, State
from harness.load.python.connecting import (
    ANSWER_TIMEOUT,
    BAD_ANSWER,
    CLOSED_EARLY,
    CONNECT_TIMEOUT,
    HUNG_UP,
    NOT_ISSUED,
    OTHER_ERROR,
    OUTCOME_OF_ERRNO,
    READABLE,
    RECEIVES_IN_A_ROW,
    UNTIL_ANSWERED,
    Connector,
)
from harness.load.python.http1 import LIBRARY, Answer, protocol_of, request_bytes
from harness.load.python.record import ANSWERED, CONNECTING, WAITING, RequestRecord
from harness.load.python.schedule import Schedule
from harness.load.python.tcp_info import RESOLUTION_NS, tcp_info
from harness.plan.slices import Slice

IDLE = State.IDLE
SOON_NS = 1_000_000
"""What comes so soon after an answer could as well come after the next request; to look for it takes 0.8 µs."""


class Connections:
    """HTTP/1.1 over the connections of a slice: each carries one request after the other, or one."""

    options: Sequence[tuple[int, int, int]] = ()
    """(level, option, value) of each socket."""

    def __init__(self, slice_: Slice, rows: Rows, schedule: Schedule) -> None:
        self.schedule = schedule
        self.connector = Connector(slice_, rows, self.options)
        self.record = self.connector.record
        self.requests = None if slice_.one_each else RequestRecord(rows)
        """None: each connection carries one request, and its row is the request's."""
        self.per_client = slice_.requests_per_client
        self.timeout_ns = schedule.timeout_ns
        self.request = request_bytes(slice_.target, slice_.port, slice_.path, close=slice_.carries_one)
        self.buffer = self.connector.buffer
        self.protocol = ""
        """How the first answer began."""
        self.frames: Counter[str] = Counter()
        self.library = LIBRARY
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
            now_ns = monotonic_ns()
            if now_ns - client.idle_ns < SOON_NS or not self.connector.has_unread(client):
                self._issued(client, scheduled_ns, now_ns)
                client.state = WAITING
                try:
                    client.socket.send(self.request)
                except OSError as error:
                    self._fail(client, error)
                return
            self.connector.close(client, ANSWERED, now_ns, 0)  # it has spoken unasked
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
        issued_ns, code = self.connector.connect(client, scheduled_ns)
        if not issued_ns:
            self._end(client, NOT_ISSUED, monotonic_ns(), code)
            return
        self._issued(client, scheduled_ns, issued_ns)
        if code:
            self._end(client, OUTCOME_OF_ERRNO[code], monotonic_ns(), code)
            return
        # On loopback the handshake is mostly over when connect() returns, though it says EINPROGRESS.
        self._try_established(client)
        self.connector.watch(client)

    # ---- it goes on -----------------------------------------------------------------------------------------

    def advance(self, client: Client, mask: int) -> None:
        """Do what an event on a connection allows."""
        if client.state is CONNECTING:
            self._try_established(client)
        if mask & READABLE and (client.state is WAITING or client.state is IDLE):
            self._receive(client)
        if mask & HUNG_UP and client.state is IDLE:  # the server's last answer on this connection
            self.connector.close(client, ANSWERED, monotonic_ns(), 0)

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
                    self.connector.close(client, ANSWERED, monotonic_ns(), 0)
                else:
                    self._fail(client, error)
                return
            now_ns = monotonic_ns()
            if client.state is IDLE:  # the server ends it, or speaks unasked: of no use for another request
                self.connector.close(client, ANSWERED, now_ns, 0)
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
            if not answer.take(self.buffer[:received]):
                self._end(client, BAD_ANSWER, now_ns)
                return
            if answer.complete:
                self._end(client, _judge(answer), now_ns)
                return
        self.connector.epoll.modify(client.socket.fileno(), UNTIL_ANSWERED)  # what is left to read makes another edge

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
        self._end(client, self.connector.timeout(client), monotonic_ns())

    def give_up(self) -> None:
        """Asked to stop: what is under way ends here, what was not issued stays ``not_issued``."""
        now_ns = monotonic_ns()
        for client in list(self.connector.open.values()):
            if client.under_way:
                self._end(client, OTHER_ERROR, now_ns, errno.ECANCELED)
            else:
                self.connector.close(client, ANSWERED, now_ns, 0)

    def _end(self, client: Client, outcome: Outcome, now_ns: int, error: int = 0) -> None:
        """The request under way has ended, and its connection too unless it can carry another."""
        if now_ns > client.deadline_ns and outcome is not NOT_ISSUED and outcome is not OTHER_ERROR:
            outcome = self.connector.timeout(client)
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
            client.state, client.idle_ns = IDLE, now_ns
        else:
            self.connector.close(client, outcome, now_ns, error)
        self.schedule.ended(client)


def _judge(answer: Answer) -> Outcome:
    return ANSWERED if 200 <= answer.status < 300 else BAD_ANSWER
