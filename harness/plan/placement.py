"""Who runs on which CPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.plan.bounds import choice

Regime = Literal["shared", "disjoint"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Who runs on which CPUs. ``disjoint`` gives the server the first half of them and the clients the rest."""

    cpu: Regime = "shared"
    server_cpus: tuple[int, ...] | None = None
    client_cpus: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        choice("cpu", self.cpu, Regime)
