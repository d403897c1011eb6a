"""Calling nftables inside a trial's private namespace, where no root is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from harness.errors import MachineError

MISSING = "nft is not installed (Debian's nftables)"
_ELSEWHERE = "/usr/sbin:/sbin"
_COMMAND_LIMIT_S = 60.0
Pair = tuple[str, int]
"""A client's (address, port)."""


def nft_path() -> str | None:
    """Where nft is; also where a user who is not root does not have it on the path."""
    return shutil.which("nft", path=f"{os.environ.get('PATH', '')}:{_ELSEWHERE}")


class Nft:
    """Runs nft; ``prepared`` is called between fork and exec, to keep the rights in the namespace."""

    def __init__(self, prepared: Callable[[], None]) -> None:
        self._prepared = prepared

    def load(self, script: str) -> None:
        """Add a ruleset. Raises: MachineError: nftables refused."""
        self._run(script, "-f", "-")

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
            preexec_fn=self._prepared,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise MachineError(f"nftables cannot count here: {said[0] if said else done.returncode}", "use --no-ledger")
        return done.stdout


def filled_set(name: str, pairs: Iterable[Pair], family: str) -> str:
    """A set with a counter for each pair. Filled beforehand: sets that fill themselves undercount."""
    kind = "ipv6_addr" if family == "ip6" else "ipv4_addr"
    elements = [f"{address} . {port}" for address, port in pairs]
    return (
        f"set {name} {{ type {kind} . inet_service; size {len(elements)}; counter; "
        f"elements = {{ {', '.join(elements)} }}; }}\n"
    )


def family(target: str) -> str:
    return "ip6" if ":" in target else "ip"
