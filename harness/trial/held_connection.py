"""A fault: one connection's packets get lost for a while, as on a path that fails; all others go on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from harness.errors import MachineError
from harness.machine import nft
from harness.plan.slices import Slice


class HeldConnection:
    """The first connection that the first agent makes; to be used inside the trial's private namespace."""

    def __init__(self, port: int, slice_: Slice, rules: nft.Nft) -> None:
        index, source_port = slice_.pair(0)
        assert slice_.source is not None
        self.pair = (slice_.source.addresses[index], source_port)
        self._port = port
        self._family = nft.family(slice_.target)
        self._rules = rules

    @staticmethod
    def impossible(slices: Sequence[Slice], isolated: bool) -> str | None:
        """Why no connection can be held in this trial, or None."""
        if slices[0].source is None:
            return "the source ports are the kernel's choice, so no pair is known beforehand"
        return nft.impossible(isolated)

    def hold(self) -> None:
        """Raises: MachineError: nftables refused."""
        self._rules.load(self._script())

    def let_go(self) -> None:
        with suppress(MachineError):  # the namespace ends with the trial, and its rules with it
            self._rules.load("delete table inet held\n")

    def _script(self) -> str:
        address, port = self.pair
        return (
            "table inet held {\nchain hold { type filter hook input priority -400; policy accept;\n"
            f"tcp dport {self._port} {self._family} saddr {address} tcp sport {port} drop\n"
            f"tcp sport {self._port} {self._family} daddr {address} tcp dport {port} drop\n}}\n}}\n"
        )
