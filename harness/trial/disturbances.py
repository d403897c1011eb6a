"""What is done to the server or the agents on purpose, each at its moment of the storm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Disturbance(Protocol):
    """Something that begins and ends while a storm runs."""

    over: bool

    @property
    def noted(self) -> dict[str, Any]:
        """When it happened, in µs from the start, by key of the manifest."""

    def step(self, now_ns: int, attempted: Callable[[], int]) -> None:
        """Do what is due; ``attempted`` counts clients that have connected, or tried to."""

    def end(self) -> None:
        """Put right what is still disturbed."""


@dataclass(slots=True)
class Stall:
    """The server, or one loop of it, stopped before the storm, goes on when its time has come.

    And not before every connect of a burst is issued, where it is to wait for them.
    """

    resume: Callable[[], None]
    start_ns: int
    stall_ms: float
    wait_for: int = 0
    noted_as: str = "stalled_until_us"
    noted: dict[str, Any] = field(default_factory=dict)
    over: bool = False

    def step(self, now_ns: int, attempted: Callable[[], int]) -> None:
        if now_ns >= self.start_ns + int(self.stall_ms * 1e6) and attempted() >= self.wait_for:
            self.end()
            self.noted[self.noted_as] = (now_ns - self.start_ns) // 1000

    def end(self) -> None:
        if not self.over:
            self.over = True
            self.resume()


@dataclass(slots=True)
class Outage:
    """Something fails for a while in the middle of the storm: the server, all agents, or a connection.

    It begins ``at_s`` after the start, and not before so many clients have tried to connect as it is to wait for.
    """

    begin: Callable[[], None]
    put_right: Callable[[], None]
    start_ns: int
    lasts_ms: float
    noted_as: str
    at_s: float = 0.0
    wait_for: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be noted of it, whether it comes to begin or not."""
    since_ns: int | None = None
    until_ns: int | None = None
    over: bool = False

    @property
    def noted(self) -> dict[str, Any]:
        if self.since_ns is None:
            return dict(self.about)
        moments = (self.since_ns, self.until_ns)
        return {**self.about, self.noted_as: [at and (at - self.start_ns) // 1000 for at in moments]}

    def step(self, now_ns: int, attempted: Callable[[], int]) -> None:
        if self.since_ns is None:
            if now_ns >= self.start_ns + int(self.at_s * 1e9) and attempted() >= self.wait_for:
                self.since_ns = now_ns
                self.begin()
        elif now_ns - self.since_ns >= int(self.lasts_ms * 1e6):
            self.end()
            self.until_ns = now_ns

    def end(self) -> None:
        if not self.over:
            self.over = True
            if self.since_ns is not None:
                self.put_right()
