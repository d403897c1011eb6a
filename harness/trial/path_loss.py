"""A fault: a share of the clients' SYNs is lost on the way, and which ones is counted apart from the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.events.store import SYNS_LOST
from harness.machine.nft import Nft, counting_set, family
from harness.plan.slices import Slice
from harness.witness.ledger import pairs

_PARTS = 1_000_000


class PathLoss:
    """Drops SYNs towards ``port`` at random, before they leave; to be used inside the trial's private namespace."""

    def __init__(self, port: int, share: float, slices: Iterable[Slice], prepared: Callable[[], None]) -> None:
        self._port = port
        self._share = share
        self._slices: Sequence[Slice] = list(slices)
        self._nft = Nft(prepared, "--syn-loss", "leave it out")

    def open(self) -> None:
        """Begin to lose. Raises: MachineError: nftables refused."""
        known = [pair for _, _, pair in pairs(self._slices)] if self._assigned else []
        self._nft.load(self._script(len(known)))
        if known:
            self._nft.fill("path", "lost", known)

    def _script(self, known: int) -> str:
        """Counted in a rule of its own: of a connection that is in no set, SYNs are lost all the same."""
        source = family(self._slices[0].target)
        members = counting_set("lost", known, source) if known else ""
        count = f"{source} saddr . tcp sport @lost\n" if known else ""
        return (
            "table inet path {\n"
            f"{members}"
            f"chain lost {{\n{count}drop\n}}\n"
            "chain lose { type filter hook output priority 0; policy accept;\n"
            f"tcp dport {self._port} tcp flags & (syn | ack) == syn "
            f"numgen random mod {_PARTS} < {round(self._share * _PARTS)} jump lost\n}}\n}}\n"
        )

    def write_into(self, folder: Path) -> None:
        """Leave how many SYNs of each (address, port) were lost: a list of [address, port, SYNs]."""
        if self._assigned:
            lost = [[*pair, number] for pair, number in self._nft.counts("path", "lost").items() if number]
            (folder / SYNS_LOST).write_text(json.dumps(lost) + "\n")

    @property
    def _assigned(self) -> bool:
        return all(slice_.source is not None for slice_ in self._slices)
