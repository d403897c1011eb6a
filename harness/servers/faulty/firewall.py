"""A firewall that loses some packets at random and counts whose: set up by the faulty server, in its own network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass

_PARTS = 1_000
_NFT = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "nft"
_TO, _FROM = "saddr . tcp sport", "daddr . tcp dport"
_PACKETS = {
    "syns": ("dport", "tcp flags & (syn | ack) == syn", _TO),
    "requests": ("dport", "tcp flags & psh == psh", _TO),
    "answers": ("sport", "tcp flags & psh == psh", _FROM),
}
WHAT, WHERE = tuple(_PACKETS), ("input", "prerouting")
"""At ``input`` behind all that watches packets arrive but the last; at ``prerouting`` on the far side of the link."""


@dataclass(frozen=True, slots=True)
class Firewall:
    """Loses a ``share`` of the packets of one kind that belong to a server's ``port``."""

    port: int
    what: str
    share: float
    where: str

    def begin(self) -> None:
        """Raises: subprocess.CalledProcessError: nftables refused."""
        side, packets, whose = _PACKETS[self.what]
        rule = f"tcp {side} {self.port} {packets} numgen random mod {_PARTS} < {round(self.share * _PARTS)}"
        self._run(
            "table ip firewall {\n"
            "set lost { type ipv4_addr . inet_service; size 65535; flags dynamic; }\n"
            f"chain lose {{ type filter hook {self.where} priority 0; policy accept;\n"
            f"{rule} update @lost {{ ip {whose} counter }} drop\n}}\n}}\n",
            "-f",
            "-",
        )

    def lost(self) -> list[tuple[str, int]]:
        """(address, port) of the clients that lost any."""
        (found,) = (
            item["set"]
            for item in json.loads(self._run("", "-j", "list", "set", "ip", "firewall", "lost"))["nftables"]
            if "set" in item
        )
        return [tuple(entry["elem"]["val"]["concat"]) for entry in found.get("elem", ())]

    def _run(self, script: str, *words: str) -> str:
        done = subprocess.run([_NFT, *words], input=script, capture_output=True, text=True, check=True)
        return done.stdout
