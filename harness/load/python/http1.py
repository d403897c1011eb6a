"""One HTTP/1.1 answer on its way in; parsing is httptools' (llhttp)."""

from __future__ import annotations

from collections.abc import Callable

import httptools

LIBRARY = f"httptools {httptools.__version__}"
NO_ANSWER = 0
ACCEPT_STAMP = b"x-accept-ns"
"""Header in which the lab's servers say when they got the connection."""
_FRAMING = (b"content-length", b"transfer-encoding")
_LENGTHS = frozenset(map(len, (ACCEPT_STAMP, *_FRAMING)))
"""Of the names that matter: most headers are told from them by their length, sooner than in lower case."""


class Answer:
    """The protocol object that :class:`httptools.HttpResponseParser` calls.

    ``complete`` turns true with the last byte of a final (not 1xx) answer; ``ends_with_stream`` says that, lacking a
    length, the end of the stream ends the answer (RFC 9112 section 6.3, rule 8).
    """

    __slots__ = ("accepted_ns", "complete", "feed", "framed", "keep_alive", "parser", "status")

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

    def next(self) -> None:
        """Get ready for the next answer on the same connection."""
        self.complete = self.framed = False
        self.status = NO_ANSWER

    def forget_parser(self) -> None:
        # The parser holds this object's methods: a cycle, and the collector is off while a storm runs.
        del self.parser, self.feed

    @property
    def headers_complete(self) -> bool:
        return self.status != NO_ANSWER

    @property
    def ends_with_stream(self) -> bool:
        return self.headers_complete and not self.framed

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) not in _LENGTHS:
            return
        name = name.lower()
        if name in _FRAMING:
            self.framed = True
        elif name == ACCEPT_STAMP and value.isdigit() and len(value) < 19:
            self.accepted_ns = int(value)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_message_complete(self) -> None:
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
