"""One client of a slice, and where its connection is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from socket import SocketType

from harness.load.python.http1 import Answer


class State(Enum):
    """Where a client's connection is."""

    CLOSED = auto()
    CONNECTING = auto()
    WAITING = auto()
    """The request is sent, its answer not complete."""
    IDLE = auto()
    """Kept open between two requests."""


@dataclass(slots=True, eq=False)
class Client:
    """One client and, while it has one, its connection."""

    index: int
    begun: int = 0
    """Requests begun so far; the last of them may be under way."""
    under_way: bool = False
    deadline_ns: int = 0
    """Until when the request under way must have ended."""
    unheard: bool = True
    """Of the answer to the request under way not a byte has been read."""
    due_ns: deque[int] | None = None
    """Open loop: slots that have come, of requests not begun."""
    attempts: int = 0
    """Connections made so far."""
    request: int = -1
    """The row of the request under way, where requests have rows of their own."""
    tries: int = 0
    """Attempts of the request under way, where there may be several."""
    final_ns: int = 0
    """Until when that request must have ended, whatever its attempts."""
    state: State = State.CLOSED
    idle_ns: int = 0
    """Since when its connection is kept open between two requests."""
    row: int = -1
    received: int = 0
    socket: SocketType = field(init=False)
    answer: Answer | None = None
