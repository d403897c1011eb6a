"""The TCP counters of this network namespace, by the kernel's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.events.samples import LO_RX_DROPPED

_TABLES = (Path("/proc/self/net/netstat"), Path("/proc/self/net/snmp"))
_SECTIONS = ("TcpExt:", "Tcp:")
_RX_DROPPED_FIELD = 3


def read_counters() -> dict[str, int]:
    """TcpExt and Tcp counters, and :data:`LO_RX_DROPPED`."""
    counters: dict[str, int] = {}
    for table in _TABLES:
        lines = table.read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            section, *columns = names.split()
            if section in _SECTIONS:
                counters.update(zip(columns, map(int, values.split()[1:]), strict=True))
    counters[LO_RX_DROPPED] = _loopback_rx_dropped()
    return counters


def _loopback_rx_dropped() -> int:
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, fields = line.partition(":")
        if name.strip() == "lo":
            return int(fields.split()[_RX_DROPPED_FIELD])
    return 0


def deltas(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was counted between two readings; gauges such as CurrEstab come out as their change."""
    return {name: after[name] - before[name] for name in after if name in before}
