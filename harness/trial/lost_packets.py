"""Faults: packets that get lost on the way, of one connection for a while, or a share of all SYNs.

To be used inside the trial's private namespace, where nftables can drop them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import MachineError
from harness.events.store import SYNS_LOST
from harness.machine import nft
from harness.plan.slices import Slice
from harness.witness.ledger import pairs

_PARTS = 1_000_000


class HeldConnection:
    """The first connection that the first agent makes loses all its packets for a while; all others go on."""

    def __init__(self, port: int, slice_: Slice) -> None:
        index, source_port = slice_.pair(0)
        assert slice_.source is not None
        self.pair = (slice_.source.addresses[index], source_port)
        self._port = port
        self._family = nft.family(slice_.target)
        self._rules = nft.Nft("--hold-ms", "leave it out")

    @staticmethod
    def impossible(slices: Sequence[Slice], isolated: bool) -> str | None:
        """Why no connection can be held in this trial, or None."""
        if slices[0].source is None:
            return "the source ports are the kernel's choice, so no pair is known beforehand"
        return nft.impossible(isolated)

    def hold(self) -> None:
        """Raises: MachineError: nftables refused."""
        address, port = self.pair
        self._rules.load(
            "table inet held {\nchain hold { type filter hook input priority -400; policy accept;\n"
            f"tcp dport {self._port} {self._family} saddr {address} tcp sport {port} drop\n"
            f"tcp sport {self._port} {self._family} daddr {address} tcp dport {port} drop\n}}\n}}\n"
        )

    def let_go(self) -> None:
        with suppress(MachineError):  # the namespace ends with the trial, and its rules with it
            self._rules.load("delete table inet held\n")


class PathLoss:
    """Drops SYNs towards ``port`` at random, before they leave; which ones is counted apart from the ledger."""

    def __init__(self, port: int, share: float, slices: Sequence[Slice]) -> None:
        self._port = port
        self._share = share
        self._family = nft.family(slices[0].target)
        self._known = [pair for _, _, pair in pairs(slices)] if all(one.source is not None for one in slices) else []
        self._nft = nft.Nft("--syn-loss", "leave it out")

    def open(self) -> None:
        """Begin to lose. Raises: MachineError: nftables refused."""
        source, known = self._family, self._known
        # Counted in a rule of its own: of a connection that is in no set, SYNs are lost all the same.
        self._nft.load(
            "table inet path {\n"
            f"{nft.counting_set('lost', len(known), source) if known else ''}"
            f"chain lost {{\n{f'{source} saddr . tcp sport @lost' if known else ''}\ndrop\n}}\n"
            "chain lose { type filter hook output priority 0; policy accept;\n"
            f"tcp dport {self._port} tcp flags & (syn | ack) == syn "
            f"numgen random mod {_PARTS} < {round(self._share * _PARTS)} jump lost\n}}\n}}\n"
        )
        if known:
            self._nft.fill("path", "lost", known)

    def write_into(self, folder: Path) -> None:
        """Leave how many SYNs of each (address, port) were lost: a list of [address, port, SYNs]."""
        if self._known:
            lost = [[*pair, number] for pair, number in self._nft.counts("path", "lost").items() if number]
            (folder / SYNS_LOST).write_text(json.dumps(lost) + "\n")
