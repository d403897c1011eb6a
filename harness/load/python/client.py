"""One client of a slice, and where its connection is."""

from __future__ import annotations

import socket
from collections import deque
from enum import Enum, auto

from harness.load.python.http1 import Answer


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

    __slots__ = (
        "answer",
        "attempts",
        "begun",
        "deadline_ns",
        "due_ns",
        "final_ns",
        "index",
        "received",
        "request",
        "row",
        "socket",
        "state",
        "tries",
        "under_way",
        "unheard",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.begun = 0
        """Requests begun so far; the last of them may be under way."""
        self.under_way = False
        self.deadline_ns = 0
        """Until when the request under way must have ended."""
        self.unheard = True
        """Of the answer to the request under way not a byte has been read."""
        self.due_ns: deque[int] | None = None
        """Open loop: slots that have come, of requests not begun."""
        self.attempts = 0
        """Connections made so far."""
        self.request = -1
        """The row of the request under way, where requests have rows of their own."""
        self.tries = 0
        """Attempts of the request under way, where there may be several."""
        self.final_ns = 0
        """Until when that request must have ended, whatever its attempts."""
        self.state = State.CLOSED
        self.row = -1
        self.received = 0
        self.socket: socket.SocketType
        self.answer: Answer | None = None
