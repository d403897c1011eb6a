"""A fault: a share of the clients' SYNs is lost on the way, and which ones is counted apart from the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.ledger import pairs
from harness.load.slices import Slice
from harness.nft import Nft, counting_set, family

SYNS_LOST = "syns_lost.json"
_PARTS = 1_000_000


class PathLoss:
    """Drops SYNs towards ``port`` at random, before they leave; to be used inside the trial's private namespace."""

    def __init__(self, port: int, share: float, slices: Iterable[Slice], prepared: Callable[[], None]) -> None:
        self._port = port
        self._share = share
        self._slices: Sequence[Slice] = list(slices)
        self._nft = Nft(prepared)

    def open(self) -> None:
        """Begin to lose. Raises: MachineError: nftables refused."""
        source = family(self._slices[0].target)
        # Every pair is in the set: a match counts for it, and does not choose.
        counted, members = "", ""
        known = [pair for _, _, pair in pairs(self._slices)] if self._assigned else []
        if known:
            members = counting_set("lost", len(known), source)
            counted = f"{source} saddr . tcp sport @lost "
        self._nft.load(
            "table inet path {\n"
            f"{members}"
            "chain lose { type filter hook output priority 0; policy accept;\n"
            f"tcp dport {self._port} tcp flags & (syn | ack) == syn "
            f"numgen random mod {_PARTS} < {round(self._share * _PARTS)} {counted}drop\n}}\n}}\n"
        )
        if known:
            self._nft.fill("path", "lost", known)

    def write_into(self, folder: Path) -> None:
        """Leave how many SYNs of each (address, port) were lost: a list of [address, port, SYNs]."""
        if self._assigned:
            lost = [[*pair, number] for pair, number in self._nft.counts("path", "lost").items() if number]
            (folder / SYNS_LOST).write_text(json.dumps(lost) + "\n")

    @property
    def _assigned(self) -> bool:
        return all(slice_.source is not None for slice_ in self._slices)
