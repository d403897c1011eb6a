"""Calling nftables inside a trial's private namespace, where no root is needed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from harness.errors import MachineError
from harness.machine import children
from harness.plan.slices import Pair

MISSING = "nft is not installed (Debian's nftables)"
_ELSEWHERE = "/usr/sbin:/sbin"
_COMMAND_LIMIT_S = 60.0
_TOO_LONG = os.strerror(errno.EMSGSIZE)
_PIECE = 2_000
"""Pairs in a transaction that has room in a socket's buffer of the usual size (net.core.wmem_max, 208 KiB, twice)."""


def nft_path() -> str | None:
    """Where nft is; also where a user who is not root does not have it on the path."""
    return shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{_ELSEWHERE}")


def impossible(isolated: bool) -> str | None:
    """Why nothing can be counted or lost in a trial, or None."""
    if not isolated:
        return "without a private namespace nothing is filtered"
    return None if nft_path() else MISSING


class TooLong(MachineError):
    """A transaction does not fit into the buffer of a socket."""


class Nft:
    """Runs nft; ``asked`` is what takes it, and ``without`` how to do without, for who reads that nftables refused."""

    def __init__(self, asked: str, without: str) -> None:
        self._asked, self._without = asked, without

    def load(self, script: str) -> None:
        """Add a ruleset. Raises: MachineError: nftables refused."""
        self._run(script, "-f", "-")

    def fill(self, table: str, name: str, pairs: Sequence[Pair]) -> None:
        """Add pairs to a set of :func:`counting_set`. Raises: MachineError: nftables refused.

        All at once if it can be. Root may have a transaction of any size, others only one that fits into a buffer.
        """
        try:
            self._add(table, name, pairs)
        except TooLong:
            for begin in range(0, len(pairs), _PIECE):
                self._add(table, name, pairs[begin : begin + _PIECE])

    def _add(self, table: str, name: str, pairs: Sequence[Pair]) -> None:
        elements = ", ".join(f"{address} . {port}" for address, port in pairs)
        self._run(f"add element inet {table} {name} {{ {elements} }}\n", "-f", "-")

    def counts(self, table: str, name: str) -> dict[Pair, int]:
        """Packets counted by a set of pairs. Raises: MachineError."""
        document: dict[str, Any] = json.loads(self._run(None, "-j", "list", "set", "inet", table, name))
        (found,) = [item["set"] for item in document["nftables"] if "set" in item]
        counted = {}
        for entry in found["elem"]:
            address, port = entry["elem"]["val"]["concat"]
            counted[address, port] = entry["elem"]["counter"]["packets"]
        return counted

    def counters(self, table: str) -> dict[str, int]:
        """Packets counted by each named counter of a table. Raises: MachineError."""
        document: dict[str, Any] = json.loads(self._run(None, "-j", "list", "counters", "table", "inet", table))
        found = [item["counter"] for item in document["nftables"] if "counter" in item]
        return {counter["name"]: counter["packets"] for counter in found}

    def _run(self, script: str | None, *words: str) -> str:
        done = subprocess.run(
            [nft_path() or "nft", *words],
            input=script,
            capture_output=True,
            text=True,
            timeout=_COMMAND_LIMIT_S,
            preexec_fn=children.keep_network_rights,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            why = said[0] if said else f"exit status {done.returncode}"
            kind = TooLong if _TOO_LONG in why else MachineError
            raise kind(f"{self._asked} takes nftables, which refused: {why}", self._without)
        return done.stdout


def counting_set(name: str, size: int, family: str) -> str:
    """A set with a counter for each pair, to be filled before packets come: sets that fill themselves undercount."""
    kind = "ipv6_addr" if family == "ip6" else "ipv4_addr"
    return f"set {name} {{ type {kind} . inet_service; size {size}; counter; }}\n"


def family(target: str) -> str:
    return "ip6" if ":" in target else "ip"
