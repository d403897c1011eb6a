"""One storm."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.plan.content import content_hash
from harness.plan.faults import Faults
from harness.plan.front import Front
from harness.plan.kernel import Kernel
from harness.plan.load import Load
from harness.plan.option import check, option, require
from harness.plan.placement import Placement
from harness.plan.retries import Retries
from harness.plan.server import Server


@dataclass(frozen=True, slots=True)
class Trial:
    """One storm: what is run, under what load, where, with which faults and kernel settings, and who watches.

    >>> Trial(Server("go"), Load(clients=4000), kernel=Kernel((("net.ipv4.tcp_syncookies", "0"),))).load.planned
    4000
    """

    server: Server = field(default_factory=Server)
    load: Load = field(default_factory=Load)
    placement: Placement = field(default_factory=Placement)
    faults: Faults = field(default_factory=Faults)
    probe: bool = option(True, "no samples of queue, server and counters")
    ledger: bool = option(True, "no SYNs and SYN-ACKs counted by nftables")
    trace: bool = option(False, "root only: follow the kernel's tracepoints as well")
    settle_s: float = option(
        0.0, "watch the server for S seconds more when the storm is over", low=0, high=60, unit="s"
    )
    kernel: Kernel = field(default_factory=Kernel, metadata={"flat": True})
    front: Front = field(default_factory=Front)
    """The load balancer that the storm meets before the server, if any."""

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "settle_s", float(self.settle_s))
        require(
            self.faults.stall_loop_ms is None or self.server.accept_loops is not None,
            "--stall-loop-ms blocks the first of several accept loops; say how many with --accept-loops",
        )
        require(
            not (self.front.asked and self.load.http2),
            "--front with --http2 is not built: load balancers are configured for HTTP/1.1 here",
        )

    @property
    def plan_hash(self) -> str:
        return content_hash(self)

    def to_json(self) -> dict[str, Any]:
        document = dataclasses.asdict(self)
        return {**document, **document.pop("kernel")}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Trial:
        """The inverse of :meth:`to_json`, from a parsed JSON document; what an older one lacks is at its default.

        What a newer one has beside it is left alone: it was recorded, and this version knows nothing of it.
        """
        load, placement = document["load"], document["placement"]
        cpus = {name: tuple(value) for name, value in placement.items() if isinstance(value, list)}
        settings = {
            name: tuple((key, value) for key, value in document[name])
            for name in ("sysctls", "host_sysctls")
            if name in document
        }
        return cls(
            server=Server(**_known(Server, document["server"])),
            load=Load(**{**_known(Load, load), "retries": Retries(**_known(Retries, load.get("retries", {})))}),
            placement=Placement(**_known(Placement, {**placement, **cpus})),
            faults=Faults(**_known(Faults, document["faults"])),
            kernel=Kernel(**settings),
            front=Front(**_known(Front, document.get("front", {}))),
            **{name: document[name] for name in ("probe", "ledger", "trace", "settle_s") if name in document},
        )

    @classmethod
    def unknown_fields(cls, document: Mapping[str, Any]) -> list[str]:
        """Of a document that :meth:`from_json` takes, what a newer version has put there, as ``load.name``."""
        own = {item.name for item in (*dataclasses.fields(cls), *dataclasses.fields(Kernel))}
        found = [name for name in document if name not in own]
        for name, part in _PARTS.items():
            *outer, last = name.split(".")
            within = document.get(outer[0], {}) if outer else document
            found += [f"{name}.{key}" for key in within.get(last, {}) if key not in _known_names(part)]
        return found


_PARTS: Mapping[str, Any] = {
    "server": Server,
    "load": Load,
    "load.retries": Retries,
    "placement": Placement,
    "faults": Faults,
    "front": Front,
}


def _known_names(part: Any) -> set[str]:
    return {item.name for item in dataclasses.fields(part)}


def _known(part: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """Of a document, what a class has fields for."""
    return {name: document[name] for name in _known_names(part) if name in document}
