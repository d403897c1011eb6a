"""A fault: how it is produced, and who says what became of its connections."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import PROJECT
from harness.thought.calibrate.truth import Truth

_FAULTY = PROJECT / "harness" / "servers" / "faulty"
LOG, COUNTED, MADE = "the faulty server's log", "nftables' set of what it threw away", "construction"
TRACED = "the kernel's tracepoints"
STALLED = ("stalled",)
BURST = 1_000
"""A burst of this many fits into any host's input queue, so that it loses nothing (net.core.netdev_max_backlog)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the options of its storms, how many of them make up the rows, and its truth."""

    name: str
    truth_source: str
    truth: Truth
    options: Mapping[str, Any]
    storms: int = 1
    drivers: tuple[str, ...] = ()
    """What may be said of an episode of a full queue; nothing is asked of them where there is none."""
    adversarial: bool = False
    """Made to mislead: the evidence looks like another fault's."""
    unknown_because: str = ""
    """Why some of it is to stay ``unknown``."""

    @property
    def needs_namespace(self) -> bool:
        return bool(self.options.keys() & {"sysctl", "syn_loss"}) or self._has_firewall

    @property
    def needs_root(self) -> bool:
        return bool(self.options.keys() & {"trace", "host_sysctl"}) or self._has_firewall

    @property
    def needs_nft(self) -> bool:
        return "syn_loss" in self.options or self._has_firewall

    @property
    def _has_firewall(self) -> bool:
        return "--lose" in str(self.options.get("command"))

    @property
    def needs_ipv6(self) -> bool:
        return "::1" in f"{self.options.get('command')} {self.options.get('target_host')}"


def faulty(what: str, host: str = "{host}", backlog: int = 4096, program: str = "server.py") -> str:
    """The command line of a server that fails in this way."""
    words = f"{shlex.quote(sys.executable)} {shlex.quote(str(_FAULTY / program))}"
    return f"{words} --host {host} --port {{port}} --backlog {backlog} --do {what}"
