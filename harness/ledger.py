"""The ledger: for each connection, how many SYNs left, how many reached TCP, and how many SYN-ACKs were sent.

nftables counts packets in the trial's own namespace, in sets that are filled with the assigned (address, port) pairs
beforehand; sets that fill themselves undercount. What left and did not arrive was lost in this host's input queue; what
arrived and was not answered was dropped by the listener. No root is needed inside a namespace of one's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from harness.errors import MachineError
from harness.load.rows import NOT_READ, Rows
from harness.load.slices import Slice

NFT_MISSING = "nft is not installed (Debian's nftables)"
MOST_PAIRS = 500_000
"""Each takes some 300 bytes of kernel memory and 40 µs of preparation."""
RECONNECTIONS = 8
"""A client with kept connections may make as many as it has requests; preparing for all of them would take seconds."""
COLUMNS = ("syns_left", "syns_arrived", "synacks_sent")
_ELSEWHERE = "/usr/sbin:/sbin"
_COMMAND_LIMIT_S = 60.0


class Ledger:
    """Counts for the pairs of ``slices``, towards ``port``; to be used inside the trial's private namespace."""

    def __init__(self, port: int, slices: Iterable[Slice], prepared: Callable[[], None]) -> None:
        self._port = port
        self._slices = list(slices)
        self._prepared = prepared

    @staticmethod
    def impossible(slices: list[Slice], isolated: bool) -> str | None:
        """Why there can be no ledger of this trial, or None."""
        if not isolated:
            return "without a private namespace nothing is filtered"
        if any(slice_.source is None for slice_ in slices):
            return "the source ports are the kernel's choice, so no pair is known beforehand"
        if sum(_counted(slice_) for slice_ in slices) > MOST_PAIRS:
            return f"more than {MOST_PAIRS} connections are possible"
        return None if nft_path() else NFT_MISSING

    def open(self) -> None:
        """Make the sets and begin to count.

        Raises:
            MachineError: nftables refused.
        """
        self._run(self._script())

    def write_into(self, agents: Iterable[Rows]) -> None:
        """Read the counts into the rows of the agents, in the order of the slices."""
        counts = {name: self._read(name) for name in COLUMNS}
        for slice_, rows in zip(self._slices, agents, strict=True):
            assert slice_.source is not None
            for name in COLUMNS:
                for row in range(_counted(slice_), slice_.connection_rows):
                    rows.connection[name][row] = NOT_READ
            for row in range(_counted(slice_)):
                index, port = slice_.pair(row)
                pair = (slice_.source.addresses[index], port)
                for name in COLUMNS:
                    rows.connection[name][row] = min(counts[name].get(pair, 0), NOT_READ - 1)
            rows.header["ledger"][0] = 1

    def _script(self) -> str:
        family = "ip6" if ":" in self._slices[0].target else "ip"
        kind = "ipv6_addr" if family == "ip6" else "ipv4_addr"
        syn, synack = "tcp flags & (syn | ack) == syn", "tcp flags & (syn | ack) == (syn | ack)"
        client, answered = f"{family} saddr . tcp sport", f"{family} daddr . tcp dport"
        pairs = ", ".join(f"{address} . {port}" for address, port in self._pairs())
        sets = "".join(
            f"set {name} {{ type {kind} . inet_service; size {2 * MOST_PAIRS}; counter; elements = {{ {pairs} }}; }}\n"
            for name in COLUMNS
        )
        return (
            "table inet storm {\n"
            f"{sets}"
            # Nearly all packets are let go by the first rule, which is what makes counting cheap.
            "chain leave { type filter hook postrouting priority 300; policy accept;\n"
            "tcp flags & syn == 0 accept\n"
            f"tcp dport {self._port} {syn} {client} @syns_left\n"
            f"tcp sport {self._port} {synack} {answered} @synacks_sent\n}}\n"
            "chain arrive { type filter hook input priority -300; policy accept;\n"
            "tcp flags & syn == 0 accept\n"
            f"tcp dport {self._port} {syn} {client} @syns_arrived\n}}\n"
            "}\n"
        )

    def _pairs(self) -> Iterable[tuple[str, int]]:
        for slice_ in self._slices:
            assert slice_.source is not None
            for row in range(_counted(slice_)):
                index, port = slice_.pair(row)
                yield slice_.source.addresses[index], port

    def _read(self, name: str) -> dict[tuple[str, int], int]:
        document: dict[str, Any] = json.loads(self._run(None, "-j", "list", "set", "inet", "storm", name))
        (found,) = [item["set"] for item in document["nftables"] if "set" in item]
        counted = {}
        for entry in found["elem"]:
            address, port = entry["elem"]["val"]["concat"]
            counted[address, port] = entry["elem"]["counter"]["packets"]
        return counted

    def _run(self, script: str | None, *words: str) -> str:
        words = words or ("-f", "-")
        done = subprocess.run(
            [nft_path() or "nft", *words],
            input=script,
            capture_output=True,
            text=True,
            timeout=_COMMAND_LIMIT_S,
            preexec_fn=self._prepared,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise MachineError(f"nftables cannot count here: {said[0] if said else done.returncode}", "use --no-ledger")
        return done.stdout


def _counted(slice_: Slice) -> int:
    """How many of a slice's connections are counted: all, but of kept ones only the first few of each client."""
    return min(slice_.connection_rows, RECONNECTIONS * slice_.clients)


def nft_path() -> str | None:
    """Where nft is; also where a user who is not root does not have it on the path."""
    return shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{_ELSEWHERE}")
