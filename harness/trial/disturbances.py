"""What is done to the server or the agents on purpose, each at its moment of the storm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Disturbance(Protocol):
    """Something that begins and ends while a storm runs."""

    def step(self, now_ns: int, attempted: Callable[[], int]) -> dict[str, Any]:
        """Do what is due; what it returns goes into the manifest. ``attempted`` counts clients that have connected, or
        tried to.
        """

    @property
    def over(self) -> bool: ...

    def end(self) -> None:
        """Put right what is still disturbed."""


class Stall:
    """The server, or one loop of it, stopped before the storm, goes on when its time has come.

    And not before every connect of a burst is issued, where it is to wait for them.
    """

    def __init__(
        self,
        resume: Callable[[], None],
        start_ns: int,
        stall_ms: float,
        wait_for: int,
        noted_as: str = "stalled_until_us",
    ) -> None:
        self._resume = resume
        self._noted_as = noted_as
        self._start_ns = start_ns
        self._until_ns = start_ns + int(stall_ms * 1e6)
        self._wait_for = wait_for
        self.over = False

    def step(self, now_ns: int, attempted: Callable[[], int]) -> dict[str, Any]:
        if now_ns < self._until_ns or attempted() < self._wait_for:
            return {}
        self.end()
        return {self._noted_as: (now_ns - self._start_ns) // 1000}

    def end(self) -> None:
        if not self.over:
            self.over = True
            self._resume()


class Outage:
    """Something fails for a while in the middle of the storm: the server, all agents, or a connection.

    It begins ``at_s`` after the start, and not before so many clients have tried to connect as it is to wait for.
    """

    def __init__(
        self,
        begin: Callable[[], None],
        put_right: Callable[[], None],
        start_ns: int,
        lasts_ms: float,
        noted_as: str,
        *,
        at_s: float = 0.0,
        wait_for: int = 0,
    ) -> None:
        self._begin, self._put_right = begin, put_right
        self._noted_as = noted_as
        self._start_ns = start_ns
        self._at_ns = start_ns + int(at_s * 1e9)
        self._wait_for = wait_for
        self._lasts_ns = int(lasts_ms * 1e6)
        self._since_ns: int | None = None
        self.over = False

    def step(self, now_ns: int, attempted: Callable[[], int]) -> dict[str, Any]:
        if self._since_ns is None:
            if now_ns < self._at_ns or attempted() < self._wait_for:
                return {}
            self._since_ns = now_ns
            self._begin()
            return {self._noted_as: [(now_ns - self._start_ns) // 1000, None]}
        if now_ns - self._since_ns < self._lasts_ns:
            return {}
        self.end()
        return {self._noted_as: [(moment - self._start_ns) // 1000 for moment in (self._since_ns, now_ns)]}

    def end(self) -> None:
        if not self.over:
            self.over = True
            if self._since_ns is not None:
                self._put_right()
