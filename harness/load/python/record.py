"""What an agent writes down about a connection, and what it asks the kernel for that.

Each value goes to its place the moment it is known. The rows file begins as zeros, so that only what happened is
written, each value for some 0.04 µs.
"""

from __future__ import annotations

from array import array
from time import monotonic_ns

from harness.events.kernel import RESENT_FROM_US
from harness.events.rows import NOT_READ, Outcome, Rows
from harness.load.python.client import Client, State
from harness.load.python.tcp_info import (
    ESTABLISHED,
    RESOLUTION_MS,
    RESOLUTION_NS,
    TcpInfo,
    counted,
    tcp_info,
    tcp_info_fields,
)
from harness.plan.slices import Slice

RESENT_FROM_NS = RESENT_FROM_US * 1_000
# Named once: Python 3.11 looks an enum's member up for 0.04 to 0.13 µs, and there are some thirty for each connection.
CONNECTING, WAITING = State.CONNECTING, State.WAITING
ANSWERED, CLOSED_EARLY = Outcome.answered, Outcome.closed_early


class ConnectionRecord:
    """The columns of the connections, by row."""

    def __init__(self, slice_: Slice, rows: Rows) -> None:
        self.carries_one = slice_.carries_one
        columns = rows.connection
        self.client = columns["client"]
        self.attempt = columns["attempt"]
        self.address = columns["address"]
        self.local_port = columns["local_port"]
        self.scheduled_ns = columns["scheduled_ns"]
        self.issued_ns = columns["issued_ns"]
        self.connect_us = columns["connect_us"]
        self.synack_ns = columns["synack_ns"]
        self.established_ns = columns["established_ns"]
        self.resent_ns = columns["resent_ns"]
        self.accepted_ns = columns["accepted_ns"]
        self.first_byte_ns = columns["first_byte_ns"]
        self.arrived_ns = columns["arrived_ns"]
        self.closed_ns = columns["closed_ns"]
        self.syn_retransmits = columns["syn_retransmits"]
        self.total_retransmits = columns["total_retransmits"]
        self.unacked = columns["unacked"]
        self.bytes_received = columns["bytes_received"]
        self.status = columns["status"]
        self.errno = columns["errno"]
        self.outcome = columns["outcome"]
        self._fill(slice_)

    def _fill(self, slice_: Slice) -> None:
        """Write before the storm what does not depend on it; rows that were never tried are null in the tables."""
        for column in (self.syn_retransmits, self.total_retransmits, self.unacked):
            column[:] = array("H", [NOT_READ]) * len(column)
        if slice_.one_each:
            last = slice_.first_client + slice_.clients * slice_.stride
            self.client[:] = array("i", range(slice_.first_client, last, slice_.stride))

    def established(self, row: int, info: TcpInfo | None) -> None:
        """The connection took a request just now; ``info``, read before, where that was long after connect()."""
        now_ns = self.established_ns[row] = monotonic_ns()
        self.syn_retransmits[row] = 0
        if info is not None:
            self.syn_retransmits[row] = counted(info.retransmits)
            self.synack_ns[row] = now_ns - info.last_ack_ms_ago * 1_000_000

    def first_byte(self, client: Client, now_ns: int) -> None:
        row = client.row
        self.first_byte_ns[row] = now_ns
        if not self.carries_one and now_ns - self.established_ns[row] > RESENT_FROM_NS:
            info = tcp_info(client.socket)  # later it would be another request's
            self._resent(row, info.retransmits, info.last_sent_ms_ago)

    def last_words(self, client: Client, now_ns: int, outcome: Outcome) -> None:
        """What the kernel knows of a connection about to end, and when what was not read in time had come."""
        state, unacked, sent_ms_ago, received_ms_ago, ack_ms_ago, retransmits, received = tcp_info_fields(client.socket)
        row = client.row
        self.unacked[row] = counted(unacked)
        self.total_retransmits[row] = counted(retransmits)
        self.closed_ns[row] = now_ns
        if client.state is CONNECTING and state == ESTABLISHED:  # but this loop did not come to see it
            self.synack_ns[row] = monotonic_ns() - ack_ms_ago * 1_000_000
        if client.state is not WAITING:
            return
        if retransmits and (self.carries_one or not self.first_byte_ns[row]):
            self._resent(row, retransmits, sent_ms_ago)
        answer = client.answer
        # The end of the stream counts as a byte.
        if (answer is not None and answer.complete) or received > client.received + 1:
            came_ms_ago = received_ms_ago
        elif outcome is ANSWERED or outcome is CLOSED_EARLY:  # ended by the end of the stream, which is no data
            came_ms_ago = ack_ms_ago
        else:
            return
        if came_ms_ago > RESOLUTION_MS:
            arrived_ns = monotonic_ns() - came_ms_ago * 1_000_000
            if now_ns - arrived_ns > RESOLUTION_NS:
                self.arrived_ns[row] = arrived_ns

    def _resent(self, row: int, retransmits: int, sent_ms_ago: int) -> None:
        if retransmits > self.syn_retransmits[row]:
            self.resent_ns[row] = monotonic_ns() - sent_ms_ago * 1_000_000

    def ended(self, client: Client, outcome: Outcome, error: int) -> None:
        """The last that is written into a connection's row."""
        row, answer = client.row, client.answer
        if answer is not None:
            self.bytes_received[row] = client.received
            self.status[row] = answer.status
            if answer.accepted_ns:
                self.accepted_ns[row] = answer.accepted_ns
        if error:
            self.errno[row] = error
        self.outcome[row] = outcome


class RequestRecord:
    """The columns of the requests, where they have rows of their own."""

    def __init__(self, rows: Rows) -> None:
        columns = rows.request
        self.scheduled_ns = columns["scheduled_ns"]
        self.issued_ns = columns["issued_ns"]
        self.accepted_ns = columns["accepted_ns"]
        self.first_byte_ns = columns["first_byte_ns"]
        self.last_byte_ns = columns["last_byte_ns"]
        self.connection = columns["connection"]
        self.status = columns["status"]
        self.errno = columns["errno"]
        self.outcome = columns["outcome"]
        self.attempts = columns["attempts"]

    def begun(self, client: Client, scheduled_ns: int, issued_ns: int) -> None:
        """The request has left or is leaving the client."""
        request = client.request
        if scheduled_ns:
            self.scheduled_ns[request] = scheduled_ns
        self.issued_ns[request] = issued_ns
        self.connection[request] = client.row

    def failed(self, client: Client, outcome: Outcome, error: int) -> None:
        """An attempt has; unless there is another, so has the request."""
        self.errno[client.request] = error
        self.outcome[client.request] = outcome

    def tried_again(self, client: Client) -> None:
        """From here on it is another attempt's that is written down, its outcome too; when it was issued stays."""
        request = client.request
        self.connection[request] = client.row
        self.attempts[request] = client.tries
        for column in (self.accepted_ns, self.first_byte_ns, self.status, self.errno, self.outcome):
            column[request] = 0

    def first_byte(self, client: Client, now_ns: int) -> None:
        self.first_byte_ns[client.request] = now_ns

    def ended(self, client: Client, outcome: Outcome, now_ns: int, error: int) -> None:
        request, answer = client.request, client.answer
        if answer is not None:
            self.status[request] = answer.status
            if answer.accepted_ns:
                self.accepted_ns[request] = answer.accepted_ns
        if outcome is ANSWERED:
            self.last_byte_ns[request] = now_ns
        if error:
            self.errno[request] = error
        self.outcome[request] = outcome
