"""What to run with a generator other than the lab's: frozen values with a content hash, as in :mod:`harness.plan`."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import PlanError
from harness.plan import MAX_REQUESTS, MAX_SECONDS, PLANS, Server, content_hash, read_variants
from harness.plan.option import is_number, is_whole, require

DESCRIBED = Path(__file__).with_name("tools.toml")
ATTACKS = PLANS / "attacks"
"""The experiments of the collection in which others drive the load."""
Target = Literal["localhost", "127.0.0.1", "[::1]"]
MAX_DELAY_S = 30.0


@dataclass(frozen=True, slots=True)
class Attack:
    """One storm that a tool drives: with which options, at what address, of which server."""

    server: Server = field(default_factory=Server)
    tool: str = "vegeta-12.13.0"
    """A name in ``tools.toml``."""
    options: str = ""
    """The tool's own, as one types them; {requests}, {at_once}, {rate} and {seconds} stand for the four below."""
    requests: int = 50_000
    at_once: int = 5_000
    rate: int = 500
    seconds: int = 4
    target: Target = "localhost"
    """What stands in the address."""
    listen: str = "127.0.0.1"
    """Where the server listens, if its command takes that: ``::`` is dual stack."""
    tool_nofile: int | None = None
    """The tool's limit of open files; None: the caller's."""
    late_s: float | None = None
    """The server is started this long after the tool; None: the tool waits until the server has answered."""

    def __post_init__(self) -> None:
        for name in ("requests", "at_once", "rate", "seconds", "tool_nofile"):
            found = getattr(self, name)
            require(
                is_whole(found) or (found is None and name == "tool_nofile"),
                f"{name} must be a whole number, not {found!r}",
            )
        require(self.late_s is None or is_number(self.late_s), f"late_s must be a number, not {self.late_s!r}")
        if self.target not in ("localhost", "127.0.0.1", "[::1]"):
            raise PlanError(f"target must be localhost, 127.0.0.1 or [::1], not {self.target!r}")
        if self.late_s is not None and not 0 <= self.late_s <= MAX_DELAY_S:
            raise PlanError(f"late_s must be 0 to {MAX_DELAY_S:g}, not {self.late_s:g}")
        if not (0 < self.requests <= MAX_REQUESTS and self.at_once > 0 and 0 < self.seconds <= MAX_SECONDS):
            raise PlanError(f"an attack has 1 to {MAX_REQUESTS} requests and takes 1 to {MAX_SECONDS:g} s")
        if not 0 < self.rate * self.seconds <= MAX_REQUESTS:
            raise PlanError(f"{self.rate}/s for {self.seconds} s are more than {MAX_REQUESTS} requests, or none")
        for name in ("tool", "options", "listen"):
            if not isinstance(getattr(self, name), str):
                raise PlanError(f"{name} must be a text, not {getattr(self, name)!r}")
        try:
            shlex.split(self.typed_options)
        except ValueError as error:
            raise PlanError(f"the options {self.options!r} are no command line: {str(error).lower()}") from error
        if self.tool_nofile is not None and self.tool_nofile < 16:
            raise PlanError(f"tool_nofile must be at least 16, not {self.tool_nofile}")

    @property
    def plan_hash(self) -> str:
        return content_hash(self)

    @property
    def typed_options(self) -> str:
        """Its options, filled in. Raises: PlanError: a placeholder that nothing stands for."""
        numbers = {"requests": self.requests, "at_once": self.at_once, "rate": self.rate, "seconds": self.seconds}
        try:
            return self.options.format(**numbers)
        except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise PlanError(f"the options {self.options!r} cannot be filled in: {error}") from error

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Attack:
        return cls(**{**document, "server": Server(**document["server"])})


@dataclass(frozen=True, slots=True)
class AttackPlan:
    """An experiment: attacks that are compared with each other, each repeated."""

    name: str
    question: str
    attacks: tuple[Attack, ...]
    repeats: int
    variants: tuple[str, ...]
    """The variant that each attack is of; empty where the plan has none."""


_OF_SERVER = {item.name for item in dataclasses.fields(Server)} - {"name"}
_OF_ATTACK = {item.name for item in dataclasses.fields(Attack)} - {"server"}


def load_attacks(path: Path, changes: Mapping[str, Any] | None = None) -> AttackPlan:
    """Read a plan file of attacks; its form is that of :func:`harness.plan.load_plan`, without controls and rows.

    Raises:
        PlanError: the file cannot be read, is not TOML, or describes something impossible.
    """
    document, combined = read_variants(path, changes)
    try:
        variants, attacks = zip(*((name, _attack(options)) for name, options in combined), strict=True)
    except PlanError as error:
        raise PlanError(f"{error.message} (in {path})", error.next_step) from error
    return AttackPlan(path.stem, document["question"], attacks, document["repeats"], variants)


def collection() -> list[AttackPlan]:
    """The collection's plans of attacks, in reading order."""
    return [load_attacks(path) for path in sorted(ATTACKS.glob("*.toml"))]


@functools.cache
def published() -> Mapping[str, Mapping[str, Any]]:
    """Server → options, as ``tools.toml`` has them: its command, and where it listens as published."""
    servers: Mapping[str, Mapping[str, Any]] = tomllib.loads(DESCRIBED.read_text(encoding="utf-8"))["servers"]
    return servers


def _attack(options: Mapping[str, Any]) -> Attack:
    unknown = set(options) - _OF_SERVER - _OF_ATTACK - {"server"}
    if unknown:
        raise PlanError(f"unknown option {min(unknown)!r}; known are {', '.join(sorted(_OF_SERVER | _OF_ATTACK))}")
    name = options.get("server", Server().name)
    if not isinstance(name, str):
        raise PlanError(f"server must be a name, not {name!r}")
    options = {**published().get(name, {}), **options}
    server = {name: value for name, value in options.items() if name in _OF_SERVER}
    about = {name: value for name, value in options.items() if name in _OF_ATTACK}
    return Attack(Server(name=name, **server), **about)
