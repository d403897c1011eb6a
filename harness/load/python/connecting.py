"""From connect() to close(): what is the same of a connection whatever is spoken over it."""

from __future__ import annotations

import errno
import select
import socket
from array import array
from collections.abc import Sequence
from fcntl import ioctl
from termios import FIONREAD
from time import monotonic_ns

from harness.events.rows import Outcome, Rows
from harness.load.python.client import Client, State
from harness.load.python.record import CONNECTING, ConnectionRecord
from harness.plan.slices import Slice

RECEIVES_IN_A_ROW = 8
"""Then it is the others' turn: an answer without end must not hold up the rest."""
RECEIVE_BYTES = 1 << 18
_NEW_SOCKET = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
UNTIL_ANSWERED = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
UNTIL_CONNECTED = UNTIL_ANSWERED | select.EPOLLOUT
READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
HUNG_UP = select.EPOLLRDHUP

CLOSED = State.CLOSED
BAD_ANSWER, CLOSED_EARLY = Outcome.bad_answer, Outcome.closed_early
NOT_ISSUED, OTHER_ERROR = Outcome.not_issued, Outcome.other_error
CONNECT_TIMEOUT, ANSWER_TIMEOUT = Outcome.connect_timeout, Outcome.answer_timeout
OUTCOME_OF_ERRNO = {
    errno.ECONNREFUSED: Outcome.refused,
    errno.ECONNRESET: Outcome.reset,
    errno.EPIPE: Outcome.reset,
}


class Connector:
    """The sockets of a slice and their rows. Edge-triggered, so that a connection is registered once.

    ``options`` are (level, option, value) of each socket, set before it connects.
    """

    def __init__(self, slice_: Slice, rows: Rows, options: Sequence[tuple[int, int, int]] = ()) -> None:
        self.slice = slice_
        self.record = ConnectionRecord(slice_, rows)
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._unread = array("i", [0])
        self.epoll = select.epoll()
        self.open: dict[int, Client] = {}
        self.made = 0
        self._made_so_far = rows.header["connections"]
        self._one_each = slice_.one_each
        self._options = options
        self._family = socket.AF_INET6 if ":" in slice_.target else socket.AF_INET
        self._target = (slice_.target, slice_.port)
        self._addresses: tuple[str, ...] = ()
        """None: the kernel chooses."""
        if slice_.source is not None:
            self._addresses = slice_.source.addresses
            slice_.pair(0)  # what it lays out for the first connection is laid out now

    def connect(self, client: Client, scheduled_ns: int) -> tuple[int, int]:
        """Begin a connection in a row of its own: (when it was issued, or 0 where it never left; errno, if it failed).

        One that was issued and has failed at once has an errno of :data:`OUTCOME_OF_ERRNO`.
        """
        record = self.record
        row = client.row = self._new_row(client)
        client.received = 0
        client.attempts += 1
        record.attempt[row] = client.attempts
        if scheduled_ns:
            record.scheduled_ns[row] = scheduled_ns
        try:
            connection = client.socket = self.new_socket()
            begun_ns = monotonic_ns()
            if self._addresses:
                address, port = self.slice.pair(row)
                connection.bind((self._addresses[address], port))
                record.address[row] = address
                record.local_port[row] = port
        except OSError as error:
            return 0, error.errno or 0
        issued_ns = monotonic_ns()
        code = connection.connect_ex(self._target)
        record.connect_us[row] = (monotonic_ns() - begun_ns) // 1000
        if code == errno.EINPROGRESS:
            code = 0
        elif code and code not in OUTCOME_OF_ERRNO:
            connection.close()
            return 0, code
        client.state = CONNECTING
        record.issued_ns[row] = issued_ns
        if not self._addresses:
            record.local_port[row] = connection.getsockname()[1]
        return issued_ns, code

    def new_socket(self) -> socket.SocketType:
        connection = socket.SocketType(self._family, _NEW_SOCKET, 0)
        for option in self._options:
            connection.setsockopt(*option)
        return connection

    def _new_row(self, client: Client) -> int:
        if self._one_each:
            self.made += 1
            return client.index
        row = self.made
        self.record.client[row] = self.slice.first_client + client.index * self.slice.stride
        self.made += 1
        # At once: rows beyond this number are none, and those of an agent that is killed now must not be lost.
        self._made_so_far[0] = self.made
        return row

    def watch(self, client: Client) -> None:
        """Have the kernel say from now on what a connection that is still there allows."""
        if client.state is not CLOSED:
            file = client.socket.fileno()
            self.open[file] = client
            # A socket that can be written to is an event at once, of no use to who has sent all there is to send.
            self.epoll.register(file, UNTIL_CONNECTED if client.state is CONNECTING else UNTIL_ANSWERED)

    def has_unread(self, client: Client) -> bool:
        """Whether bytes have come that the loop has not seen yet."""
        ioctl(client.socket.fileno(), FIONREAD, self._unread)
        return self._unread[0] != 0

    def timeout(self, client: Client) -> Outcome:
        """Which timeout it is: by what there was at the deadline, not when this loop came to see it."""
        in_time = 0 < self.record.established_ns[client.row] <= client.deadline_ns
        return ANSWER_TIMEOUT if in_time else CONNECT_TIMEOUT

    def close(self, client: Client, outcome: Outcome, now_ns: int, error: int) -> None:
        """End a client's connection, if it has one, and its row."""
        if client.state is not CLOSED:
            self.record.last_words(client, now_ns, outcome)
            self.open.pop(client.socket.fileno(), None)
            client.socket.close()
            client.state = CLOSED
        self.record.ended(client, outcome, error)
        if client.answer is not None:
            client.answer.forget_parser()
            client.answer = None
