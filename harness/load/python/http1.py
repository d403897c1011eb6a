"""One HTTP/1.1 answer on its way in; parsing is httptools' (llhttp).

The first final answer is the request's. What comes after it unasked, in the same read or a later one, says nothing of
it, and leaves a connection that no other request may use (RFC 9112, section 9.2; llhttp skips empty lines of that
read). Where a length stands beside a coding, an attack is likelier than an answer: it is none (section 6.3).
"""

from __future__ import annotations

from collections.abc import Callable

import httptools

LIBRARY = f"httptools {httptools.__version__}"
NO_ANSWER = 0
ACCEPT_STAMP = b"x-accept-ns"
"""Header in which the lab's servers say when they got the connection."""
MOST_HEAD_BYTES = 1 << 16
"""What a head may have, and about what may follow a body: nobody sends more, and the parser holds on to a name or a
value until it is complete."""
_LINE, _HEAD_ENDS = b"\r\n", b"\r\n\r\n"
_LENGTH, _CODING = _FRAMING = (b"content-length", b"transfer-encoding")
_LENGTHS = frozenset(map(len, (ACCEPT_STAMP, *_FRAMING)))
"""Of the names that matter: most headers are told from them by their length, sooner than in lower case."""


class Answer:
    """The protocol object that :class:`httptools.HttpResponseParser` calls.

    ``complete`` turns true with the last byte of a final (not 1xx) answer; ``ends_with_stream`` says that, lacking a
    length, the end of the stream ends the answer (RFC 9112 section 6.3, rule 8).
    """

    __slots__ = (
        "accepted_ns",
        "beside_body",
        "complete",
        "feed",
        "framed",
        "head",
        "interim",
        "keep_alive",
        "parser",
        "status",
    )

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.feed: Callable[[memoryview], None] = self.parser.feed_data
        """Raises: httptools.HttpParserError: this is not HTTP."""
        self.complete = False
        self.framed = False
        self.keep_alive = True
        self.status = NO_ANSWER
        """Known with the last of the headers."""
        self.accepted_ns = 0
        """When the server got the connection, CLOCK_MONOTONIC, if it says so."""
        self.head = b""
        """What came of the answer before the last of its headers did; empty where that came at once."""
        self.interim = 0
        """Answers skipped since: 100 Continue and its like announce the answer; they are not it."""
        self.beside_body = 0
        """Bytes since the last that were of a body."""

    def next(self) -> None:
        """Get ready for the next answer on the same connection."""
        self.complete = self.framed = False
        self.status = NO_ANSWER
        self.head, self.interim, self.beside_body = b"", 0, 0

    def take(self, data: memoryview) -> bool:
        """Take in what was read; False where it is no HTTP answer, or one whose headers are too many."""
        beside_body = self.beside_body = self.beside_body + len(data)
        if beside_body > MOST_HEAD_BYTES and self.status == NO_ANSWER:
            self.beside_body = len(self.head)
            room = MOST_HEAD_BYTES - len(self.head)
            return self.take(data[:room]) and self.take(data[room:])
        try:
            self.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # After the answer it is surplus. Before its end, a length that is said twice may be said alike.
            return self.complete or (not self.headers_complete and self._take_with_one_length(data))
        if self.complete:
            return True
        if not self.headers_complete:
            return self._keep(self._answer_so_far(data))
        return self.beside_body <= MOST_HEAD_BYTES

    def _answer_so_far(self, data: memoryview) -> bytes:
        """From its first byte on, without the interim ones before it."""
        interim, self.interim = self.interim, 0
        return (self.head + data).split(_HEAD_ENDS, interim)[-1]

    def _keep(self, head: bytes) -> bool:
        """Until the rest of it comes, if that may be."""
        self.head, self.beside_body = head, len(head)
        return len(head) < MOST_HEAD_BYTES

    def _take_with_one_length(self, data: memoryview) -> bool:
        """The answer again without lines that repeat its length (RFC 9110, section 8.6), if there are any."""
        answer = self._answer_so_far(data)
        head, end, body = answer.partition(_HEAD_ENDS)
        fields = [(line, *line.partition(b":")) for line in head.split(_LINE)]
        lengths = [value.strip() for _, name, _, value in fields if name.lower() == _LENGTH]
        if len(lengths) < 2:
            return False
        if not end:  # with the rest the parser, which has stopped, says the same again
            return self._keep(answer)
        if len(set(lengths)) > 1:
            return False
        others = [line for line, name, _, _ in fields if name.lower() != _LENGTH]
        self.parser = httptools.HttpResponseParser(self)
        self.feed = self.parser.feed_data
        self.next()
        return self.take(memoryview(_LINE.join([*others, b"Content-Length: " + lengths[0]]) + end + body))

    def forget_parser(self) -> None:
        # The parser holds this object's methods: a cycle, and the collector is off while a storm runs.
        del self.parser, self.feed

    @property
    def headers_complete(self) -> bool:
        return self.status != NO_ANSWER

    @property
    def ends_with_stream(self) -> bool:
        return self.headers_complete and not self.framed

    def on_message_begin(self) -> None:
        if self.complete:  # unasked
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) not in _LENGTHS or self.complete:
            return
        name = name.lower()
        if name == _LENGTH:
            self.framed = True
        elif name == _CODING:  # another coding than this last one goes on until the stream ends
            self.framed = value.lower().rpartition(b",")[2].strip() == b"chunked"
        elif name == ACCEPT_STAMP and value.isdigit() and len(value) < 19:
            self.accepted_ns = int(value)

    def on_headers_complete(self) -> None:
        if not self.complete:
            self.status = self.parser.get_status_code()
            if self.status < 100:
                raise ValueError("no status")  # the parser takes it for its own error

    def on_body(self, body: bytes) -> None:
        self.beside_body = 0

    def on_message_complete(self) -> None:
        if self.complete:
            return
        if self.status < 200:
            self.interim += 1
            self.framed, self.status = False, NO_ANSWER
            return
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()


def protocol_of(answer: memoryview) -> str:
    """The version with which an answer begins, as ``HTTP/1.1``; empty where it is no HTTP."""
    begins = bytes(answer[:8]).decode("latin-1")
    return begins if begins.startswith("HTTP/") else ""


def request_bytes(host: str, port: int, path: str, *, close: bool) -> bytes:
    """A GET as it goes over the wire; ``close`` asks the server to end the connection after the answer."""
    authority = f"[{host}]" if ":" in host else host
    connection = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nHost: {authority}:{port}\r\nUser-Agent: stormlab\r\n{connection}\r\n".encode(
        "ascii"
    )
