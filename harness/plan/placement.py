"""Who runs on which CPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.plan.option import Cpus, check, option

Regime = Literal["shared", "disjoint"]


@dataclass(frozen=True, slots=True)
class Placement:
    """Who runs on which CPUs. ``disjoint`` gives the server the first half of them and the clients the rest."""

    cpu: Regime = option("shared", "disjoint: server and clients on different CPUs")
    server_cpus: Cpus | None = option(None, "the server's, e.g. 0,2-3")
    client_cpus: Cpus | None = option(None, "the clients'")

    def __post_init__(self) -> None:
        check(self)
