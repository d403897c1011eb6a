"""One HTTP/1.1 answer on its way in; parsing is httptools' (llhttp).

The first final answer is the request's. What comes after it unasked says nothing of it, and leaves a connection that no
other request may use (RFC 9112, section 9.2).
"""

from __future__ import annotations

from collections.abc import Callable

import httptools

LIBRARY = f"httptools {httptools.__version__}"
NO_ANSWER = 0
ACCEPT_STAMP = b"x-accept-ns"
"""Header in which the lab's servers say when they got the connection."""
MOST_HEAD_BYTES = 1 << 16
"""What headers may be together, or what follows a body: nobody sends more, and the parser holds on to a name or a value
until it is complete."""
_LENGTH, _CODING = _FRAMING = (b"content-length", b"transfer-encoding")
_LENGTHS = frozenset(map(len, (ACCEPT_STAMP, *_FRAMING)))
"""Of the names that matter: most headers are told from them by their length, sooner than in lower case."""


class Answer:
    """The protocol object that :class:`httptools.HttpResponseParser` calls.

    ``complete`` turns true with the last byte of a final (not 1xx) answer; ``ends_with_stream`` says that, lacking a
    length, the end of the stream ends the answer (RFC 9112 section 6.3, rule 8).
    """

    __slots__ = ("accepted_ns", "beside_body", "complete", "feed", "framed", "head", "keep_alive", "parser", "status")

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
        """What came of the headers before the last of them did; empty where they came at once."""
        self.beside_body = 0
        """Bytes since the last that were of a body."""

    def next(self) -> None:
        """Get ready for the next answer on the same connection."""
        self.complete = self.framed = False
        self.status = NO_ANSWER
        self.head, self.beside_body = b"", 0

    def take(self, data: memoryview) -> bool:
        """Take in what was read; False where it is no HTTP answer, or one whose headers have no end."""
        self.beside_body += len(data)
        try:
            self.feed(data)
        except httptools.HttpParserUpgrade:
            return False
        except httptools.HttpParserError:
            # After the answer it is surplus. Before its end, a length that is said twice may be said alike.
            return self.complete or (not self.headers_complete and self._take_with_one_length(data))
        if self.complete:
            return True
        if not self.headers_complete:
            self.head += data
        return self.beside_body <= MOST_HEAD_BYTES

    def _take_with_one_length(self, data: memoryview) -> bool:
        """The answer again without lines that repeat its length (RFC 9110, section 8.6), if there are any."""
        end = b"\r\n\r\n"
        head, there, body = (self.head + data).partition(end)
        lines = head.split(b"\r\n")
        lengths = [line.partition(b":")[2].strip() for line in lines if line.partition(b":")[0].lower() == _LENGTH]
        if not there or len(lengths) < 2 or len(set(lengths)) > 1:
            return False
        others = [line for line in lines if line.partition(b":")[0].lower() != _LENGTH]
        self.parser = httptools.HttpResponseParser(self)
        self.feed = self.parser.feed_data
        self.head, self.beside_body = b"", 0
        return self.take(memoryview(b"\r\n".join([*others, b"Content-Length: " + lengths[0]]) + end + body))

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
            self.framed = value.lower().endswith(b"chunked")
        elif name == ACCEPT_STAMP and value.isdigit() and len(value) < 19:
            self.accepted_ns = int(value)

    def on_headers_complete(self) -> None:
        if not self.complete:
            self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.beside_body = 0

    def on_message_complete(self) -> None:
        if self.complete:
            return
        if self.status < 200:  # 100 Continue and its like announce the answer; they are not it
            self.next()
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
