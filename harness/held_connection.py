"""A fault: one connection's packets get lost for a while, as on a path that fails; all others go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from harness import nft
from harness.errors import MachineError
from harness.load.slices import Slice


class HeldConnection:
    """The first connection that the first agent makes; to be used inside the trial's private namespace."""

    def __init__(self, port: int, slice_: Slice, rules: nft.Nft, start_ns: int, at_s: float, lasts_ms: float) -> None:
        index, source_port = slice_.pair(0)
        assert slice_.source is not None
        self._pair = (slice_.source.addresses[index], source_port)
        self._port = port
        self._family = nft.family(slice_.target)
        self._rules = rules
        self._start_ns = start_ns
        self._at_ns = start_ns + int(at_s * 1e9)
        self._lasts_ns = int(lasts_ms * 1e6)
        self._since_ns: int | None = None
        self.over = False

    @staticmethod
    def impossible(slices: list[Slice], isolated: bool) -> str | None:
        """Why no connection can be held in this trial, or None."""
        if slices[0].source is None:
            return "the source ports are the kernel's choice, so no pair is known beforehand"
        return nft.impossible(isolated)

    def step(self, now_ns: int, attempted: Callable[[], int]) -> dict[str, Any]:
        if self._since_ns is None:
            if now_ns < self._at_ns:
                return {}
            self._since_ns = now_ns
            self._rules.load(self._script())
            return {"held_us": [(now_ns - self._start_ns) // 1000, None], "held_connection": list(self._pair)}
        if now_ns - self._since_ns < self._lasts_ns:
            return {}
        self.end()
        return {"held_us": [(since - self._start_ns) // 1000 for since in (self._since_ns, now_ns)]}

    def end(self) -> None:
        if not self.over:
            self.over = True
            if self._since_ns is not None:
                with suppress(MachineError):  # the namespace ends with the trial, and its rules with it
                    self._rules.load("delete table inet held\n")

    def _script(self) -> str:
        address, port = self._pair
        return (
            "table inet held {\nchain hold { type filter hook input priority -400; policy accept;\n"
            f"tcp dport {self._port} {self._family} saddr {address} tcp sport {port} drop\n"
            f"tcp sport {self._port} {self._family} daddr {address} tcp dport {port} drop\n}}\n}}\n"
        )
