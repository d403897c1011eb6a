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
    """The server, stopped before the storm, goes on when its time has come and every connect of a burst is issued."""

    def __init__(self, resume: Callable[[], None], start_ns: int, stall_ms: float, wait_for: int) -> None:
        self._resume = resume
        self._start_ns = start_ns
        self._until_ns = start_ns + int(stall_ms * 1e6)
        self._wait_for = wait_for
        self.over = False

    def step(self, now_ns: int, attempted: Callable[[], int]) -> dict[str, Any]:
        if now_ns < self._until_ns or attempted() < self._wait_for:
            return {}
        self.end()
        return {"stalled_until_us": (now_ns - self._start_ns) // 1000}

    def end(self) -> None:
        if not self.over:
            self.over = True
            self._resume()


class Outage:
    """The server is stopped in the middle of the storm, for a while."""

    def __init__(
        self, stop: Callable[[], None], resume: Callable[[], None], start_ns: int, at_s: float, lasts_ms: float
    ) -> None:
        self._stop, self._resume = stop, resume
        self._start_ns = start_ns
        self._at_ns = start_ns + int(at_s * 1e9)
        self._lasts_ns = int(lasts_ms * 1e6)
        self._since_ns: int | None = None
        self.over = False

    def step(self, now_ns: int, attempted: Callable[[], int]) -> dict[str, Any]:
        if self._since_ns is None:
            if now_ns < self._at_ns:
                return {}
            self._since_ns = now_ns
            self._stop()
            return {"stalled_us": [(now_ns - self._start_ns) // 1000, None]}
        if now_ns - self._since_ns < self._lasts_ns:
            return {}
        self.end()
        return {"stalled_us": [(since - self._start_ns) // 1000 for since in (self._since_ns, now_ns)]}

    def end(self) -> None:
        if not self.over:
            self.over = True
            if self._since_ns is not None:
                self._resume()


class ClientPause:
    """All agents are stopped for a while, as soon as half of the clients have tried to connect."""

    def __init__(self, stop_agents: Callable[[bool], None], start_ns: int, pause_ms: float, half: int) -> None:
        self._stop_agents = stop_agents
        self._start_ns = start_ns
        self._pause_ns = int(pause_ms * 1e6)
        self._half = half
        self._since_ns: int | None = None
        self.over = False

    def step(self, now_ns: int, attempted: Callable[[], int]) -> dict[str, Any]:
        if self._since_ns is None:
            if attempted() < self._half:
                return {}
            self._stop_agents(True)
            self._since_ns = now_ns
            return {"clients_paused_us": [(now_ns - self._start_ns) // 1000, None]}
        if now_ns - self._since_ns < self._pause_ns:
            return {}
        self.end()
        return {"clients_paused_us": [(since - self._start_ns) // 1000 for since in (self._since_ns, now_ns)]}

    def end(self) -> None:
        if not self.over:
            self.over = True
            self._stop_agents(False)
