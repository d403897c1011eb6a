"""HTTP/2 with prior knowledge (RFC 9113, section 3.3): many requests share a connection; frames are h2's.

Links that have room take turns with the requests that wait, each a stream. What a stream suffers is its request's; what
its connection suffers, all its streams'.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic_ns
from typing import Any

import h2
from h2 import events, frame_buffer
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from harness.events.rows import Outcome, Rows
from harness.load.python.client import Client, State
from harness.load.python.connecting import (
    BAD_ANSWER,
    CLOSED_EARLY,
    HUNG_UP,
    NOT_ISSUED,
    OTHER_ERROR,
    OUTCOME_OF_ERRNO,
    READABLE,
    UNTIL_CONNECTED,
    Connector,
)
from harness.load.python.http1 import ACCEPT_STAMP, MOST_HEAD_BYTES, NO_ANSWER, protocol_of
from harness.load.python.links import MOST_STREAMS, FramedAnswer, Link, LinkSchedule, Stream, request_headers
from harness.load.python.record import ANSWERED, RequestRecord
from harness.load.python.tcp_info import RESOLUTION_NS, tcp_info
from harness.plan.slices import Slice

NAME = "HTTP/2"
LIBRARY = f"h2 {h2.__version__}"
MOST_AT_ONCE = 16
"""Streams a link begins in one turn, written to the socket together."""
READ_AT_ONCE, READS_IN_A_ROW = 1 << 14, 2
"""The smallest frames have 9 bytes and take 20 to 60 µs each: a flood of them must leave the loop its turn."""
MOST_UNSENT_BYTES = 1 << 18
"""Of replies to a server that sends, and takes none: more than a hundred requests are, less than a flood makes."""
# RFC 9113, section 6.5.2: a frame has 16,384 bytes, unless its receiver allows more. h2 would keep 64 of these.
frame_buffer.CONTINUATION_BACKLOG = MOST_HEAD_BYTES // 16_384
WINDOW = 2**31 - 1
"""The largest there is: answers are read as they come, and no flow control is to be measured."""
_FRAMES: dict[type[events.Event], str] = {
    events.RemoteSettingsChanged: "SETTINGS",
    events.SettingsAcknowledged: "SETTINGS ACK",
    events.ResponseReceived: "HEADERS",
    events.DataReceived: "DATA",
    events.WindowUpdated: "WINDOW_UPDATE",
    events.StreamReset: "RST_STREAM",
    events.ConnectionTerminated: "GOAWAY",
    events.PingReceived: "PING",
}
"""What a server sends, by the event that h2 makes of it."""


def status_of(values: Sequence[bytes]) -> int:
    """The one ``:status`` of an answer: three digits (RFC 9113, section 8.3.2); anything else is none."""
    one = values[0] if len(values) == 1 else b""
    return int(one) if len(one) == 3 and one.isdigit() and b"1" <= one[:1] <= b"5" else NO_ANSWER


class Http2Connections:
    """The links of a pool."""

    def __init__(self, slice_: Slice, rows: Rows, schedule: LinkSchedule) -> None:
        self.schedule = schedule
        self.connector = Connector(slice_, rows)
        self.record, self.buffer = self.connector.record, self.connector.buffer
        self.asked = RequestRecord(rows)
        self.headers = request_headers(slice_.target, slice_.port, slice_.path)
        # What is sent is right, and what comes is judged by its status: checking both takes a third of the time.
        self.config = H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.protocol = ""
        self.frames: Counter[str] = Counter()
        self.library = LIBRARY
        self.issued = self.finished = self.answered = 0
        self._on: dict[type[events.Event], Callable[[Link, Any], None]] = {
            events.RemoteSettingsChanged: self._settings,
            events.InformationalResponseReceived: self._interim,
            events.ResponseReceived: self._headers,
            events.DataReceived: self._data,
            events.StreamEnded: self._ended,
            events.StreamReset: self._reset,
            events.ConnectionTerminated: self._goaway,
        }

    # ---- requests begin -------------------------------------------------------------------------------------

    def begin(self, client: Client) -> None:
        """A link takes its share of what waits, as far as it has room."""
        link = client
        assert isinstance(link, Link)
        if not self.schedule.offers(link):
            return
        if link.state is State.CLOSED:
            self._connect_with_one(link)
        else:
            share = -(-len(self.schedule.waiting) // self.schedule.slice.places)
            for _ in range(min(share, MOST_AT_ONCE)):
                if not link.has_room or not self.schedule.waits():
                    break
                self._ask(link, monotonic_ns())
            self._flush(link)
        link.queued = False
        self._queue(link)

    def _queue(self, link: Link) -> None:
        """A link that has room and a connection takes its turn."""
        if not link.queued and (link.state is State.CLOSED or (link.state is State.WAITING and link.has_room)):
            link.queued = True
            self.schedule.ended(link)

    def _connect_with_one(self, link: Link) -> None:
        """Connect for one request; the others wait until that has succeeded."""
        link.forget()
        link.answer = FramedAnswer()
        link.frames = H2Connection(self.config)
        link.frames.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: MOST_HEAD_BYTES,
            },
        )
        link.frames.decoder.max_header_list_size = MOST_HEAD_BYTES
        link.frames.initiate_connection()
        link.frames.increment_flow_control_window(WINDOW - 65_535)
        issued_ns, code = self.connector.connect(link, 0)
        if not issued_ns:
            self._end(link, NOT_ISSUED, monotonic_ns(), code)
            return
        self._ask(link, issued_ns)
        if code:
            self._end(link, OUTCOME_OF_ERRNO[code], monotonic_ns(), code)
            return
        self._try_established(link)
        self.connector.watch(link)

    def _ask(self, link: Link, issued_ns: int) -> None:
        """The oldest request that waits becomes a stream."""
        assert link.frames is not None
        stream = Stream(link)
        stream.request = self.schedule.request_of(stream)
        stream.row, stream.answer, stream.under_way = link.row, FramedAnswer(), True
        stream.deadline_ns = stream.final_ns
        stream.index = link.frames.get_next_available_stream_id()
        link.frames.send_headers(stream.index, self.headers, end_stream=True)
        link.streams[stream.index] = stream
        self.issued += 1
        self.asked.begun(stream, stream.final_ns - self.schedule.timeout_ns, issued_ns)
        self.schedule.expect(stream)

    # ---- bytes go and come ----------------------------------------------------------------------------------

    def advance(self, client: Client, mask: int) -> None:
        link = client
        assert isinstance(link, Link)
        if link.state is State.CONNECTING:
            self._try_established(link)
        elif link.unsent:
            self._flush(link)
        if mask & (READABLE | HUNG_UP) and link.state is State.WAITING:
            self._receive(link)
        self._queue(link)

    def _try_established(self, link: Link) -> None:
        late = monotonic_ns() - self.record.issued_ns[link.row] > RESOLUTION_NS
        info = tcp_info(link.socket) if late else None
        if not self._flush(link):
            return
        self.record.established(link.row, info)
        link.state = State.WAITING
        # A request does not wait until the one before it is acknowledged (Nagle's algorithm).
        link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _flush(self, link: Link) -> bool:
        """Write what the frames have for the server; whether anything could be written."""
        assert link.frames is not None
        link.unsent += link.frames.data_to_send()
        sent = 0
        try:
            while sent < len(link.unsent):
                sent += link.socket.send(link.unsent[sent:])
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(link, error)
            return False
        link.unsent = link.unsent[sent:]
        if link.unsent and link.socket.fileno() in self.connector.open:
            self.connector.epoll.modify(link.socket.fileno(), UNTIL_CONNECTED)
        return sent > 0

    def _receive(self, link: Link) -> None:
        for _ in range(READS_IN_A_ROW):
            try:
                received = link.socket.recv_into(self.buffer, READ_AT_ONCE)
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(link, error)
                return
            if not received:
                self._end(link, CLOSED_EARLY, monotonic_ns())
                return
            if not link.received:
                self.record.first_byte(link, monotonic_ns())
                if protocol_of(self.buffer):  # h2 would take it for the head of a frame, and wait for the rest
                    self._end(link, BAD_ANSWER, monotonic_ns())
                    return
            link.received += received
            if not self._understand(link, bytes(self.buffer[:received])):
                return
        self.connector.epoll.modify(link.socket.fileno(), UNTIL_CONNECTED)  # what is left to read makes another edge

    def _understand(self, link: Link, data: bytes) -> bool:
        """Take in frames; False where that was the connection's end."""
        assert link.frames is not None
        try:
            found = link.frames.receive_data(data)
        except H2Error:
            self._end(link, BAD_ANSWER, monotonic_ns())
            return False
        for event in found:
            kind = type(event)
            if kind in _FRAMES:
                self.frames[_FRAMES[kind]] += 1
                self.protocol = NAME
            if kind in self._on:
                self._on[kind](link, event)
            if link.state is State.CLOSED:
                return False
        if not self._flush(link) and link.state is not State.WAITING:
            return False
        if len(link.unsent) > MOST_UNSENT_BYTES:
            self._end(link, BAD_ANSWER, monotonic_ns())
            return False
        return True

    def _settings(self, link: Link, event: events.RemoteSettingsChanged) -> None:
        assert link.frames is not None
        link.most = min(link.frames.remote_settings.max_concurrent_streams, MOST_STREAMS)

    def _interim(self, link: Link, event: events.InformationalResponseReceived) -> None:
        """What announces the answer is skipped; 101 does not (RFC 9113, section 8.6), nor does ``1abc``."""
        stream = link.streams.get(event.stream_id or 0)
        status = status_of([value for name, value in event.headers or () if name == b":status"])
        if stream is not None and status in (NO_ANSWER, 101):
            self._end_stream(stream, BAD_ANSWER, monotonic_ns())
            self._cancel(link, stream)

    def _headers(self, link: Link, event: events.ResponseReceived) -> None:
        stream = link.streams.get(event.stream_id or 0)
        if stream is None:  # it was given up
            return
        assert stream.answer is not None and link.answer is not None
        statuses: list[bytes] = []
        for name, value in event.headers or ():
            if name == b":status":
                statuses.append(value)
            elif name == ACCEPT_STAMP and value.isdigit() and len(value) < 19:
                link.answer.accepted_ns = stream.answer.accepted_ns = int(value)
        link.answer.status = stream.answer.status = status_of(statuses)
        self.asked.first_byte(stream, monotonic_ns())

    def _data(self, link: Link, event: events.DataReceived) -> None:
        """Give the windows back what is read, or the connection stands still once that has come to their size."""
        assert link.frames is not None
        link.frames.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def _ended(self, link: Link, event: events.StreamEnded) -> None:
        stream = link.streams.get(event.stream_id or 0)
        if stream is not None:
            assert stream.answer is not None
            right = 200 <= stream.answer.status < 300
            self._end_stream(stream, ANSWERED if right else BAD_ANSWER, monotonic_ns())

    def _reset(self, link: Link, event: events.StreamReset) -> None:
        stream = link.streams.get(event.stream_id or 0)
        if stream is not None:
            self._end_stream(stream, Outcome.reset, monotonic_ns())

    def _goaway(self, link: Link, event: events.ConnectionTerminated) -> None:
        """The server retires the connection. Streams might still end; h2 takes nothing after a GOAWAY."""
        self._end(link, CLOSED_EARLY, monotonic_ns())

    # ---- requests end, and connections ----------------------------------------------------------------------

    def expire(self, client: Client) -> None:
        """A stream has had its time: it is cancelled, and its connection stays, unless it never came to be."""
        assert isinstance(client, Stream)
        link, now_ns = client.link, monotonic_ns()
        self._end_stream(client, self.connector.timeout(client), now_ns)
        if link.state is State.CONNECTING:
            self._end(link, Outcome.connect_timeout, now_ns)
        elif link.state is State.WAITING:
            self._cancel(link, client)
            self._flush(link)
        self._queue(link)

    def _cancel(self, link: Link, stream: Stream) -> None:
        """Tell the server that a stream is over."""
        assert link.frames is not None
        with suppress(H2Error):  # it has just ended
            link.frames.reset_stream(stream.index, ErrorCodes.CANCEL)

    def give_up(self) -> None:
        now_ns = monotonic_ns()
        for client in list(self.connector.open.values()):
            assert isinstance(client, Link)
            if client.streams:
                self._end(client, OTHER_ERROR, now_ns, errno.ECANCELED)
            else:
                self.connector.close(client, ANSWERED, now_ns, 0)

    def _end(self, link: Link, outcome: Outcome, now_ns: int, error: int = 0) -> None:
        """A connection has ended, and all its streams with it."""
        idle = outcome is CLOSED_EARLY and not link.streams
        for stream in list(link.streams.values()):
            self._end_stream(stream, outcome, now_ns, error)
        if outcome is NOT_ISSUED:  # no stream was begun: the request that it was made for ends here
            stream = Stream(link)
            stream.request, stream.row = self.schedule.request_of(stream), link.row
            self.finished += 1
            self.asked.ended(stream, outcome, now_ns, error)
        self.connector.close(link, ANSWERED if idle else outcome, now_ns, error)
        self._queue(link)

    def _fail(self, link: Link, error: OSError) -> None:
        code = error.errno or 0
        self._end(link, OUTCOME_OF_ERRNO.get(code, OTHER_ERROR), monotonic_ns(), code)

    def _end_stream(self, stream: Stream, outcome: Outcome, now_ns: int, error: int = 0) -> None:
        if now_ns > stream.deadline_ns and outcome is not OTHER_ERROR:
            outcome = self.connector.timeout(stream)
        stream.under_way = False
        stream.link.streams.pop(stream.index, None)
        self.finished += 1
        self.answered += outcome is ANSWERED
        self.asked.ended(stream, outcome, now_ns, error)
