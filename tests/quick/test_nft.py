"""Filling sets: in one transaction where the kernel takes it, otherwise in pieces that hold every pair once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.machine import nft
from harness.machine.nft import Nft, TooLong

PAIRS = [(f"127.0.0.{number % 250 + 1}", 1024 + number // 250) for number in range(5_001)]


class Socket(Nft):
    """Takes transactions of so many bytes, as a socket does whose buffer may be no larger."""

    def __init__(self, room: float, refusal: type[MachineError] = TooLong) -> None:
        super().__init__("the ledger", "use --no-ledger")
        self.room, self.refusal = room, refusal
        self.taken: list[str] = []

    def _run(self, script: str | None, *words: str) -> str:
        assert script is not None
        if len(script) > self.room:
            raise self.refusal("the ledger takes nftables, which refused")
        self.taken.append(script)
        return ""


def filled(socket: Socket) -> list[tuple[str, int]]:
    return [(address, int(port)) for text in socket.taken for address, port in re.findall(r"([\d.]+) \. (\d+)", text)]


@pytest.mark.parametrize(("room", "transactions"), [(float("inf"), 1), (60_000, 3)])
def test_every_pair_is_put_in_once(room: float, transactions: int) -> None:
    socket = Socket(room)
    socket.fill("storm", "syns_left", PAIRS)
    assert filled(socket) == PAIRS
    assert len(socket.taken) == transactions
    assert all(text.startswith("add element inet storm syns_left {") for text in socket.taken)


def test_what_is_refused_for_another_reason_is_not_tried_again() -> None:
    socket = Socket(0, MachineError)
    with pytest.raises(MachineError):
        socket.fill("storm", "syns_left", PAIRS)
    assert not socket.taken


@pytest.mark.parametrize(("said", "kind"), [("Message too long", TooLong), ("No such file", MachineError)])
def test_what_does_not_fit_is_told_from_other_refusals(
    said: str, kind: type[MachineError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(tmp_path, f"netlink: Error: Could not process rule: {said}", monkeypatch)
    with pytest.raises(MachineError) as refused:
        Nft("the ledger", "use --no-ledger").load("table inet storm {}")
    assert type(refused.value) is kind


def refuse(folder: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a program in the place of nft that says these words and fails."""
    program = folder / "nft"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(nft, "nft_path", lambda: str(program))


@pytest.mark.parametrize(("asked", "without"), [("the ledger", "use --no-ledger"), ("--syn-loss", "leave it out")])
def test_who_reads_that_it_was_refused_reads_what_had_asked_for_it(
    asked: str, without: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(tmp_path, "Error: Operation not permitted", monkeypatch)
    with pytest.raises(MachineError) as refused:
        Nft(asked, without).load("table inet storm {}")
    assert refused.value.line == f"{asked} takes nftables, which refused: Error: Operation not permitted; {without}"
