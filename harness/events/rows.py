"""The rows an agent leaves behind: fixed-width columns in one shared file.

The agent writes each value where it belongs the moment it knows it, so the rows are out of the agent as soon as they
exist: the trial reads progress from the same memory, and what was recorded survives an agent that is killed. A file
of zeros is a full record in which nothing has happened yet: outcome 0 is ``not_issued`` and time 0 is "did not happen".
"""

from __future__ import annotations

import errno
import mmap
import os
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Literal

from harness.errors import MachineError


class Outcome(IntEnum):
    """What the client saw. The names are the contract's; the numbers are those of the rows file."""

    not_issued = 0
    answered = 1
    connect_timeout = 2
    answer_timeout = 3
    refused = 4
    reset = 5
    closed_early = 6
    bad_answer = 7
    other_error = 8


NOT_READ = 0xFFFF
"""Stands in a ``uint16`` column for a TCP_INFO field that was not read."""

# Times are CLOCK_MONOTONIC nanoseconds. The type is that of struct and memoryview.cast.
HEADER = ("issued", "answered", "failed", "connections", "asked_to_stop", "ledger")
Code = Literal["q", "i", "H", "h", "B"]
CONNECTION_COLUMNS: dict[str, Code] = {
    "scheduled_ns": "q",
    "issued_ns": "q",
    "synack_ns": "q",
    "established_ns": "q",
    "resent_ns": "q",
    "accepted_ns": "q",
    "first_byte_ns": "q",
    "arrived_ns": "q",
    "closed_ns": "q",
    "bytes_received": "q",
    "client": "i",
    "attempt": "i",
    "address": "i",
    "connect_us": "i",
    "local_port": "H",
    "syn_retransmits": "H",
    "total_retransmits": "H",
    "unacked": "H",
    "syns_left": "H",
    "syns_arrived": "H",
    "synacks_sent": "H",
    "requests_arrived": "H",
    "status": "h",
    "errno": "h",
    "outcome": "B",
}
LEDGER_COLUMNS = ("syns_left", "syns_arrived", "synacks_sent", "requests_arrived")
"""Of these, packets counted by others than the agent."""
REQUEST_COLUMNS: dict[str, Code] = {
    "scheduled_ns": "q",
    "issued_ns": "q",
    "accepted_ns": "q",
    "first_byte_ns": "q",
    "last_byte_ns": "q",
    "connection": "i",
    "attempts": "h",
    "status": "h",
    "errno": "h",
    "outcome": "B",
}
_WIDTH: dict[Code, int] = {"q": 8, "i": 4, "H": 2, "h": 2, "B": 1}


class Rows:
    """The columns of one agent as writable memory.

    ``header`` holds the counters named in :data:`HEADER` (int64). ``connection[name]`` and ``request[name]`` are
    typed memoryviews of shape (connections,) and (requests,); ``request`` columns are empty where a connection
    carries one request, because then the connection's row is the request's.

    Raises:
        MachineError: there is no room for the file.
    """

    def __init__(self, path: Path, connections: int, requests: int, *, create: bool = False) -> None:
        lengths: list[tuple[str, Code, int]] = [(name, "q", 1) for name in HEADER]
        lengths += [(name, code, connections) for name, code in CONNECTION_COLUMNS.items()]
        lengths += [(name, code, requests) for name, code in REQUEST_COLUMNS.items()]
        size = sum(_padded(_WIDTH[code] * length) for _, code, length in lengths)
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        file = os.open(path, flags, 0o644)
        try:
            if create:
                _reserve(file, size, path)
            self._memory = mmap.mmap(file, size)
        finally:
            os.close(file)
        self._bytes = memoryview(self._memory)
        views: list[memoryview[int]] = []
        offset = 0
        for _, code, length in lengths:
            width = _WIDTH[code] * length
            views.append(self._bytes[offset : offset + width].cast(code))
            offset += _padded(width)
        first_request = len(HEADER) + len(CONNECTION_COLUMNS)
        self.header = dict(zip(HEADER, views, strict=False))
        self.connection = dict(zip(CONNECTION_COLUMNS, views[len(HEADER) :], strict=False))
        self.request = dict(zip(REQUEST_COLUMNS, views[first_request:], strict=True))

    def counters(self) -> dict[str, int]:
        return {name: view[0] for name, view in self.header.items()}

    def ask_to_stop(self) -> None:
        """Tell the agent to issue nothing more and to give up what is under way."""
        self.header["asked_to_stop"][0] = 1

    def close(self) -> None:
        for view in (*self.header.values(), *self.connection.values(), *self.request.values()):
            view.release()
        self._bytes.release()
        self._memory.close()

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _padded(width: int) -> int:
    """Columns start on 8 bytes, so that every cast is aligned."""
    return -(-width // 8) * 8


def _reserve(file: int, size: int, path: Path) -> None:
    # Writing to a hole of a mapped file on a full disk is a SIGBUS; reserving first makes it an error.
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        path.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise MachineError(
                f"no room for {size / 2**20:.1f} MiB of rows in {path.parent}: {error.strerror}",
                "free some space or choose another folder with --data",
            ) from error
        raise
