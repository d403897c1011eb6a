"""Runs that change the host's settings come by turns: one waits for the other, and not for ever."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import MachineError
from harness.machine import host_settings
from harness.trial import doctor


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The lock, under a name of its own, in the hands of another run."""
    monkeypatch.setattr(host_settings, "_LOCK", f"\0stormlab.test.{os.getpid()}")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(host_settings._LOCK)
        yield other


@pytest.fixture
def caller() -> Iterator[tuple[int, int]]:
    """The guard's end of a pipe and the caller's."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_run_waits_until_another_has_put_the_settings_back(held: socket.socket, caller: tuple[int, int]) -> None:
    threading.Timer(0.3, held.close).start()
    with socket.socket(socket.AF_UNIX) as lock:
        host_settings._take(lock, caller[0])
        assert lock.getsockname() == host_settings._LOCK.encode()


def test_it_waits_no_longer_than_its_turn_may_take(
    held: socket.socket, caller: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_settings, "_TURN_WITHIN_S", 0.0)
    with (
        socket.socket(socket.AF_UNIX) as lock,
        pytest.raises(MachineError, match="another run has changed the host's settings"),
    ):
        host_settings._take(lock, caller[0])


def test_nor_than_its_caller_does(held: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    once = iter([0.0])
    monkeypatch.setattr(host_settings, "time", SimpleNamespace(monotonic=once.__next__))  # no second look at the clock
    ours, callers = os.pipe()
    os.close(callers)
    with socket.socket(socket.AF_UNIX) as lock, pytest.raises(MachineError):
        host_settings._take(lock, ours)
    os.close(ours)


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A setting that a run has changed, of which the guard was killed: 7 was there, and 9 is."""
    setting = tmp_path / "setting"
    setting.write_text("9")
    monkeypatch.setattr(host_settings, "_LOCK", f"\0stormlab.test.{os.getpid()}")
    monkeypatch.setattr(host_settings, "LEFT", tmp_path / "left.json")
    monkeypatch.setattr(host_settings.namespace, "setting_path", lambda key: setting)
    host_settings.LEFT.write_text('{"net.core.some": {"before": "7", "set": "9"}}')
    return setting


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the host")
def test_what_a_guard_that_was_killed_has_left_is_put_back_by_whoever_comes_next(left: Path) -> None:
    (line,) = host_settings.put_back_left()
    assert "net.core.some=7" in line
    assert left.read_text() == "7"
    assert host_settings.put_back_left() == [], "once"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the host")
def test_what_somebody_else_has_set_since_is_left_and_said(left: Path) -> None:
    left.write_text("8\n")
    (line,) = host_settings.put_back_left()
    assert "net.core.some was 7 before" in line
    assert "it is 8 now" in line
    assert left.read_text() == "8\n"


def test_others_than_root_are_told_and_so_is_who_asks_the_doctor(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for _ in range(2):
        (line,) = host_settings.put_back_left()
        assert "as root put back net.core.some=7" in line
    (found,) = [finding for finding in doctor.examine(left.parent) if finding.name == "host_settings"]
    assert found.status == "fail"
    assert "net.core.some=7" in found.detail
    assert left.read_text() == "9"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the host")
def test_the_next_guard_puts_back_first_and_keeps_what_was_there(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the wrong value would be put back after it: the one that the run that was killed had set."""
    monkeypatch.setattr(host_settings.namespace, "is_private", lambda key: False)
    assert len(host_settings._undo()) == 1
    before = host_settings._set({"net.core.some": "11"})
    assert before == {"net.core.some": "7"}
    assert json.loads(host_settings.LEFT.read_text()) == {"net.core.some": {"before": "7", "set": "11"}}


def test_what_cannot_be_kept_on_disk_is_not_changed(
    left: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_settings, "LEFT", tmp_path / "no such folder" / "left.json")
    monkeypatch.setattr(host_settings.namespace, "is_private", lambda key: False)
    with pytest.raises(MachineError, match="cannot be kept"):
        host_settings._set({"net.core.some": "11"})
    assert left.read_text() == "9"


def test_nothing_is_put_back_while_a_guard_is_at_work(left: Path) -> None:
    with socket.socket(socket.AF_UNIX) as guard:
        guard.bind(host_settings._LOCK)
        assert host_settings.put_back_left() == []
    assert left.read_text() == "9"
