"""Processes of others are looked at while they come and go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.machine import children


def test_a_process_that_ends_while_it_is_looked_at_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel then says ESRCH, which ``exists`` passes on, and so does a pattern with a file in a folder of it."""

    def exists(path: Path) -> bool:
        raise ProcessLookupError(3, "No such process", str(path))

    monkeypatch.setattr(Path, "exists", exists)
    assert os.getpid() in children.members(os.getpgrp())
    assert children.states(os.getpgrp())
