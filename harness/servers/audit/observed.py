"""What goes into an audit of one server, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.servers.audit.out_of_files import Seen


@dataclass(frozen=True, slots=True)
class Job:
    """How one server is started, where, and whether with strace."""

    argv: tuple[str, ...]
    port: int
    folder: str
    """Its own, empty; it is started there if ``cwd`` says nothing else."""
    files: Mapping[str, str]
    """What lies in it already: name → text."""
    environment: Mapping[str, str]
    """What it finds in its environment, beside the caller's."""
    cwd: str | None
    trace: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Job:
        return cls(**{**document, "argv": tuple(document["argv"])})


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen. ``None`` is what could not be."""

    isolated: bool
    somaxconn: int
    somaxconn_raised: int | None
    """What it was raised to for ``backlog_raised``; None where that is not allowed."""
    addresses: tuple[str, ...]
    backlog: int | None
    backlog_raised: int | None
    asked: tuple[int, ...]
    answers_ipv4: bool
    answers_ipv6: bool | None
    """None where this machine has no IPv6."""
    keeps_alive: bool
    honours_close: bool
    burst: int | None
    accepts: int | None
    accepts_blocking: bool
    announced: str
    out_of_files: Seen | None

    @property
    def traced(self) -> bool:
        """Whether there is a trace of its system calls: no server listens without one."""
        return bool(self.asked)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Observed:
        seen = document["out_of_files"]
        fields = {**document, "addresses": tuple(document["addresses"]), "asked": tuple(document["asked"])}
        return cls(**{**fields, "out_of_files": None if seen is None else Seen.from_json(seen)})
