"""One storm."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.plan.bounds import require
from harness.plan.content import content_hash
from harness.plan.faults import Faults
from harness.plan.load import Load
from harness.plan.placement import Placement
from harness.plan.retries import Retries
from harness.plan.server import Server

MAX_SETTLE_S = 60.0
"""Upper bound of how long a server is watched when its storm is over."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One storm: what is run, under what load, where, with which faults and kernel settings."""

    server: Server = field(default_factory=Server)
    load: Load = field(default_factory=Load)
    placement: Placement = field(default_factory=Placement)
    faults: Faults = field(default_factory=Faults)
    probe: bool = True
    """Whether queue, counters and server are sampled meanwhile."""
    ledger: bool = True
    """Whether the SYNs and SYN-ACKs of each connection are counted, where nftables is there."""
    trace: bool = False
    """Whether the kernel's tracepoints are followed, where root may."""
    settle_s: float = 0.0
    """How long server and probe go on after the storm, to see what memory is given back."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """Kernel settings of the trial's private namespace, sorted by name."""
    host_sysctls: tuple[tuple[str, str], ...] = ()
    """Settings of the host that no namespace has, changed for the length of the run, sorted by name."""

    def __post_init__(self) -> None:
        require(0 <= self.settle_s <= MAX_SETTLE_S, f"settle must be 0 to {MAX_SETTLE_S:g} s, not {self.settle_s:g}")
        for option, name in (("--sysctl", "sysctls"), ("--host-sysctl", "host_sysctls")):
            settings = tuple(sorted(getattr(self, name)))
            for key, _ in settings:
                known = bool(re.fullmatch(r"net(\.[A-Za-z0-9_-]+)+", key))
                require(known, f"{option} sets net.*, not {key!r}")
            object.__setattr__(self, name, settings)

    @property
    def plan_hash(self) -> str:
        return content_hash(self)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trial:
        """The inverse of :meth:`to_json`, from a parsed JSON document."""

        def cpus(value: Iterable[int] | None) -> tuple[int, ...] | None:
            return None if value is None else tuple(value)

        placement, load = document["placement"], document["load"]
        return cls(
            server=Server(**document["server"]),
            load=Load(**{**load, "retries": Retries(**load.get("retries", {}))}),
            placement=Placement(placement["cpu"], cpus(placement["server_cpus"]), cpus(placement["client_cpus"])),
            faults=Faults(**document["faults"]),
            probe=document.get("probe", True),
            ledger=document.get("ledger", True),
            trace=document.get("trace", False),
            settle_s=document.get("settle_s", 0.0),
            sysctls=tuple((key, value) for key, value in document["sysctls"]),
            host_sysctls=tuple((key, value) for key, value in document.get("host_sysctls", ())),
        )
