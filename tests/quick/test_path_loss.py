"""Losing SYNs on purpose: what is lost does not depend on what is counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.plan import Load
from harness.plan.slices import Slice, cut, source_pool
from harness.trial.lost_packets import PathLoss

PORT = 8080


class Written:
    """Takes what nftables would be told."""

    def __init__(self) -> None:
        self.script = ""
        self.filled: list[tuple[str, int]] = []

    def load(self, script: str) -> None:
        self.script = script

    def fill(self, table: str, name: str, pairs: list[tuple[str, int]]) -> None:
        self.filled = pairs


def written(slices: list[Slice], monkeypatch: pytest.MonkeyPatch) -> Written:
    told = Written()
    monkeypatch.setattr("harness.machine.nft.Nft", lambda *_: told)
    PathLoss(PORT, 0.25, slices).open()
    return told


def slices_of(load: Load, assigned: bool, folder: Path) -> list[Slice]:
    source = source_pool("127.0.0.1", load, []) if assigned else None
    return cut(load, 2, target="127.0.0.1", port=PORT, source=source, cpus=(0,), folder=str(folder))


@pytest.mark.parametrize("assigned", [True, False], ids=["assigned", "kernel"])
def test_a_connection_that_is_in_no_set_loses_its_syns_too(
    assigned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = written(slices_of(Load(clients=100, connections=4), assigned, tmp_path), monkeypatch)
    rules = [line for line in told.script.splitlines() if "@lost" in line or "numgen" in line or "drop" in line]
    chosen = f"tcp dport {PORT} tcp flags & (syn | ack) == syn numgen random mod 1000000 < 250000 jump lost"
    assert rules == [*(["ip saddr . tcp sport @lost"] if assigned else []), "drop", chosen]
    assert len(told.filled) == len(set(told.filled)) == (4 * 8 if assigned else 0)
    assert re.findall(r"size (\d+)", told.script) == (["32"] if assigned else [])
