"""HTTP/2's links and streams: the places of a pool, whose connections carry many requests at a time."""

from __future__ import annotations

from h2.connection import H2Connection

from harness.load.python.client import Client
from harness.load.python.http1 import Answer
from harness.load.python.pool import PoolSchedule

MOST_STREAMS = 100
"""On a connection at a time, unless the server takes fewer: RFC 9113, section 6.5.2, recommends to allow that many."""


def request_headers(host: str, port: int, path: str) -> list[tuple[bytes, bytes]]:
    """A GET; what it says is what :func:`harness.load.python.http1.request_bytes` says."""
    authority = f"[{host}]" if ":" in host else host
    return [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", f"{authority}:{port}".encode()),
        (b":path", path.encode()),
        (b"user-agent", b"stormlab"),
    ]


class FramedAnswer(Answer):
    """What is known of an answer, or of all of a connection's; there is nothing to parse."""

    __slots__ = ()

    def __init__(self) -> None:
        self.complete = False
        self.framed = True
        self.keep_alive = True
        self.status = 0
        self.accepted_ns = 0

    def forget_parser(self) -> None:
        pass


class Stream(Client):
    """One request under way; ``index`` is the stream's number."""

    __slots__ = ("link",)

    def __init__(self, link: Link) -> None:
        super().__init__(0)
        self.link = link


class Link(Client):
    """A place of the pool and, while it has one, its connection."""

    __slots__ = ("frames", "most", "queued", "streams", "unsent")

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.queued = True
        """Whether it is with the schedule, to take requests, or to wait for some."""
        self.forget()

    def forget(self) -> None:
        """As before its first connection."""
        self.frames: H2Connection | None = None
        self.streams: dict[int, Stream] = {}
        self.unsent = b""
        self.most = MOST_STREAMS

    @property
    def has_room(self) -> bool:
        return len(self.streams) < self.most


class LinkSchedule(PoolSchedule):
    """The pool's queue; its places are links, and what is overdue are streams."""

    place = Link
